//! The manager and its hosts: what is down, full or stubborn holds up nobody else, and is done once it is
//! repaired.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use crate::network::Network;
use crate::site::Site;
use crate::support::{Ran, can_mount, has};

const CURR: &str = "example.com/web/curr";

fn can_have_hosts() -> bool {
    let tools = ["ip", "unshare", "nsenter", "ss", "ssh", "ssh-keygen", "sshd", "openssl", "nginx"];
    can_mount() && tools.into_iter().all(has)
}

/// Everything of `web`, to hosts that are told by a program of their own.
fn configured(site: &Site, network: &Network, tables: &str) {
    let (top, ssh) = (site.top().display().to_string(), network.path("ssh_config").display().to_string());
    let text = format!(
        "[globals]\nprod_cert_dir = 'prod'\nmin_roll_mins = 0\nssh_options = ['-F', '{ssh}']\n\
         [[groups]]\nactive = true\ndomain = 'ca'\nservices = ['root']\n\
         [[groups]]\nactive = true\ndomain = 'example.com'\nservices = ['web', 'mail']\n"
    );
    site.write("conf.d/ssl-mgr.conf", &(text + &tables.replace("TOP", &top)));
}

fn sslm(site: &Site, network: &Network, arguments: &[&str]) -> Ran {
    let program = site.path("sslm-mgr").display().to_string();
    network.manager(&[&[program.as_str()], arguments].concat())
}

/// Another certificate of `web` becomes current; what the roll says.
fn rolled(site: &Site, network: &Network) -> Ran {
    sslm(site, network, &["-f", "-renew", "example.com:web"]);
    sslm(site, network, &["-f", "-roll", "example.com:web"])
}

fn names(directory: &Path) -> BTreeSet<String> {
    let entries = walkdir::WalkDir::new(directory).min_depth(1).into_iter().map(Result::unwrap);
    entries
        .filter(|entry| !entry.file_type().is_dir())
        .map(|entry| entry.path().strip_prefix(directory).unwrap().display().to_string())
        .collect()
}

/// A host has what production has of `web`, and no more.
#[track_caller]
fn is_current(site: &Site, network: &mut Network, host: &str) {
    let production = network.seen(host, "prod");
    let expected = names(&site.path(&format!("prod/{CURR}")));
    let expected: BTreeSet<String> = expected.iter().map(|file| format!("{CURR}/{file}")).collect();
    let mut found = names(&production);
    found.remove("filler");
    assert_eq!(found, expected, "{host}");
    for file in ["privkey.pem", "cert.pem", "bundle.pem"] {
        let ours = fs::read(site.path(&format!("prod/{CURR}/{file}"))).unwrap();
        assert!(fs::read(production.join(CURR).join(file)).unwrap() == ours, "{host}: {file}");
    }
    let mode = fs::metadata(production.join(CURR).join("privkey.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600, "{host}");
}

/// The case: three hosts of which one is down, one full, and one does not reload; and one that is reached
/// by way of another.
#[test]
fn one_down_one_full_one_that_does_not_reload() {
    if !can_have_hosts() {
        return;
    }
    let site = Site::running();
    let hosts = [
        ("one", false, None),
        ("down", false, None),
        ("full", false, Some("256k")),
        ("stubborn", false, None),
        ("inner", true, None),
    ];
    let mut network = Network::new(site.top(), &hosts);
    configured(
        &site,
        &network,
        "[web]\nservers = ['one', 'down', 'full', 'stubborn', 'inner']\nrestart_cmd = \"TOP/host/reload 'it is' now\"\n\
         svc_depends = [['example.com', ['web']]]\n",
    );
    for (host, ..) in hosts {
        network.program(host, "reload", "echo \"$*|$#\" >>\"${0%/*}/told\"");
    }
    rolled(&site, &network).exits(0);
    for (host, ..) in hosts {
        is_current(&site, &mut network, host);
        let told = fs::read_to_string(network.path(host).join("host/told")).unwrap();
        assert_eq!(told, "it is now|2\n", "{host}");
    }

    network.down("down");
    let full = network.seen("full", "prod/filler");
    let filled = fs::write(&full, vec![0; 1 << 20]);
    assert!(filled.is_err(), "it is full");
    network.program("stubborn", "reload", "echo 'there is a fault in line 7' >&2; exit 3");
    let before = names(&network.seen("full", "prod"));
    let old = fs::read(network.seen("full", "prod").join(CURR).join("privkey.pem")).unwrap();
    let said = rolled(&site, &network);
    said.exits(1);
    said.says("done: one: copy of the production tree").says("done: inner: copy of the production tree");
    said.says("still to be done: down: copy of the production tree: ssh failed (exit status: 255): ");
    said.says("still to be done: full: copy of the production tree: ").says("no room in ");
    said.says("done: stubborn: copy of the production tree")
        .says("exit status: 3): there is a fault in line 7");
    for host in ["one", "stubborn", "inner"] {
        is_current(&site, &mut network, host);
    }
    for (host, told) in [("one", 2), ("inner", 2), ("down", 1), ("full", 1)] {
        let text = fs::read_to_string(network.path(host).join("host/told")).unwrap();
        assert_eq!(text.lines().count(), told, "{host}: {}", said.out);
    }
    assert_eq!(names(&network.seen("full", "prod")), before, "nothing half-written, nothing left behind");
    assert!(fs::read(network.seen("full", "prod").join(CURR).join("privkey.pem")).unwrap() == old);

    // Still so; who is done is not told again.
    sslm(&site, &network, &["-renew"]).exits(1).says("(attempt 2)").never_says("done: one");
    network.up("down");
    fs::remove_file(&full).unwrap();
    network.program("stubborn", "reload", "echo repaired >>\"${0%/*}/told\"");
    sslm(&site, &network, &["-renew"]).exits(0).never_says("still to be done");
    for (host, told) in [("one", 2), ("inner", 2), ("down", 2), ("full", 2), ("stubborn", 2)] {
        is_current(&site, &mut network, host);
        let text = fs::read_to_string(network.path(host).join("host/told")).unwrap();
        assert_eq!(text.lines().count(), told, "{host}");
    }
}

#[test]
fn what_is_served_is_asked_for() {
    if !can_have_hosts() {
        return;
    }
    let site = Site::running();
    let mut network = Network::new(site.top(), &[("www", false, None)]);
    let own = network.path("www");
    configured(
        &site,
        &network,
        "[web]\nservers = ['www']\nrestart_cmd = 'TOP/host/reload'\nprobe = ['443']\n\
         svc_depends = [['example.com', ['web']]]\n",
    );
    let nginx = own.join("nginx.conf");
    let pair = site.path(&format!("prod/{CURR}")).display().to_string();
    fs::write(
        &nginx,
        format!(
            "user root;\npid {own}/nginx.pid;\nerror_log {own}/error.log;\nevents {{}}\nhttp {{\naccess_log off;\n\
             server {{\nlisten 443 ssl;\nssl_certificate {pair}/fullchain.pem;\n\
             ssl_certificate_key {pair}/privkey.pem;\n}}\n}}\n",
            own = own.display()
        ),
    )
    .unwrap();
    let nginx = nginx.to_str().unwrap();
    // The server is started by its first reload.
    let start = format!("/usr/sbin/nginx -c {nginx} 2>/dev/null || /usr/sbin/nginx -c {nginx} -s reload");
    network.program("www", "reload", &start);
    let said = rolled(&site, &network);
    said.exits(0).says("done: www: what is served");

    let reload = format!("/usr/sbin/nginx -c {nginx} -s reload");
    network.program("www", "reload", "true");
    let said = rolled(&site, &network);
    said.exits(1).says("still to be done: www: what is served: ");
    said.says("10.99.0.2:443 (tls) shows example.com an older certificate still: example.com/web of ");
    is_current(&site, &mut network, "www");
    network.program("www", "reload", &reload);
    sslm(&site, &network, &["-renew"]).exits(1).says("still to be done: www: what is served: ");
    network.run("www", &["sh", "-c", &reload]);
    sslm(&site, &network, &["-renew"]).exits(0).says("done: www: what is served");
}

/// The manager itself is killed at any moment of a run that delivers; what runs in the jail ends as it may.
#[test]
fn a_manager_that_is_killed_is_taken_up_by_the_next() {
    let site = Site::running();
    let jail = site.path("jail");
    fs::create_dir(&jail).unwrap();
    let top = site.top().display().to_string();
    site.edit("conf.d/ssl-mgr.conf", "[web]\n", &format!("[web]\nroots = ['{top}/jail']\n"));
    let inside = jail.join(top.trim_start_matches('/')).join("prod");
    let mut unfinished = 0;
    for round in 0..12 {
        site.sslm("-f -renew example.com:web").exits(0);
        let mut run = site.command(site.top(), "roll --force example.com/web").spawn().unwrap();
        std::thread::sleep(Duration::from_millis(15 * round));
        run.kill().unwrap();
        run.wait().unwrap();
        if inside.join(CURR).exists() {
            let of = |file: &str| fs::read(inside.join(CURR).join(file)).unwrap();
            let (bundle, key, chain) = (of("bundle.pem"), of("privkey.pem"), of("fullchain.pem"));
            assert!(bundle == [key, chain].concat(), "round {round}: two versions are mixed");
        }
        unfinished += usize::from(!site.told().contains(&"web reload".to_owned()));
        // Not every kill leaves something to be rolled, but each leaves a manager that goes on.
        site.sslm("-roll").exits(0);
        let here = site.path(&format!("prod/{CURR}"));
        assert_eq!(names(&inside.join(CURR)), names(&here), "round {round}");
        for file in names(&here) {
            let there = fs::read(inside.join(CURR).join(&file)).unwrap();
            assert!(there == fs::read(here.join(&file)).unwrap(), "round {round}: {file}");
        }
        assert_eq!(fs::read_dir(&inside).unwrap().count(), 1, "round {round}: only the group's directory");
        site.told();
    }
    assert!(unfinished > 0, "no run was killed before its end");
}

/// No other machine, and no network: jails of this one.
#[test]
fn jails_of_this_machine_get_copies() {
    let site = Site::running();
    let top = site.top().display().to_string();
    let jail = site.path("jail");
    fs::create_dir(&jail).unwrap();
    let is_root = crate::support::is_root();
    let owner = if is_root { "owner = 'keeper:keys'\n" } else { "" };
    if is_root {
        fs::create_dir(jail.join("etc")).unwrap();
        fs::write(jail.join("etc/passwd"), "root:x:0:0::/:\nkeeper:x:4242:1::/:\n").unwrap();
        fs::write(jail.join("etc/group"), "keys:x:4343:\n").unwrap();
    }
    site.edit(
        "conf.d/ssl-mgr.conf",
        "[web]\n",
        &format!("[web]\nroots = ['{top}/jail']\nkey_mode = '0440'\n{owner}"),
    );
    site.sslm("-f -renew example.com").exits(0);
    site.sslm("-f -roll example.com").exits(0).says("done: localhost: copy of the production tree");
    let inside = jail.join(top.trim_start_matches('/')).join("prod");
    assert_eq!(names(&inside).iter().filter(|file| file.contains("mail")).count(), 0);
    let key = inside.join(CURR).join("privkey.pem");
    assert_eq!(fs::read(&key).unwrap(), fs::read(site.path(&format!("prod/{CURR}/privkey.pem"))).unwrap());
    let meta = fs::metadata(&key).unwrap();
    assert_eq!(meta.permissions().mode() & 0o7777, 0o440);
    if is_root {
        assert_eq!((meta.uid(), meta.gid()), (4242, 4343), "as the jail's own passwd has it");
    }
    // A jail that is not there keeps the servers in it as they are, and nobody else.
    fs::rename(&jail, site.path("unmounted")).unwrap();
    site.told();
    site.sslm("-f -renew example.com").exits(1);
    let said = site.sslm("-f -roll example.com");
    said.exits(1).says("there is no jail ");
    assert!(!jail.exists());
    fs::rename(site.path("unmounted"), &jail).unwrap();
    site.sslm("-renew").exits(0);
    assert_eq!(fs::read(&key).unwrap(), fs::read(site.path(&format!("prod/{CURR}/privkey.pem"))).unwrap());
}
