//! What a host gets: certificates with their keys and places in, a stream for `place.sh` out. Nothing is read or
//! sent here.

#[cfg(test)]
mod tests;

use sha2::{Digest, Sha256};

use super::super::deliver::ssh::quoted;
use crate::manager::inventory::model::{
    Certificate, Content, Instance, KeyAlgorithm, Name, Objects, Occupant, Place, PlacedFile, Target,
};
use crate::pki::key::Secret;

/// An instance with its texts, as it is put into files.
#[derive(Debug)]
pub struct Goods<'a> {
    /// The certificate's name.
    pub name: &'a Name,
    /// The certificate.
    pub certificate: &'a Certificate,
    /// The instance.
    pub instance: &'a Instance,
    /// Its texts, for each of its keys.
    pub texts: Vec<Texts>,
}

/// What of one key is put into files.
#[derive(Debug)]
pub struct Texts {
    /// Of which key.
    pub algorithm: KeyAlgorithm,
    /// The key in clear, in PEM; nothing where the inventory has none.
    pub key: Option<Secret>,
    /// The certificate in PEM.
    pub certificate: String,
    /// Who is above it in PEM, the nearest first; in words why that is not known.
    pub chain: Result<String, String>,
}

/// Everything that a host gets at once.
#[derive(Debug, Default)]
pub struct Parcel {
    /// For each target its files.
    pub loads: Vec<Load>,
    /// What is run after a change, each once.
    pub reloads: Vec<Reload>,
}

/// The files of one target.
#[derive(Debug)]
pub struct Load {
    /// Whose.
    pub certificate: Name,
    /// Where, for people.
    pub target: String,
    /// What names what lies there while it is put in its place; the same in every run.
    pub tag: String,
    /// The directory of the jail; empty for the host itself.
    pub base: String,
    /// One directory, or two where keys have their own; absolute beneath the base.
    pub directories: Vec<String>,
    /// The files.
    pub files: Vec<File>,
    /// Its reload is due even where nothing changes.
    pub is_due: bool,
    /// The place of its reload in [`Parcel::reloads`].
    pub reload: Option<usize>,
}

/// A file on a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// The place of its directory in [`Load::directories`].
    pub directory: usize,
    /// Its name there.
    pub name: String,
    /// What is in it.
    pub body: Body,
    /// Permission bits.
    pub mode: u32,
    /// Number of the owner.
    pub user: u32,
    /// Number of the group.
    pub group: u32,
}

/// What is in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// A text, maybe with a key.
    Text(Secret),
    /// Nothing: it is a symbolic link to a file beside it.
    Link(String),
}

/// A command that is run once for all targets of one jail, or of the host itself, that have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reload {
    /// The jail.
    pub jail: Option<Name>,
    /// The command for `sh`, with the jail's name in it.
    pub command: String,
}

/// Who may read certificates: everybody.
const OPEN: u32 = 0o644;
/// Who may read a key whose place says nothing else.
const CLOSED: u32 = 0o400;
/// What stands for the jail's name in a reload command.
const JAIL: &str = "{}";

impl Parcel {
    /// Puts a certificate in, for all its targets on a host; returns what is worth knowing.
    ///
    /// # Errors
    /// In words, for a target that cannot be filled; the parcel is as before then.
    pub fn add(
        &mut self,
        goods: &Goods<'_>,
        host: &Name,
        objects: &Objects,
        is_due: bool,
    ) -> Result<Vec<String>, String> {
        let (mut loads, mut reloads, mut notes) = (Vec::new(), self.reloads.clone(), Vec::new());
        for target in goods.certificate.targets.iter().filter(|target| target.host == *host) {
            let Some(name) = &target.place else { continue };
            let said = |error: String| format!("{target}: {error}");
            let place = objects.places.get(name).ok_or_else(|| said("there is no such place".into()))?;
            let host = objects.hosts.get(host).ok_or_else(|| said("there is no such host".into()))?;
            let mut load = load(goods, target, name, place).map_err(said)?;
            load.base = host.base(target.jail.as_ref());
            load.is_due = is_due;
            match reload(place, target.jail.as_ref()).map_err(said)? {
                Some(reload) => {
                    let known = reloads.iter().position(|known| *known == reload);
                    load.reload = Some(known.unwrap_or(reloads.len()));
                    if known.is_none() {
                        reloads.push(reload);
                    }
                }
                None if place.reload.is_some() => notes.push(format!(
                    "{target}: the reload command names a jail, and there is none; nobody was told"
                )),
                None => {}
            }
            loads.push(load);
        }
        self.loads.extend(loads);
        self.reloads = reloads;
        Ok(notes)
    }

    /// What `place.sh` reads.
    ///
    /// # Errors
    /// In words, for a name that no archive takes.
    pub fn stream(&self) -> Result<Secret, String> {
        // The room is there from the beginning: what is left behind in growing is not wiped.
        let blocks = |load: &Load| load.files.iter().map(|file| file.body.length() / 512 + 8).sum::<usize>();
        let room: usize = self.loads.iter().map(|load| (blocks(load) + 16) * 512).sum();
        let mut stream = Vec::with_capacity(room + self.reloads.len() * 1024 + 1024);
        let line = |stream: &mut Vec<u8>, text: String| {
            stream.extend_from_slice(text.as_bytes());
            stream.push(b'\n');
        };
        for (at, load) in self.loads.iter().enumerate() {
            let Load { tag, base, directories, files, is_due, reload, .. } = load;
            line(
                &mut stream,
                format!("target {at} {tag} {} {}", u8::from(*is_due), u8::from(reload.is_some())),
            );
            line(&mut stream, format!("base {base}"));
            for (word, directory) in ["first", "second"].iter().zip(directories) {
                line(&mut stream, format!("{word} {directory}"));
            }
            for File { directory, name, body, mode, user, group } in files {
                let directory = directory + 1;
                line(
                    &mut stream,
                    match body {
                        Body::Text(_) => format!("file {directory} {mode:04o} {user} {group} {name}"),
                        Body::Link(_) => format!("link {directory} {name}"),
                    },
                );
            }
            for directory in 0..directories.len() {
                let archive = archive(files.iter().filter(|file| file.directory == directory))?;
                line(&mut stream, format!("data {} {}", directory + 1, archive.reveal().len()));
                stream.extend_from_slice(archive.reveal());
            }
            line(&mut stream, "place".to_owned());
        }
        for (at, reload) in self.reloads.iter().enumerate() {
            let targets = self.loads.iter().enumerate().filter(|(_, load)| load.reload == Some(at));
            let targets: Vec<String> = targets.map(|(at, _)| at.to_string()).collect();
            line(&mut stream, format!("reload {at} {} {}", targets.join(","), reload.command));
        }
        line(&mut stream, "finish".to_owned());
        Ok(Secret::new(stream))
    }
}

impl Body {
    /// Octets.
    fn length(&self) -> usize {
        match self {
            Self::Text(text) => text.reveal().len(),
            Self::Link(_) => 0,
        }
    }

    /// What `place.sh` says of a file that lies there: the SHA-256 of a text, where a link leads.
    pub fn digest(&self) -> String {
        match self {
            Self::Text(text) => hexadecimal(&Sha256::digest(text.reveal())),
            Self::Link(target) => target.clone(),
        }
    }
}

fn hexadecimal(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn load(goods: &Goods<'_>, target: &Target, name: &Name, place: &Place) -> Result<Load, String> {
    // The instance's keys: what is wished for may have changed since.
    let algorithms = goods.instance.algorithms;
    let occupant = Occupant { algorithms, ..goods.certificate.occupant(goods.name) };
    let placed = place.files(&occupant);
    let mut load = Load {
        certificate: goods.name.clone(),
        target: target.to_string(),
        tag: tag(goods.name, target.jail.as_ref(), name),
        base: String::new(),
        directories: Vec::new(),
        files: Vec::new(),
        is_due: false,
        reload: None,
    };
    for file in &placed {
        let (directory, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
        let at = load.directories.iter().position(|known| known == directory).unwrap_or_else(|| {
            load.directories.push(directory.to_owned());
            load.directories.len() - 1
        });
        let body = match file.content {
            Content::KeyLink | Content::CertLink => match linked(file, &placed) {
                Some(name) => Body::Link(name.to_owned()),
                None => continue,
            },
            content => Body::Text(text(goods, content, file.algorithm)?),
        };
        let has_key = file.content.has_key();
        let owner = (place.user.unwrap_or(0), place.group.unwrap_or(0));
        let (user, group) = if has_key || place.chown_both { owner } else { (0, 0) };
        let mode = if has_key { place.mode.map_or(CLOSED, |mode| mode.bits()) } else { OPEN };
        load.files.push(File { directory: at, name: name.to_owned(), body, mode, user, group });
    }
    Ok(load)
}

/// The file to which a link leads: the last of its kind that is written beside it.
fn linked<'f>(link: &PlacedFile, placed: &'f [PlacedFile]) -> Option<&'f str> {
    let directory = |file: &PlacedFile| file.path.rsplit_once('/').map(|(directory, _)| directory.to_owned());
    let is_kin = |file: &&PlacedFile| {
        file.algorithm == link.algorithm
            && directory(file) == directory(link)
            && !matches!(file.content, Content::KeyLink | Content::CertLink)
    };
    let fits = |file: &&PlacedFile| match link.content {
        Content::KeyLink => file.content.has_key(),
        _ => file.content != Content::Key,
    };
    let found = placed.iter().filter(is_kin).rfind(fits)?;
    found.path.rsplit_once('/').map(|(_, name)| name)
}

/// What is in a file: key, certificate, who is above it, in this order.
fn text(goods: &Goods<'_>, content: Content, algorithm: KeyAlgorithm) -> Result<Secret, String> {
    let texts = goods.texts.iter().find(|texts| texts.algorithm == algorithm);
    let texts = texts.ok_or_else(|| format!("the instance has no certificate for its key of {algorithm}"))?;
    let has_certificate = content != Content::Key;
    let has_chain = matches!(content, Content::CertChain | Content::KeyCertChain);
    let mut parts: Vec<&[u8]> = Vec::new();
    if content.has_key() {
        let key = texts.key.as_ref().ok_or("the inventory does not have its key")?;
        parts.push(key.reveal());
    }
    if has_certificate {
        parts.push(texts.certificate.as_bytes());
    }
    if has_chain {
        parts.push(texts.chain.as_ref().map_err(Clone::clone)?.as_bytes());
    }
    let mut text = Vec::with_capacity(parts.iter().map(|part| part.len() + 1).sum());
    for part in parts {
        text.extend_from_slice(part);
        if !part.ends_with(b"\n") {
            text.push(b'\n');
        }
    }
    Ok(Secret::new(text))
}

/// Of one target the same in every run, and of two never.
fn tag(certificate: &Name, jail: Option<&Name>, place: &Name) -> String {
    let jail = jail.map(Name::folded).unwrap_or_default();
    let words = [certificate.folded(), jail, place.folded()].join("/");
    hexadecimal(&Sha256::digest(words)).chars().take(16).collect()
}

/// The command of a place at a target; nothing where it is about a jail and there is none.
///
/// # Errors
/// In words, where a jail's name could be more than a word to the shell.
fn reload(place: &Place, jail: Option<&Name>) -> Result<Option<Reload>, String> {
    let Some(command) = &place.reload else { return Ok(None) };
    if !command.contains(JAIL) {
        return Ok(Some(Reload { jail: jail.cloned(), command: command.clone() }));
    }
    let Some(name) = jail.map(Name::as_str) else { return Ok(None) };
    let is_plain = name.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"._-".contains(&octet));
    let word = if is_plain { name.to_owned() } else { quoted(name) };
    // Within quotes of somebody else ours would end them.
    if !is_plain && command.contains(['\'', '"', '\\', '`', '$']) {
        return Err(format!(
            "the name of the jail \"{}\" cannot be put between the quotes of its reload command; write that \
             without any",
            name.escape_debug()
        ));
    }
    Ok(Some(Reload { jail: jail.cloned(), command: command.replace(JAIL, &word) }))
}

/// Files of one directory, with their owners and modes.
fn archive<'f>(files: impl Iterator<Item = &'f File>) -> Result<Secret, String> {
    let files: Vec<&File> = files.collect();
    let room: usize = files.iter().map(|file| file.body.length() + 4096).sum();
    let mut archive = tar::Builder::new(Vec::with_capacity(room + 4096));
    for File { name, body, mode, user, group, .. } in files {
        let mut header = tar::Header::new_gnu();
        header.set_uid((*user).into());
        header.set_gid((*group).into());
        header.set_size(0);
        let added = match body {
            Body::Text(text) => {
                header.set_entry_type(tar::EntryType::Regular);
                header.set_mode(*mode);
                header.set_size(text.reveal().len() as u64);
                archive.append_data(&mut header, name, text.reveal())
            }
            Body::Link(target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_mode(0o777);
                archive.append_link(&mut header, name, target)
            }
        };
        added.map_err(|error| format!("{name}: {error}"))?;
    }
    archive.into_inner().map(Secret::new).map_err(|error| error.to_string())
}
