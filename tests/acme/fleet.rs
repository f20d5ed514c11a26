//! A fleet from end to end: a database that serverPKI left, six machines, Pebble, three BIND servers, and nothing
//! but `reseed manager schedule`.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use time::OffsetDateTime;

use super::bed::{Bed, Host, peer};
use super::cluster::Cluster;
use super::serverpki;
use crate::Case;
use crate::support::checked;

pub const CASES: &[Case] = &[("a_database_of_serverpki_is_worked_on", a_database_of_serverpki_is_worked_on)];

/// What serverPKI's hosts have in places of their own, these have where a test may write.
const HERE: [(&str, &str); 6] = [
    ("example.com", "lab.test"),
    ("example.net", "lab.test"),
    ("/usr/jails", "/srv/jails"),
    ("/usr/local/etc", "/srv/etc"),
    ("Users/{}", "srv/Users/{}"),
    ("private/p", "srv/private/p"),
];

const MACHINES: usize = 6;

/// The machines of the data. Their jails are directories, and so is whatever has to be there before.
fn machines(bed: &Bed) -> Vec<Host> {
    let mut config = String::new();
    let hosts = (1..=MACHINES).map(|at| {
        let address = format!("10.53.0.{}", 20 + at);
        config += &format!("Host Host{at}.lab.test host{at}.lab.test\nHostName {address}\n");
        let host = bed.host(&format!("host{at}"), &address);
        let mut roots = vec![host.space.srv("")];
        roots.extend(
            (1..=3).filter(|_| at <= 4).map(|jail| host.space.srv(&format!("jails/jail{at}{jail}/srv"))),
        );
        for root in roots {
            for directory in ["etc", "private"] {
                fs::create_dir_all(root.join(directory)).unwrap();
            }
            for user in 1..=serverpki::CERTIFICATES {
                for name in
                    [format!("Person {user}"), format!("db{user}.lab.test"), format!("www{user}.lab.test")]
                {
                    fs::create_dir_all(root.join("Users").join(name)).unwrap();
                }
            }
        }
        host
    });
    let hosts = hosts.collect();
    let keys = bed.path("ssh");
    config += &format!(
        "Host *\nIdentityFile {0}/user\nUserKnownHostsFile {0}/known_hosts\nStrictHostKeyChecking yes\n",
        keys.display()
    );
    fs::write(keys.join("config"), config).unwrap();
    hosts
}

/// Everything that was ready in serverPKI's tables comes into use, and what a machine did not take is not said to be
/// there.
fn a_database_of_serverpki_is_worked_on() {
    let Some(cluster) = Cluster::start() else { return };
    let database = "serverpki";
    let connection = cluster.database(database);
    let now = OffsetDateTime::now_utc();
    let data = HERE
        .iter()
        .fold(serverpki::data("rsa_plus_ec", now), |text, (theirs, ours)| text.replace(theirs, ours));
    // Nobody restarts anything here; what is run is seen by what it writes.
    let data = data.replace("jexec {} service nginx restart", "echo {} >>/srv/reloaded");
    cluster.sql(database, &serverpki::schema("rsa_plus_ec", 5));
    cluster.sql(database, &data);

    let bed = Bed::new();
    let hosts = machines(&bed);
    bed.site.secret("passphrase", "correct horse battery staple\n");
    bed.site.configure(
        &format!("ssh_options = ['-F', '{}']\n", bed.path("ssh/config").display()),
        &format!(
            "[inventory]\npostgres = \"{connection}\"\npublic = 'pebble'\n[keys]\npassphrase_file = '{}'\n",
            bed.site.path("passphrase").display()
        ),
    );
    let good = |arguments: &str| {
        let ran = bed.manager(arguments);
        ran.exits(0);
        ran
    };
    let count = |sql: &str| cluster.sql(database, sql).parse::<usize>().unwrap();
    good("inventory migrate");
    good("inventory list").says("www4.lab.test");
    good("schedule --all --dry-run").says("issue").says("deploy");

    // One machine is down: whatever goes there is not deployed, and everything else is.
    let down = &hosts[1];
    down.daemon.end();
    bed.manager("schedule --all").exits(1).says("Host2.lab.test: ssh failed").says(" is deployed: ");
    let at_down = "SELECT count(*) FROM reseed.deliveries d JOIN reseed.hosts h ON h.id = d.host
        JOIN reseed.instances i ON i.id = d.instance
        WHERE lower(h.fqdn) = 'host2.lab.test' AND d.outcome = 'done' AND i.created > now() - interval '1 hour'";
    assert_eq!(count(at_down), 0);
    let lies = "SELECT count(*) FROM reseed.instances i JOIN reseed.targets t ON t.certificate = i.certificate
        JOIN reseed.hosts h ON h.id = t.host
        WHERE lower(h.fqdn) = 'host2.lab.test' AND i.state = 'deployed' AND i.created > now() - interval '1 hour'";
    assert_eq!(count(lies), 0, "a host that is down does not count as served");

    // It comes back: the next run brings what is missing, and nothing is issued once more.
    let _back = bed.sshd(&down.space, "host2");
    let issued = count("SELECT count(*) FROM reseed.instances");
    good("schedule --all");
    assert_eq!(count("SELECT count(*) FROM reseed.instances"), issued);
    assert!(count(at_down) > 0);
    let missing = "SELECT count(*) FROM reseed.certificates c
        WHERE c.kind = 'LE' AND NOT c.disabled AND c.subject = 'server' AND NOT EXISTS
            (SELECT FROM reseed.instances i WHERE i.certificate = c.id AND i.state = 'deployed')";
    assert_eq!(count(missing), 0);
    is_there(&hosts, &cluster);
    records_are_out(&bed, &cluster);

    // What own authorities sign is issued when somebody says so.
    good("ca");
    good("issue --all --missing");
    good("distribute --all");
    good("schedule --all --dry-run").never_says(" issue ").never_says(" deploy ");
}
/// Each file of what is deployed lies where its target says, and a key beside its certificate.
fn is_there(hosts: &[Host], cluster: &Cluster) {
    let rows = cluster.sql(
        "serverpki",
        "SELECT DISTINCT lower(h.fqdn) || ' ' || w.path FROM reseed.written w JOIN reseed.hosts h ON h.id = w.host
         JOIN reseed.targets t ON t.id = w.target
         JOIN reseed.instances i ON i.certificate = t.certificate AND i.state = 'deployed'
         JOIN reseed.certificates c ON c.id = t.certificate
         WHERE i.created > now() - interval '1 hour' AND c.kind = 'LE'",
    );
    let mut files: BTreeMap<PathBuf, Vec<u8>> = BTreeMap::new();
    for row in rows.lines() {
        let (host, path) = row.split_once(' ').unwrap();
        let at: usize = host.trim_start_matches("host").split('.').next().unwrap().parse().unwrap();
        let file = hosts[at - 1].space.srv(path.trim_start_matches("/srv/"));
        let content = fs::read(&file).unwrap_or_else(|error| panic!("{row}: {error}"));
        files.insert(file, content);
    }
    assert!(files.len() > 10, "{}", files.len());
    let mut pairs = 0;
    for file in files.keys() {
        let name = file.file_name().unwrap().to_str().unwrap();
        let Some(stem) = name.strip_suffix("key.pem") else { continue };
        let certificate = file.with_file_name(format!("{stem}cert.pem"));
        if files.contains_key(&certificate) {
            let public = |words: &str, file: &PathBuf| {
                checked(std::process::Command::new("openssl").args(words.split(' ')).arg(file))
            };
            assert_eq!(
                public("pkey -pubout -in", file),
                public("x509 -noout -pubkey -in", &certificate),
                "{name}"
            );
            pairs += 1;
        }
    }
    assert!(pairs > 2, "{pairs}");
}

/// Every deployed key has its record at every name, by the words of a name server, and none is left of any other.
fn records_are_out(bed: &Bed, cluster: &Cluster) {
    let rows = cluster.sql(
        "serverpki",
        "SELECT k.digest || ' _' || v.port || '._tcp.' || s.name FROM reseed.instances i
         JOIN reseed.certificates c ON c.id = i.certificate
         JOIN reseed.instance_keys k ON k.instance = i.id
         JOIN reseed.certificate_services cs ON cs.certificate = c.id JOIN reseed.services v ON v.id = cs.service
         JOIN reseed.subjects s ON s.certificate = c.id
         WHERE i.state IN ('deployed', 'prepublished') AND c.id IN
             (SELECT certificate FROM reseed.instances WHERE published > now() - interval '1 hour')",
    );
    let mut wanted: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for row in rows.lines() {
        let (digest, owner) = row.split_once(' ').unwrap();
        wanted.entry(owner).or_default().push(format!("3 0 1 {digest}"));
    }
    assert!(wanted.len() > 10, "{wanted:?}");
    for (owner, mut records) in wanted {
        let mut dig = bed.space.command("dig");
        dig.args(["+short", "+tcp", "@127.0.0.1", owner, "TLSA"]);
        let mut found: Vec<String> = peer(dig)
            .out
            .lines()
            .map(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                format!("{} {} {} {}", words[0], words[1], words[2], words[3..].concat())
            })
            .collect();
        found.sort();
        records.sort();
        assert_eq!(found, records, "{owner}");
    }
}
