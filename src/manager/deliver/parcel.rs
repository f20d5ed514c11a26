//! What a host needs of the production tree, and nothing more: tables of the configuration and the stock in, an
//! archive out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::is_here;
use super::stock::{Content, Copies, File, Loose, Stock};
use crate::manager::config::{Change, Servers, Site};
use crate::manager::lineage::Link;
use crate::manager::name::{CA, ServiceName};
use crate::pki::key::Secret;

/// A tree beneath which copies are wanted: the host's own, or that of a jail in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination<'s> {
    /// The jail's directory on the host; nothing for the host's own root.
    pub jail: Option<PathBuf>,
    /// The tables that want them there.
    pub tables: Vec<&'s Servers>,
}

/// Every host to which something is brought, with the trees on it. This machine is among them for its jails
/// only: it has the production tree itself.
pub fn destinations<'s>(site: &'s Site, own: &str) -> BTreeMap<&'s str, Vec<Destination<'s>>> {
    let mut found: BTreeMap<&str, Vec<Destination<'_>>> = BTreeMap::new();
    for servers in site.servers.iter().filter(|servers| !servers.skip_copy) {
        for host in &servers.hosts {
            let mut jails: Vec<Option<PathBuf>> = servers.roots.iter().cloned().map(jail).collect();
            if jails.is_empty() {
                jails.push(None);
            }
            jails.retain(|jail| jail.is_some() || !is_here(host, own));
            for jail in jails {
                let trees = found.entry(host).or_default();
                match trees.iter_mut().find(|tree| tree.jail == jail) {
                    Some(tree) => tree.tables.push(servers),
                    None => trees.push(Destination { jail, tables: vec![servers] }),
                }
            }
        }
    }
    found
}

/// `/` is the host's own root.
fn jail(root: PathBuf) -> Option<PathBuf> {
    (root != Path::new("/")).then_some(root)
}

impl Destination<'_> {
    /// Says whether a service is wanted there.
    pub fn wants(&self, name: &ServiceName) -> bool {
        self.tables.iter().any(|servers| wants(servers, name))
    }

    /// Who gets a service there and how, by the first of its tables that says so: `OWNER MODE`, each `-` for what
    /// is there already.
    fn terms(&self, name: &ServiceName) -> String {
        let mut tables = self.tables.iter().filter(|servers| wants(servers, name));
        let owner = tables.clone().find_map(|servers| servers.owner.as_ref());
        let owner = match owner {
            Some((user, Some(group))) => format!("{user}:{group}"),
            Some((user, None)) => user.clone(),
            None => "-".to_owned(),
        };
        let mode = tables.find_map(|servers| servers.key_mode);
        format!("{owner} {}", mode.map_or("-".to_owned(), |mode| format!("{mode:04o}")))
    }

    /// Packs what is wanted there.
    ///
    /// # Errors
    /// In words, for a name that no archive takes.
    pub fn pack(&self, stock: &Stock) -> Result<Parcel, String> {
        let mut load = Load::default();
        let mut groups: BTreeSet<&str> = BTreeSet::new();
        for (name, copies) in stock.services.iter().filter(|(name, _)| self.wants(name)) {
            load.service(name, copies, &self.terms(name));
            groups.insert(name.group());
        }
        for group in groups {
            for file in stock.loose.get(group).into_iter().flatten() {
                let is_wanted = match &file.list_of {
                    Some(authority) => {
                        ServiceName::new(CA, authority).is_ok_and(|authority| self.wants(&authority))
                    }
                    None => true,
                };
                if is_wanted {
                    load.loose(group, file);
                }
            }
        }
        load.finish()
    }
}

/// A host that names services gets those; one that does not, or that is told of any certificate, gets all, and
/// the certificates of authorities.
pub fn wants(servers: &Servers, name: &ServiceName) -> bool {
    servers.services.is_empty() || servers.depends.contains(&Change::Cert) || servers.serves(name)
}

/// An archive for one tree.
#[derive(Debug)]
pub struct Parcel {
    /// The archive (tar): a manifest for `place.sh`, and the files.
    pub archive: Secret,
    /// The room that it needs there, in KiB.
    pub kib: usize,
}

/// An archive that is being filled.
#[derive(Default)]
struct Load<'s> {
    manifest: String,
    directories: BTreeSet<String>,
    files: Vec<(String, &'s File)>,
    loose: Vec<(String, &'s Content)>,
}

impl<'s> Load<'s> {
    fn service(&mut self, name: &ServiceName, copies: &'s Copies, terms: &str) {
        for (link, files) in [(Link::Curr, &copies.curr), (Link::Next, &copies.next)] {
            let link = link.name();
            // The tree of an ssl-mgr has the keys of authorities in it.
            let files: Vec<&File> = files.iter().filter(|file| !(file.is_secret && name.is_ca())).collect();
            if files.is_empty() {
                self.manifest.push_str(&format!("gone {name} {link} - -\n"));
                continue;
            }
            self.manifest.push_str(&format!("pair {name} {link} {terms}\n"));
            let directory = format!("data/{name}/{link}");
            self.files.extend(files.into_iter().map(|file| (format!("{directory}/{}", file.name), file)));
            self.directories.extend([format!("data/{}", name.group()), format!("data/{name}"), directory]);
        }
    }

    fn loose(&mut self, group: &str, file: &'s Loose) {
        let path = format!("{group}/{}", file.path);
        self.manifest.push_str(&format!("file {path} - - -\n"));
        if let Some((directory, _)) = path.rsplit_once('/') {
            self.directories.insert(format!("data/{directory}"));
        }
        self.loose.push((format!("data/{path}"), &file.content));
    }

    fn finish(self) -> Result<Parcel, String> {
        let lengths = self.files.iter().map(|(_, file)| file.content.reveal().len());
        let lengths = lengths.chain(self.loose.iter().map(|(_, content)| match content {
            Content::Text(text) => text.len(),
            Content::Link(_) => 0,
        }));
        // In blocks of 4 KiB, each with its entry; and the directories.
        let blocks: usize = lengths.map(|length| length.div_ceil(4096) + 1).sum();
        let kib = 4 * (blocks + self.directories.len() + 8);
        // The room is there from the beginning: what is left behind in growing is not wiped.
        let mut archive = Archive(tar::Builder::new(Vec::with_capacity(kib * 1024 + 64 * 1024)));
        archive.file("manifest", self.manifest.as_bytes(), 0o600)?;
        archive.directory("data")?;
        for directory in &self.directories {
            archive.directory(directory)?;
        }
        for (path, file) in &self.files {
            archive.file(path, file.content.reveal(), if file.is_secret { 0o600 } else { 0o644 })?;
        }
        for (path, content) in &self.loose {
            match content {
                Content::Text(text) => archive.file(path, text, 0o644)?,
                Content::Link(target) => archive.link(path, target)?,
            }
        }
        // Who finds it has read all the rest.
        archive.file("end", b"", 0o600)?;
        let archive = archive.0.into_inner().map_err(|error| error.to_string())?;
        Ok(Parcel { archive: Secret::new(archive), kib })
    }
}

struct Archive(tar::Builder<Vec<u8>>);

impl Archive {
    fn file(&mut self, path: &str, content: &[u8], mode: u32) -> Result<(), String> {
        let mut header = header(tar::EntryType::Regular, mode);
        header.set_size(content.len() as u64);
        self.0.append_data(&mut header, path, content).map_err(|error| format!("{path}: {error}"))
    }

    fn directory(&mut self, path: &str) -> Result<(), String> {
        let mut header = header(tar::EntryType::Directory, 0o750);
        self.0.append_data(&mut header, path, std::io::empty()).map_err(|error| format!("{path}: {error}"))
    }

    fn link(&mut self, path: &str, target: &Path) -> Result<(), String> {
        let mut header = header(tar::EntryType::Symlink, 0o777);
        self.0.append_link(&mut header, path, target).map_err(|error| format!("{path}: {error}"))
    }
}

fn header(kind: tar::EntryType, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    header
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::super::stock::file;
    use super::*;
    use crate::manager::config::{Text, Texts, read};

    fn site(text: &str) -> Site {
        let site = Some(Text { path: "ssl-mgr.conf".into(), text: text.into() });
        let found = read(&Texts { topdir: "/t".into(), site, ..Texts::default() });
        assert_eq!(found.faults, []);
        found.site
    }

    /// Two groups, an authority as ssl-mgr leaves it in production: with its key.
    fn stock() -> Stock {
        let key = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n".to_vec();
        let files = |text: &str| {
            let bundle = [&key, text.as_bytes()].concat();
            vec![
                file("privkey.pem", key.clone()),
                file("cert.pem", text.into()),
                file("bundle.pem", bundle.clone()),
                file("odd.pem", bundle),
            ]
        };
        let mut stock = Stock::default();
        for name in ["ca/root", "ca/int", "x.example/web", "x.example/mail", "y.example/web"] {
            let next = if name == "x.example/web" { files("next") } else { Vec::new() };
            let copies = Copies { curr: files(name), next };
            stock.services.insert(ServiceName::parse(name).unwrap(), copies);
        }
        let text = |path: &str, list_of: Option<&str>| Loose {
            path: path.into(),
            list_of: list_of.map(str::to_owned),
            content: Content::Text(b"text".to_vec()),
        };
        stock.loose.insert("ca".into(), vec![text("int.crl.pem", Some("int"))]);
        let link =
            Loose { path: "dh/dhparam.pem".into(), list_of: None, content: Content::Link("dh.pem".into()) };
        stock
            .loose
            .insert("x.example".into(), vec![text("tlsa.x.example", None), text("dh/dh.pem", None), link]);
        stock.loose.insert("y.example".into(), vec![text("tlsa.y.example", None)]);
        stock
    }

    /// What is in a parcel: the manifest's lines, and the files with their modes.
    fn unpacked(parcel: &Parcel) -> (Vec<String>, BTreeMap<String, u32>) {
        let mut archive = tar::Archive::new(parcel.archive.reveal());
        let (mut manifest, mut files) = (String::new(), BTreeMap::new());
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            if path == "manifest" {
                entry.read_to_string(&mut manifest).unwrap();
            } else if !entry.header().entry_type().is_dir() {
                files.insert(path, entry.header().mode().unwrap());
            }
        }
        (manifest.lines().map(str::to_owned).collect(), files)
    }

    #[test]
    fn a_host_gets_what_it_needs() {
        const ALL: &str = "ca/int ca/int.crl.pem ca/root x.example/dh/dh.pem x.example/dh/dhparam.pem \
            x.example/mail x.example/tlsa.x.example x.example/web y.example/tlsa.y.example y.example/web";
        const WEB: &str =
            "x.example/dh/dh.pem x.example/dh/dhparam.pem x.example/tlsa.x.example x.example/web";
        // name, tables, and for each tree on the host h: its jail, and what it gets
        type Pairs = &'static [(&'static str, &'static str)];
        let cases: [(&str, &str, Pairs); 11] = [
            ("nothing is named", "[web]\nservers = ['h']\n", &[("", ALL)]),
            ("services", "[web]\nservers = ['h']\nsvc_depends = [['x.example', ['web']]]\n", &[("", WEB)]),
            (
                "any group",
                "[web]\nservers = ['h']\nsvc_depends = [['any', ['mail']]]\n",
                &[(
                    "",
                    "x.example/dh/dh.pem x.example/dh/dhparam.pem x.example/mail x.example/tlsa.x.example",
                )],
            ),
            (
                "services, and any certificate",
                "[web]\nservers = ['h']\ndepends = ['cert']\nsvc_depends = [['x.example', ['web']]]\n",
                &[("", ALL)],
            ),
            (
                "records are no certificate",
                "[web]\nservers = ['h']\ndepends = ['tlsa']\nsvc_depends = [['x.example', ['web']]]\n",
                &[("", WEB)],
            ),
            (
                "an authority that is named, without its key",
                "[web]\nservers = ['h']\nsvc_depends = [['ca', ['int']]]\n",
                &[("", "ca/int ca/int.crl.pem")],
            ),
            (
                "two tables",
                "[smtp]\nservers = ['h']\nsvc_depends = [['x.example', ['web']]]\n\
                 [web]\nservers = ['h', 'g']\nsvc_depends = [['y.example', ['web']]]\n",
                &[(
                    "",
                    "x.example/dh/dh.pem x.example/dh/dhparam.pem x.example/tlsa.x.example x.example/web \
                     y.example/tlsa.y.example y.example/web",
                )],
            ),
            (
                "jails, each for its table",
                "[smtp]\nservers = ['h']\nroots = ['/j/m', '/']\nsvc_depends = [['x.example', ['web']]]\n\
                 [web]\nservers = ['h']\nroots = ['/j/w']\nsvc_depends = [['y.example', ['web']]]\n",
                &[("/j/m", WEB), ("", WEB), ("/j/w", "y.example/tlsa.y.example y.example/web")],
            ),
            ("what is shared", "[web]\nservers = ['h']\nskip_prod_copy = true\n", &[]),
            ("nobody", "[web]\nservers = ['g']\n", &[]),
            (
                "nothing that there is",
                "[web]\nservers = ['h']\nsvc_depends = [['z', ['web']]]\n",
                &[("", "")],
            ),
        ];
        for (case, text, expected) in cases {
            let site = site(text);
            let trees = destinations(&site, "me.example").remove("h").unwrap_or_default();
            let found: Vec<(String, String)> = trees
                .iter()
                .map(|tree| {
                    let (manifest, files) = unpacked(&tree.pack(&stock()).unwrap());
                    let keys = files.keys().filter(|path| {
                        path.starts_with("data/ca/")
                            && (path.contains("privkey") || path.contains("bundle") || path.contains("odd"))
                    });
                    assert_eq!(keys.count(), 0, "{case}: {files:?}");
                    let wide = files.iter().filter(|(path, mode)| {
                        (path.contains("privkey") || path.contains("bundle") || path.contains("odd"))
                            && **mode != 0o600
                    });
                    assert_eq!(wide.count(), 0, "{case}: {files:?}");
                    let told: BTreeSet<&str> = manifest
                        .iter()
                        .filter(|line| !line.starts_with("gone"))
                        .filter_map(|line| line.split(' ').nth(1))
                        .collect();
                    let jail = tree.jail.as_ref().map(|jail| jail.display().to_string());
                    (jail.unwrap_or_default(), told.into_iter().collect::<Vec<_>>().join(" "))
                })
                .collect();
            let expected: Vec<(String, String)> =
                expected.iter().map(|(jail, told)| ((*jail).to_owned(), (*told).to_owned())).collect();
            assert_eq!(found, expected, "{case}");
        }
    }

    #[test]
    fn this_machine_gets_copies_for_its_jails_only() {
        let tables = "[web]\nservers = ['me', 'localhost', 'h']\n[smtp]\nservers = ['me']\nroots = ['/j']\n";
        let site = site(tables);
        let found = destinations(&site, "me.example");
        let found: Vec<(&str, Vec<bool>)> = found
            .iter()
            .map(|(host, trees)| (*host, trees.iter().map(|tree| tree.jail.is_some()).collect()))
            .collect();
        assert_eq!(found, [("h", vec![false]), ("me", vec![true])]);
    }

    #[test]
    fn the_manifest_says_whose_it_is_and_what_is_gone() {
        let site = site(
            "[smtp]\nservers = ['h']\nowner = 'mail:ssl'\nkey_mode = '0640'\nsvc_depends = [['x.example', ['web']]]\n\
             [web]\nservers = ['h']\nowner = 'www'\nkey_mode = '0400'\nsvc_depends = [['any', ['web']]]\n",
        );
        let trees = destinations(&site, "me.example").remove("h").unwrap();
        let (manifest, files) = unpacked(&trees[0].pack(&stock()).unwrap());
        let pairs: Vec<&String> = manifest.iter().filter(|line| !line.starts_with("file")).collect();
        assert_eq!(
            pairs,
            [
                "pair x.example/web curr mail:ssl 0640",
                "pair x.example/web next mail:ssl 0640",
                "pair y.example/web curr www 0400",
                "gone y.example/web next - -",
            ]
        );
        assert!(files.contains_key("end") && files.contains_key("data/x.example/web/next/privkey.pem"));
    }
}
