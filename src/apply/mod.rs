//! Carries out one step of a plan: makes certificates, host keys and secrets, swaps the files in, and
//! asks the program itself whether it likes them. Telling services and deciding is the story's, because a
//! unit that reads the files of several steps is told once.

mod links;
mod material;
pub mod program;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::artifact::{Artifact, Bundle, Certificates, Programmed, What};
use crate::hook::template::Template;
use crate::hook::{Check, ExtraName, HookName};
use crate::identity::HostName;
use crate::ledger::{Digest, Entry, Ledger, Made, RunId};
use crate::pki::Container;
use crate::pki::container::{self, Part};
use crate::pki::dh;
use crate::pki::inspect::Certificate;
use crate::pki::issue::{self, Profile};
use crate::pki::key::{KeyError, PrivateKey, Secret};
use crate::pki::serial::Serial;
use crate::pki::ssh::Written;
use crate::plan::{Action, Facts, HookPlan, Task};
use crate::service::{Errand, ServiceError, Services};
use crate::store;
use crate::system::root::{Attributes, PathError, Root};
use crate::system::users;
use crate::transaction::{Backup, Change, Staged, Swapped};

use links::Links;
use material::Material;

/// How long a program may take to check its configuration.
const CHECK: Duration = Duration::from_secs(60);

/// What is the same for every step of a run.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    /// The root that is worked on.
    pub root: &'a Root,
    /// Who runs the programs' own checks.
    pub services: &'a dyn Services,
    /// What was found out.
    pub facts: &'a Facts,
    /// The run's name.
    pub id: &'a RunId,
    /// When it began, later than whatever is recorded.
    pub began: OffsetDateTime,
    /// Hours before the present at which validity starts.
    pub backdate_hours: u32,
}

/// What was made ready for one hook's tasks, in their order.
#[derive(Debug)]
pub struct Ready(Vec<Result<Material, KeyError>>);

/// A step whose files are in place and can still be taken back.
#[derive(Debug)]
#[must_use]
pub struct Applied<'a> {
    /// The files.
    pub swapped: Swapped<'a>,
    /// What is to be recorded once they stand.
    pub entry: Entry,
}

/// What a transaction carries for the ledger, should the power go before it is recorded.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payload {
    /// The hook; nothing is recorded for it when `entry` is absent.
    pub hook: HookName,
    /// What to record.
    #[serde(default)]
    pub entry: Option<Entry>,
}

/// Why a step could not be carried out; everything is as it was.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// A file.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A certificate.
    #[error("the certificate cannot be made: {0}")]
    Certificate(String),
    /// The hook's own program.
    #[error("its program: {0}")]
    Program(String),
    /// The program refuses the new files.
    #[error("its own check refuses the new files: {0}")]
    Refused(String),
}

/// Makes the keys of all steps, side by side: an RSA key takes a core for a while.
///
/// The serials are drawn here too, so that the highest can be recorded before any is used.
///
/// # Errors
/// [`KeyError`] when the kernel has no randomness to give for them.
pub fn make_ready(steps: &[&HookPlan], ledger: &mut Ledger) -> Result<BTreeMap<HookName, Ready>, KeyError> {
    let tasks: Vec<&Task> = steps.iter().flat_map(|hook| made_tasks(hook)).collect();
    let mut materials = material::generate(&tasks).into_iter();
    let mut ready = BTreeMap::new();
    for hook in steps {
        let mut one = Vec::new();
        for task in made_tasks(hook) {
            let Some(mut material) = materials.next() else { continue };
            if let (Ok(Material::Key { serials, .. }), Some(certificates)) =
                (&mut material, task.bundle.certificates())
            {
                for model in 0..certificates.models.len() {
                    let mut random = [0_u8; 20];
                    getrandom::fill(&mut random).map_err(|error| KeyError::Random(error.to_string()))?;
                    let serial = Serial::next(ledger.highest_serial, task.replaced_serial(model), random);
                    ledger.highest_serial = ledger.highest_serial.max(Some(serial));
                    serials.push(serial);
                }
            }
            one.push(material);
        }
        ready.insert(hook.hook.clone(), Ready(one));
    }
    Ok(ready)
}

/// What is recorded of files that were found and follow this machine from now on.
pub fn noted(run: &Run<'_>, step: &HookPlan, recorded: Option<&Entry>) -> Entry {
    Maker { run, step, recorded }.entry(BTreeMap::new())
}

fn made_tasks(hook: &HookPlan) -> impl Iterator<Item = &Task> {
    hook.tasks.iter().filter(|task| task.action == Action::Make)
}

/// Makes, swaps and checks one step. What it returns can still be taken back.
///
/// # Errors
/// [`ApplyError`]; everything is as it was.
pub fn apply<'a>(
    run: &Run<'a>,
    step: &HookPlan,
    ready: Ready,
    recorded: Option<&Entry>,
) -> Result<Applied<'a>, ApplyError> {
    let (changes, entry) = Maker { run, step, recorded }.make(ready)?;
    let payload = Payload { hook: step.hook.clone(), entry: Some(entry.clone()) };
    let payload = toml::to_string(&payload).map_err(|error| ApplyError::Certificate(error.to_string()))?;
    let before =
        recorded.map(toml::to_string).transpose().map_err(|e| ApplyError::Certificate(e.to_string()))?;
    let backup = Backup::new(store::backup_directory(run.id, &step.hook), before);
    let id = format!("{}-{}", run.id, step.hook);
    let swapped = Staged::begin(run.root, &id, &changes, payload, Some(backup))?.swap()?;
    match check(run, step) {
        Ok(()) => Ok(Applied { swapped, entry }),
        Err(reason) => {
            swapped.take_back()?;
            Err(ApplyError::Refused(reason.0))
        }
    }
}

/// A program that is not there has nothing to say; one of another root cannot be asked.
fn check(run: &Run<'_>, step: &HookPlan) -> Result<(), ServiceError> {
    let root = run.root;
    if !root.is_live() {
        return Ok(());
    }
    let there = |program: &str| {
        root.resolve(Path::new(program))
            .and_then(|real| root.status(&real))
            .is_ok_and(|status| status.is_some())
    };
    let distinct: BTreeSet<&Check> = step.checks.iter().collect();
    distinct
        .into_iter()
        .filter(|check| check.command.first().is_some_and(|program| there(program)))
        .try_for_each(|check| {
            let Check { command, writes, network, .. } = check;
            let errand = Errand { writes, network: *network, ..Errand::new(command, CHECK) };
            run.services.run(&errand).map(|_| ())
        })
}

struct Maker<'a> {
    run: &'a Run<'a>,
    step: &'a HookPlan,
    recorded: Option<&'a Entry>,
}

/// What one step comes to: changes of files, and what is recorded of them.
struct Output {
    changes: Vec<Change>,
    file: BTreeMap<PathBuf, Made>,
}

/// How one file is laid out.
struct Shape {
    holds: Vec<Part>,
    container: Option<Container>,
    dh: String,
}

/// A certificate as text and as what it says.
struct Issued {
    text: String,
    says: Certificate,
}

impl Maker<'_> {
    fn make(&self, ready: Ready) -> Result<(Vec<Change>, Entry), ApplyError> {
        let mut links = Links::of(self.run.root, self.step);
        let mut made = Output { changes: Vec::new(), file: BTreeMap::new() };
        for (task, material) in made_tasks(self.step).zip(ready.0) {
            match (material?, &task.bundle.what) {
                (Material::Key { key, serials }, What::Certificates(certificates)) => {
                    self.certificates(task, certificates, (key, serials), &mut links, &mut made)?;
                }
                (Material::HostKey(key), _) => {
                    self.host_key(&task.bundle, key.write(&self.comment())?, &mut made)?;
                }
                (Material::Random(random), What::Secret(template)) => {
                    self.secret(&task.bundle, template, &random, &mut made)?;
                }
                (Material::Nothing, What::Program(programmed)) => {
                    self.program(&task.bundle, programmed, &mut made)?;
                }
                // What was made ready is what the task asks for.
                (Material::Key { .. } | Material::Random(_) | Material::Nothing, _) => {}
            }
        }
        made.changes.extend(links.into_changes());
        Ok((made.changes, self.entry(made.file)))
    }

    /// What was made, what was only found, and what the last run left and this one did not touch.
    fn entry(&self, made: BTreeMap<PathBuf, Made>) -> Entry {
        let now = &self.run.facts.identity;
        let recorded = self.recorded.map(|entry| &entry.identity);
        let are_certificates = |task: &&Task| !task.bundle.follows_machine();
        let left = self.step.tasks.iter().filter(are_certificates).any(|task| task.action != Action::Make);
        // What is made beside a certificate says nothing about the name for which that was made.
        let identity = match recorded {
            Some(recorded) if left && !made_tasks(self.step).any(|task| are_certificates(&task)) => {
                recorded.clone()
            }
            _ => now.to_record(recorded),
        };
        let mut file = self.recorded.map(|entry| entry.file.clone()).unwrap_or_default();
        file.extend(made);
        file.extend(self.step.tasks.iter().filter_map(found));
        let machine = self.recorded.and_then(|entry| entry.machine.as_ref());
        let touched =
            |task: &Task| task.bundle.follows_machine() && matches!(task.action, Action::Make | Action::Note);
        let machine = match self.step.tasks.iter().any(touched) {
            true => Some(now.to_record(machine).of_machine()),
            false => machine.cloned(),
        };
        Entry { run: self.run.id.clone(), made: self.run.began, identity, machine, file }
    }

    fn certificates(
        &self,
        task: &Task,
        certificates: &Certificates,
        (key, serials): (PrivateKey, Vec<Serial>),
        links: &mut Links<'_>,
        made: &mut Output,
    ) -> Result<(), ApplyError> {
        // What is unknown at the moment is taken as it was when the hook was last made.
        let identity = match self.recorded {
            Some(entry) => self.run.facts.identity.filled_from(&entry.identity),
            None => self.run.facts.identity.clone(),
        };
        let fqdn = identity.proper().map_err(|why| ApplyError::Certificate(why.0))?;
        let issued = serials
            .into_iter()
            .zip(&certificates.models)
            .map(|(serial, model)| {
                let (mut names, mut addresses) = (BTreeSet::new(), BTreeSet::new());
                for extra in &model.names {
                    match extra {
                        ExtraName::Short => names.extend(HostName::parse(fqdn.label()).ok()),
                        ExtraName::Addresses => {
                            addresses.extend(identity.addresses.value().into_iter().flatten())
                        }
                        ExtraName::Name(name) => names.extend([name.clone()]),
                    }
                }
                let profile = Profile {
                    fqdn: &fqdn,
                    names: &names,
                    addresses: &addresses,
                    subject: &self.run.facts.subject,
                    usage: &model.usage,
                    serial,
                    now: self.run.facts.now,
                    days: certificates.days,
                    backdate_hours: self.run.backdate_hours,
                };
                issue_and_verify(&profile, &key)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let shapes = self.shapes(&task.bundle)?;
        let container = shapes.iter().find_map(|shape| shape.container).unwrap_or_default();
        let key = key.to_pem(container)?;
        self.bundle(&task.bundle, &shapes, (&key, &issued), links, made)
    }

    fn bundle(
        &self,
        bundle: &Bundle,
        shapes: &[Shape],
        (key, issued): (&Secret, &[Issued]),
        links: &mut Links<'_>,
        output: &mut Output,
    ) -> Result<(), ApplyError> {
        for (artifact, shape) in bundle.artifacts.iter().zip(shapes) {
            let Some(certificate) = issued.get(artifact.model) else { continue };
            let content = container::write(&shape.holds, key, &certificate.text, &shape.dh);
            let holds_certificate = artifact.holds.contains(&Part::Certificate);
            let made = Made {
                sha256: Digest::of(content.reveal()),
                serial: certificate.says.serial.filter(|_| holds_certificate),
                not_after: holds_certificate.then_some(certificate.says.not_after),
                links: links.place(artifact, &certificate.says)?,
                fingerprint: None,
            };
            output.file.insert(artifact.real.clone(), made);
            output.changes.push(self.change(artifact, content)?);
        }
        Ok(())
    }

    fn host_key(&self, bundle: &Bundle, key: Written, output: &mut Output) -> Result<(), ApplyError> {
        let mut contents = [key.private, Secret::new(key.public)].into_iter();
        let mut fingerprint = Some(key.fingerprint);
        for (artifact, content) in bundle.artifacts.iter().zip(&mut contents) {
            let made = Made { fingerprint: fingerprint.take(), ..Made::of(content.reveal()) };
            output.file.insert(artifact.real.clone(), made);
            output.changes.push(self.change(artifact, content)?);
        }
        Ok(())
    }

    fn secret(
        &self,
        bundle: &Bundle,
        template: &Template,
        random: &[u8],
        output: &mut Output,
    ) -> Result<(), ApplyError> {
        for artifact in &bundle.artifacts {
            let content = Secret::new(template.fill(random).to_vec());
            output.file.insert(artifact.real.clone(), Made::of(content.reveal()));
            output.changes.push(self.change(artifact, content)?);
        }
        Ok(())
    }

    fn program(
        &self,
        bundle: &Bundle,
        programmed: &Programmed,
        output: &mut Output,
    ) -> Result<(), ApplyError> {
        let Programmed { program, facts, .. } = programmed;
        let hook = (&self.step.hook, program, facts.as_str());
        let staged = program::make(self.run.root, self.run.services, hook).map_err(ApplyError::Program)?;
        for file in staged {
            let Some(artifact) = bundle.artifacts.iter().find(|artifact| artifact.path == file.path) else {
                continue;
            };
            let program::Staged { content, attributes, .. } = file;
            let path = artifact.real.clone();
            output.file.insert(path.clone(), Made::of(content.reveal()));
            output.changes.push(Change::File { path, content, attributes, exact: false });
        }
        Ok(())
    }

    /// As ssh-keygen leaves it, for people: who made the key, and where.
    fn comment(&self) -> String {
        let host = self.run.facts.identity.fqdn();
        host.map_or("root".to_owned(), |host| format!("root@{host}"))
    }

    fn change(&self, artifact: &Artifact, content: Secret) -> Result<Change, PathError> {
        let attributes = self.attributes(artifact)?;
        Ok(Change::File { path: artifact.real.clone(), content, attributes, exact: false })
    }

    /// The shapes of the files as they are, which the new ones keep.
    fn shapes(&self, bundle: &Bundle) -> Result<Vec<Shape>, PathError> {
        let shape = |artifact: &Artifact| {
            let there = self.run.root.read_optional(&artifact.real)?.unwrap_or_default();
            let there = container::read(&there);
            let published = || dh::Group::Ffdhe3072.parameters().to_pem();
            let dh = there.dh.map_or_else(published, Ok);
            Ok(Shape {
                holds: container::keep_order(&artifact.holds, &there.parts),
                container: there.key.map(|(_, container)| container),
                dh: dh.map_err(|error| PathError::refused(&artifact.real, error.to_string()))?,
            })
        };
        bundle.artifacts.iter().map(shape).collect()
    }

    /// Looked up even where a file is there and keeps its own: a hook that names a group that does
    /// not exist is refused the first time, not the first time that the file is missing.
    fn attributes(&self, artifact: &Artifact) -> Result<Attributes, PathError> {
        Ok(Attributes {
            user: users::user(self.run.root, &artifact.owner)?,
            group: users::group(self.run.root, &artifact.group)?,
            mode: artifact.mode,
            extended: Vec::new(),
        })
    }
}

/// What is recorded of a file that follows this machine from now on.
fn found(task: &Task) -> Option<(PathBuf, Made)> {
    let file = task.bundle.secret_file().filter(|_| task.action == Action::Note)?;
    let content = file.content()?;
    let made = Made {
        sha256: content.digest.clone(),
        serial: None,
        not_after: None,
        links: BTreeSet::new(),
        fingerprint: content.fingerprint.clone(),
    };
    Some((file.real.clone(), made))
}

/// Reads back what was written: nothing goes to disk that does not hold what it should.
fn issue_and_verify(profile: &Profile<'_>, key: &PrivateKey) -> Result<Issued, ApplyError> {
    let text =
        issue::self_signed(profile, key).map_err(|error| ApplyError::Certificate(error.to_string()))?;
    let der = container::read(text.as_bytes()).certificates.into_iter().next().unwrap_or_default();
    let says = Certificate::from_der(&der).map_err(ApplyError::Certificate)?;
    let right = says.covers(profile.fqdn.as_str())
        && says.public_digest == key.public_digest()
        && says.serial == Some(profile.serial)
        && says.self_signed
        && covers_now(&says, profile.now);
    if right {
        Ok(Issued { text, says })
    } else {
        Err(ApplyError::Certificate("it does not say what it should".into()))
    }
}

fn covers_now(certificate: &Certificate, now: OffsetDateTime) -> bool {
    certificate.not_before <= now && now < certificate.not_after
}
