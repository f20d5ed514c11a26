//! A hook file's TOML, version 1: text in, hook or faults with their position out.
//!
//! Whatever is written here runs with the rights of root, so everything is checked before it is
//! believed: paths are absolute and do not climb, names are names, a key is never for everybody.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use super::{
    Applies, Certificate, Check, ExtraName, FileSpec, Hook, HookName, HostKey, PlaceSpec, Policy, Probe,
    Reader, SecretFile, Unit, Verb, reader,
};
use crate::fault::Fault;
use crate::hook::program::Program;
use crate::hook::template::Template;
use crate::identity::{self, Facet, HostName};
use crate::pki::container::Part;
use crate::pki::{Algorithm, Usage, ssh};
use crate::probe::protocol::Protocol;

/// The version of the format that this program reads.
const VERSION: u32 = 1;
/// Longest validity in days that a hook may ask for: what Debian's snakeoil pair had.
const MAX_DAYS: u32 = 3650;
/// Seconds that a program may take unless it says otherwise, and the most that it may ask for: a boot
/// waits for it.
const DEFAULT_LIMIT: u32 = 30;
const MAX_LIMIT: u32 = 240;

/// Reads one hook file.
///
/// # Errors
/// The first [`Fault`], with line and column: a misspelt key, a value that cannot be meant.
pub fn parse(name: HookName, path: &Path, text: &str) -> Result<Hook, Fault> {
    read(name, path, text, false)
}

/// Reads what a hook that is a program says of itself.
///
/// # Errors
/// As for [`parse`]; and when it declares anything that is made without it.
pub fn describe(name: HookName, path: &Path, text: &str) -> Result<Hook, Fault> {
    read(name, path, text, true)
}

fn read(name: HookName, path: &Path, text: &str, is_program: bool) -> Result<Hook, Fault> {
    let file: File = toml::from_str(text).map_err(|error| Fault::toml(path, text, &error))?;
    let check = Checker { path, text };
    if *file.version.as_ref() != VERSION {
        let message =
            format!("version {} is not known here; this program reads {VERSION}", file.version.as_ref());
        return Err(check.at(&file.version, message));
    }
    let applies = Applies {
        files: check.paths(file.applies.files)?,
        packages: check.each(file.applies.packages, "package name", is_package)?,
    };
    if applies.files.is_empty() && applies.packages.is_empty() {
        return Err(Fault::whole(
            path,
            "[applies] names neither files nor packages: the hook would never apply",
        ));
    }
    let certificates =
        file.certificate.into_iter().map(|c| check.certificate(c)).collect::<Result<Vec<_>, _>>()?;
    check.once(
        file.host_key.iter().map(HostKeyText::place).chain(file.secret.iter().map(SecretText::place)),
    )?;
    let host_keys = file.host_key.into_iter().map(|k| check.host_key(k)).collect::<Result<Vec<_>, _>>()?;
    let secrets = file.secret.into_iter().map(|s| check.secret(s)).collect::<Result<Vec<_>, _>>()?;
    let declares = !(certificates.is_empty() && host_keys.is_empty() && secrets.is_empty());
    let program = file.executable.map(|e| check.program(e)).transpose()?;
    match (is_program, &program) {
        (false, Some(_)) => return Err(Fault::whole(path, "[executable] is for hooks that are programs")),
        (true, None) => return Err(Fault::whole(path, "there is no [executable]: nothing would be made")),
        (true, _) if declares || !file.reader.is_empty() => {
            let message = "a hook that is a program makes its files itself: no [[certificate]], [[host-key]], \
                [[secret]] or [[reader]]";
            return Err(Fault::whole(path, message));
        }
        _ => {}
    }
    if !declares && !is_program {
        return Err(Fault::whole(
            path,
            "there is no [[certificate]], [[host-key]] or [[secret]]: the hook would have nothing to do",
        ));
    }
    Ok(Hook {
        name,
        path: path.to_owned(),
        description: file.description,
        applies,
        watches: identity::with_kin(
            file.watches.unwrap_or_else(|| BTreeSet::from([Facet::Hostname, Facet::Domain, Facet::Seed])),
        ),
        gate: file.gate,
        readers: file.reader.into_iter().map(|r| check.reader(r)).collect::<Result<_, _>>()?,
        certificates,
        host_keys,
        secrets,
        program,
        units: file.unit.into_iter().map(|u| check.unit(u)).collect::<Result<_, _>>()?,
        checks: file.check.into_iter().map(|c| check.command(c)).collect::<Result<_, _>>()?,
        probes: check.probes(file.probe)?,
    })
}

// ---- the text as it is written -------------------------------------------------------------------

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    version: Spanned<u32>,
    description: String,
    watches: Option<BTreeSet<Facet>>,
    gate: Option<Policy>,
    applies: AppliesText,
    #[serde(default)]
    reader: Vec<ReaderText>,
    #[serde(default)]
    certificate: Vec<CertificateText>,
    #[serde(default)]
    host_key: Vec<HostKeyText>,
    #[serde(default)]
    secret: Vec<SecretText>,
    executable: Option<ProgramText>,
    #[serde(default)]
    unit: Vec<UnitText>,
    #[serde(default)]
    check: Vec<CheckText>,
    #[serde(default)]
    probe: Vec<ProbeText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AppliesText {
    #[serde(default)]
    files: Vec<Spanned<String>>,
    #[serde(default)]
    packages: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReaderText {
    #[serde(default)]
    family: Vec<String>,
    program: reader::Program,
    config: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct CertificateText {
    #[serde(default = "server")]
    name: String,
    #[serde(default)]
    family: Vec<String>,
    usage: Option<BTreeSet<Usage>>,
    #[serde(default, deserialize_with = "crate::pki::agent_algorithm")]
    algorithm: Option<Algorithm>,
    days: Option<Spanned<u32>>,
    #[serde(default)]
    names: Vec<Spanned<String>>,
    file: Vec<FileText>,
    #[serde(default)]
    copy: Vec<FileText>,
}

fn server() -> String {
    "server".into()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct FileText {
    path: Spanned<String>,
    holds: Spanned<Vec<Part>>,
    owner: Option<Spanned<String>>,
    group: Option<Spanned<String>>,
    mode: Option<Spanned<String>>,
    hash_link: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HostKeyText {
    #[serde(default)]
    family: Vec<String>,
    algorithm: ssh::Algorithm,
    path: Spanned<String>,
    owner: Option<Spanned<String>>,
    group: Option<Spanned<String>>,
    mode: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretText {
    #[serde(default)]
    family: Vec<String>,
    content: Spanned<String>,
    #[serde(default)]
    unless: Vec<Spanned<String>>,
    path: Spanned<String>,
    owner: Option<Spanned<String>>,
    group: Option<Spanned<String>>,
    mode: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ProgramText {
    makes: Spanned<Vec<Spanned<String>>>,
    #[serde(default)]
    writes: Vec<Spanned<String>>,
    #[serde(default)]
    network: bool,
    limit_seconds: Option<Spanned<u32>>,
}

impl HostKeyText {
    fn place(&self) -> (&Spanned<String>, &[String]) {
        (&self.path, &self.family)
    }
}

impl SecretText {
    fn place(&self) -> (&Spanned<String>, &[String]) {
        (&self.path, &self.family)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct UnitText {
    name: Spanned<String>,
    #[serde(default)]
    family: Vec<String>,
    change: Verb,
    #[serde(default)]
    reads: Vec<Spanned<String>>,
    #[serde(default)]
    mentioned_in: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckText {
    #[serde(default)]
    family: Vec<String>,
    command: Spanned<Vec<String>>,
    #[serde(default)]
    writes: Vec<Spanned<String>>,
    #[serde(default)]
    network: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProbeText {
    #[serde(default)]
    family: Vec<String>,
    port: Spanned<u16>,
    protocol: Protocol,
}

// ---- what it may say -----------------------------------------------------------------------------

struct Checker<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Checker<'_> {
    fn at<T>(&self, value: &Spanned<T>, message: impl Into<String>) -> Fault {
        Fault::at(self.path, self.text, value.span(), message)
    }

    fn one(&self, value: Spanned<String>, what: &str, good: fn(&str) -> bool) -> Result<String, Fault> {
        if good(value.as_ref()) {
            return Ok(value.into_inner());
        }
        let message = format!("{:?} is no {what}", value.as_ref());
        Err(self.at(&value, message))
    }

    fn each(
        &self,
        values: Vec<Spanned<String>>,
        what: &str,
        good: fn(&str) -> bool,
    ) -> Result<Vec<String>, Fault> {
        values.into_iter().map(|value| self.one(value, what, good)).collect()
    }

    fn path(&self, value: Spanned<String>) -> Result<PathBuf, Fault> {
        self.one(value, "absolute path without \"..\"", is_path).map(PathBuf::from)
    }

    fn paths(&self, values: Vec<Spanned<String>>) -> Result<Vec<PathBuf>, Fault> {
        values.into_iter().map(|value| self.path(value)).collect()
    }

    fn reader(&self, text: ReaderText) -> Result<Reader, Fault> {
        Ok(Reader { family: text.family, program: text.program, config: self.path(text.config)? })
    }

    fn certificate(&self, text: CertificateText) -> Result<Certificate, Fault> {
        if let Some(days) = &text.days
            && !(1..=MAX_DAYS).contains(days.as_ref())
        {
            return Err(self.at(days, format!("the lifetime is 1 to {MAX_DAYS} days")));
        }
        let names = text
            .names
            .into_iter()
            .map(|name| match name.as_ref().as_str() {
                "short" => Ok(ExtraName::Short),
                "addresses" => Ok(ExtraName::Addresses),
                literal => HostName::parse(literal)
                    .map(ExtraName::Name)
                    .map_err(|error| self.at(&name, error.to_string())),
            })
            .collect::<Result<Vec<_>, _>>()?;
        let files = text.file.into_iter().map(|f| self.file(f)).collect::<Result<Vec<_>, _>>()?;
        let copies = text.copy.into_iter().map(|f| self.file(f)).collect::<Result<Vec<_>, _>>()?;
        for part in [Part::Key, Part::Certificate] {
            if !files.iter().any(|file| file.holds.contains(&part)) {
                let message = format!(
                    "the certificate \"{}\" has no [[certificate.file]] that holds its {part}",
                    text.name
                );
                return Err(Fault::whole(self.path, message));
            }
        }
        Ok(Certificate {
            name: text.name,
            family: text.family,
            usage: text.usage.unwrap_or_else(|| BTreeSet::from([Usage::Server])),
            algorithm: text.algorithm,
            days: text.days.map(Spanned::into_inner),
            names,
            files,
            copies,
        })
    }

    fn file(&self, text: FileText) -> Result<FileSpec, Fault> {
        let secret = text.holds.as_ref().contains(&Part::Key);
        if text.holds.as_ref().is_empty() {
            return Err(self.at(&text.holds, "the file would be empty"));
        }
        let distinct: BTreeSet<_> = text.holds.as_ref().iter().collect();
        if distinct.len() != text.holds.as_ref().len() {
            return Err(self.at(&text.holds, "each part stands once in a file"));
        }
        let mode = match text.mode {
            None if secret => 0o600,
            None => 0o644,
            Some(mode) => self.mode(&mode, secret.then_some("key"))?,
        };
        Ok(FileSpec {
            path: self.path(text.path)?,
            holds: text.holds.into_inner(),
            owner: self.account(text.owner, "user name")?,
            group: self.account(text.group, "group name")?,
            mode,
            hash_link: text.hash_link.map(|directory| self.path(directory)).transpose()?,
        })
    }

    fn host_key(&self, text: HostKeyText) -> Result<HostKey, Fault> {
        let place = self.place(text.path, text.owner, text.group, text.mode.as_ref(), "key")?;
        Ok(HostKey { family: text.family, algorithm: text.algorithm, place })
    }

    fn secret(&self, text: SecretText) -> Result<SecretFile, Fault> {
        Ok(SecretFile {
            family: text.family,
            content: Template::parse(text.content.as_ref()).map_err(|wrong| self.at(&text.content, wrong))?,
            unless: self.paths(text.unless)?,
            place: self.place(text.path, text.owner, text.group, text.mode.as_ref(), "secret")?,
        })
    }

    fn program(&self, text: ProgramText) -> Result<Program, Fault> {
        if text.makes.as_ref().is_empty() {
            return Err(self.at(&text.makes, "the program is to make something"));
        }
        if let Some(limit) = text.limit_seconds.as_ref().filter(|l| !(1..=MAX_LIMIT).contains(l.as_ref())) {
            return Err(self.at(limit, format!("the limit is 1 to {MAX_LIMIT} seconds")));
        }
        Ok(Program {
            path: self.path.to_owned(),
            makes: self.paths(text.makes.into_inner())?,
            writes: self.paths(text.writes)?,
            network: text.network,
            limit_seconds: text.limit_seconds.map_or(DEFAULT_LIMIT, Spanned::into_inner),
        })
    }

    fn place(
        &self,
        path: Spanned<String>,
        owner: Option<Spanned<String>>,
        group: Option<Spanned<String>>,
        mode: Option<&Spanned<String>>,
        secret: &str,
    ) -> Result<PlaceSpec, Fault> {
        Ok(PlaceSpec {
            path: self.path(path)?,
            owner: self.account(owner, "user name")?,
            group: self.account(group, "group name")?,
            mode: mode.map_or(Ok(0o600), |mode| self.mode(mode, Some(secret)))?,
        })
    }

    /// One file is one key or one secret; different families may have different ones there.
    fn once<'a>(
        &self,
        places: impl Iterator<Item = (&'a Spanned<String>, &'a [String])>,
    ) -> Result<(), Fault> {
        let mut seen: Vec<(&String, &[String])> = Vec::new();
        for (path, family) in places {
            let meet = |other: &[String]| {
                other.is_empty() || family.is_empty() || other.iter().any(|name| family.contains(name))
            };
            if seen.iter().any(|(other, families)| *other == path.as_ref() && meet(families)) {
                return Err(self.at(path, "this file stands here twice"));
            }
            seen.push((path.as_ref(), family));
        }
        Ok(())
    }

    /// `secret` is what the file holds that is not for everybody.
    fn mode(&self, mode: &Spanned<String>, secret: Option<&str>) -> Result<u32, Fault> {
        let bits = u32::from_str_radix(mode.as_ref(), 8).ok().filter(|bits| bits & !0o777 == 0);
        let Some(bits) = bits else {
            return Err(self.at(mode, "the mode is three octal digits, such as \"0640\""));
        };
        match secret {
            Some(what) if bits & 0o007 != 0 => {
                Err(self.at(mode, format!("a file that holds a {what} is not for everybody")))
            }
            _ => Ok(bits),
        }
    }

    fn account(&self, value: Option<Spanned<String>>, what: &str) -> Result<String, Fault> {
        value.map_or(Ok("root".to_owned()), |value| self.one(value, what, is_account))
    }

    fn unit(&self, text: UnitText) -> Result<Unit, Fault> {
        Ok(Unit {
            name: self.one(text.name, "name of a unit", is_unit)?,
            family: text.family,
            change: text.change,
            reads: self.paths(text.reads)?,
            mentioned_in: self.each(text.mentioned_in, "absolute path without \"..\"", is_path)?,
        })
    }

    fn command(&self, text: CheckText) -> Result<Check, Fault> {
        match text.command.as_ref().first() {
            Some(program) if is_path(program) => {
                let writes = self.paths(text.writes)?;
                let command = text.command.into_inner();
                Ok(Check { family: text.family, command, writes, network: text.network })
            }
            _ => Err(self.at(&text.command, "the command begins with the absolute path of a program")),
        }
    }

    fn probes(&self, texts: Vec<ProbeText>) -> Result<Vec<Probe>, Fault> {
        let mut probes: Vec<Probe> = Vec::new();
        for text in texts {
            if *text.port.as_ref() == 0 {
                return Err(self.at(&text.port, "a port is 1 to 65535"));
            }
            let probe = Probe { family: text.family, port: *text.port.as_ref(), protocol: text.protocol };
            if probes.iter().any(|other| other.port == probe.port && other.family == probe.family) {
                return Err(self.at(&text.port, format!("port {} is named twice", probe.port)));
            }
            probes.push(probe);
        }
        Ok(probes)
    }
}

fn is_path(text: &str) -> bool {
    let path = Path::new(text);
    path.is_absolute()
        && path.file_name().is_some()
        && !text.chars().any(char::is_control)
        && path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
}

/// As `useradd` takes them, or a number.
fn is_account(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    !text.is_empty() && text.len() <= 32 && !text.starts_with('-') && text.bytes().all(fits)
}

fn is_package(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_.+:".contains(&b);
    !text.is_empty() && !text.starts_with('-') && text.bytes().all(fits)
}

/// systemd.unit(5), with the patterns of systemctl(1).
fn is_unit(text: &str) -> bool {
    let suffixes = [".service", ".socket", ".timer", ".path", ".target"];
    let fits = |b: u8| b.is_ascii_alphanumeric() || b":-_.@\\*?[]".contains(&b);
    text.len() <= 255
        && !text.starts_with(['-', '.'])
        && text.bytes().all(fits)
        && suffixes.iter().any(|suffix| text.len() > suffix.len() && text.ends_with(suffix))
}
