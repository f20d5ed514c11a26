//! The plan: facts, hooks and ledger in; what a run would do out, each step with its reason.
//!
//! Pure. The same plan is printed by `reseed plan`, carried out by `reseed apply`, and compared in
//! tests; nothing is decided anywhere else.

mod certificate;
mod deferral;
mod machine;
mod managed;
mod program;
mod reason;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use time::OffsetDateTime;

use crate::artifact::{Bundle, Found, Verdict, What};
use crate::hook::{Check, HookName, Issuer, Policy, Verb};
use crate::identity::{self, Facet, HostName, Identity, Improper, Kind};
use crate::ledger::{Entry, Ledger};
use crate::pki::container::Part;
use crate::pki::serial::Serial;
use crate::probe::protocol::Ports;
use crate::seed::Subject;

pub use deferral::Deferral;
pub use reason::Reason;

/// Everything that a plan needs to know of the world.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The present time.
    pub now: OffsetDateTime,
    /// When this program was built: no clock is right that says less.
    pub built: OffsetDateTime,
    /// Who the machine is.
    pub identity: Identity,
    /// The site's subject fields.
    pub subject: Subject,
    /// The domain comes from the resolver where no file gives one.
    pub domain_from_dns: bool,
    /// The kernel's random id of this boot; nothing for a root that does not run.
    pub boot: Option<String>,
    /// Days before its end at which a certificate of ours is made anew.
    pub renew_before_days: u32,
    /// Number of boots in which a hook may fail before its units are disabled.
    pub disable_after_boots: u32,
    /// The hooks that apply.
    pub hooks: BTreeMap<HookName, HookFacts>,
    /// The hooks that do not, and why.
    pub idle: BTreeMap<HookName, String>,
}

/// What was found out about one hook that applies.
#[derive(Debug, Clone)]
pub struct HookFacts {
    /// Facets whose change makes its files stale.
    pub watches: BTreeSet<Facet>,
    /// What to do with its units while it is stale.
    pub policy: Policy,
    /// Replace stale files even where they are not ours.
    pub adopt: bool,
    /// Its keys with their certificates.
    pub bundles: Vec<Bundle>,
    /// Files that it reads and another hook makes.
    pub borrowed: BTreeMap<PathBuf, HookName>,
    /// The units that read them, by pattern.
    pub units: BTreeMap<String, Verb>,
    /// The program's own checks of its configuration.
    pub checks: Vec<Check>,
    /// Ports of its units of which the number does not say what is spoken there.
    pub probes: Ports,
    /// What could not be understood in the program's configuration.
    pub problems: Vec<String>,
}

/// What the caller asks for beside what is stale.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Only these hooks; all when empty.
    pub only: BTreeSet<HookName>,
    /// Files to be replaced although they are not ours, or are fresh.
    pub adopt: BTreeSet<PathBuf>,
    /// This is the recorded machine, brought back from a backup or on other hardware: no clone.
    pub restored: bool,
    /// Nobody waits for the outcome: what failed is tried again with growing pauses.
    pub unattended: bool,
    /// The part of the boot in which the run takes place; nothing for all of it at once.
    pub stage: Option<Stage>,
}

/// A part of the boot, by what can be known and who can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Before any service: files only, no service manager to be asked, no network.
    Early,
    /// The name is final, the services are not started yet; no network.
    Boot,
    /// The network is up.
    Network,
}

impl Stage {
    /// Says whether sources that need the network are asked.
    pub fn asks_network(stage: Option<Self>) -> bool {
        !matches!(stage, Some(Self::Early | Self::Boot))
    }
}

/// What a run would do.
#[derive(Debug, Clone, Serialize)]
#[must_use]
pub struct Plan {
    /// Who the machine is.
    pub identity: Identity,
    /// What happened to it since it was last recorded.
    pub kinds: BTreeSet<Kind>,
    /// The name that certificates would carry.
    pub name: Option<HostName>,
    /// Why no certificate is made, whatever is stale; what follows the machine is made all the same.
    pub put_off: Option<PutOff>,
    /// Every hook that applies.
    pub hooks: Vec<HookPlan>,
}

/// Why a run makes no certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "why", content = "reason", rename_all = "kebab-case")]
pub enum PutOff {
    /// The identity is not fit for a certificate.
    Improper(Improper),
    /// The clock is earlier than this program.
    Clock(String),
}

impl fmt::Display for PutOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Improper(why) => write!(f, "the identity is not proper: {why}"),
            Self::Clock(why) => f.write_str(why),
        }
    }
}

/// What a run would do for one hook.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct HookPlan {
    /// Its name.
    pub hook: HookName,
    /// What happens to its units if it stays stale.
    pub policy: Policy,
    /// Its keys with their certificates, and what becomes of each.
    pub tasks: Vec<Task>,
    /// Files that it reads and another hook makes.
    pub borrowed: BTreeMap<PathBuf, HookName>,
    /// Its own units, by pattern.
    pub units: BTreeMap<String, Verb>,
    /// The units to be told: its own, and those of hooks that borrow what is made here.
    pub tell: BTreeMap<String, Verb>,
    /// Checks to be passed before anybody is told.
    pub checks: Vec<Check>,
    /// What could not be understood in the program's configuration.
    pub problems: Vec<String>,
    /// Why this run leaves it stale, where it does.
    pub deferred: Option<Deferral>,
}

/// What becomes of one bundle.
#[derive(Debug, Clone, Serialize)]
pub struct Task {
    /// The files, as their configuration names them.
    pub files: Vec<PathBuf>,
    /// Whose they are.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Why they no longer hold; empty when they do.
    pub reasons: Vec<Reason>,
    /// What is done about it.
    pub action: Action,
    /// Of the SSH host key that lies there, or that is replaced, as `ssh-keygen -l` prints it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Who issues it, where it does not sign itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<Issuer>,
    /// Where what is made comes from.
    #[serde(skip_serializing_if = "Supply::is_own")]
    pub supply: Supply,
    /// What lies there may be served until something better is had.
    #[serde(skip)]
    pub tides_over: bool,
    /// What is to be made.
    #[serde(skip)]
    pub bundle: Bundle,
}

/// Where what is made comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Supply {
    /// It is made here.
    #[default]
    Own,
    /// It is what the certificate manager holds.
    Installed,
    /// It is what the certificate manager holds once it was asked for another one.
    Asked,
}

impl Supply {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
    fn is_own(&self) -> bool {
        *self == Self::Own
    }
}

/// What is done about a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Nothing: it holds.
    Keep,
    /// It is made again.
    Make,
    /// It will be made again by a run that is not put off.
    Wait,
    /// It is recorded as this machine's from now on, and stays as it is.
    Note,
    /// Nothing: it does not hold, but it is not ours to replace.
    Leave,
}

impl Plan {
    /// The hooks for which something is made, in their order; while the run is put off, only those
    /// with something that follows the machine.
    pub fn steps(&self) -> Vec<&HookPlan> {
        self.hooks.iter().filter(|hook| hook.has(Action::Make)).collect()
    }

    /// The hooks of which something is recorded and nothing is made.
    pub fn notes(&self) -> Vec<&HookPlan> {
        self.hooks.iter().filter(|hook| hook.has(Action::Note) && !hook.has(Action::Make)).collect()
    }

    /// Says whether anything at all no longer holds and is ours to put right.
    pub fn is_stale(&self) -> bool {
        self.hooks.iter().any(HookPlan::makes_something)
    }

    /// Says whether a hook's units would serve something stale: its own files, or borrowed ones.
    pub fn serves_stale(&self, hook: &HookPlan) -> bool {
        hook.makes_something()
            || hook.borrowed.keys().any(|real| self.hooks.iter().any(|owner| owner.makes(real)))
    }
}

impl HookPlan {
    /// Says whether anything of it is to be made, by this run or by one that is not put off.
    pub fn makes_something(&self) -> bool {
        self.has(Action::Make) || self.has(Action::Wait)
    }

    /// Says whether this is done with anything of it.
    pub fn has(&self, action: Action) -> bool {
        self.tasks.iter().any(|task| task.action == action)
    }

    /// Says whether what it makes no hurry of is all that is stale: what lies there may be served.
    pub fn is_tided_over(&self) -> bool {
        self.stale().all(|task| task.tides_over)
    }

    fn stale(&self) -> impl Iterator<Item = &Task> {
        self.tasks.iter().filter(|task| matches!(task.action, Action::Make | Action::Wait))
    }

    fn makes(&self, real: &Path) -> bool {
        self.stale().any(|task| task.bundle.artifacts.iter().any(|artifact| artifact.real == real))
    }
}

/// Decides what a run would do.
pub fn plan(facts: &Facts, ledger: &Ledger, request: &Request) -> Plan {
    let proper = facts.identity.proper();
    let mut names = ledger.names.clone();
    if let Ok(name) = &proper {
        names.extend([name.as_str().to_owned(), name.label().to_owned()]);
    }
    let kinds = identity::kinds(ledger.identity.as_ref(), &facts.identity, request.restored);
    let put_off = put_off(facts, proper.clone());
    let decision = Decision {
        facts,
        ledger,
        request,
        names: &names,
        kinds: &kinds,
        proper: proper.as_ref().ok(),
        is_put_off: put_off.is_some(),
    };
    let mut hooks: Vec<HookPlan> = facts
        .hooks
        .iter()
        .filter(|(name, _)| request.only.is_empty() || request.only.contains(*name))
        .map(|(name, hook)| decision.hook(name, hook))
        .collect();
    tell_borrowers(&mut hooks, facts);
    for hook in &mut hooks {
        decision.defer(hook);
    }
    Plan { identity: facts.identity.clone(), name: proper.ok(), put_off, kinds, hooks }
}

fn put_off(facts: &Facts, proper: Result<HostName, Improper>) -> Option<PutOff> {
    if facts.now < facts.built {
        return Some(PutOff::Clock(format!(
            "the clock says {}, but this program was built on {}: the run is put off until the clock is right",
            facts.now.date(),
            facts.built.date()
        )));
    }
    proper.err().map(PutOff::Improper)
}

/// Whoever reads a file that another hook makes is told, and asked whether it likes it.
fn tell_borrowers(hooks: &mut [HookPlan], facts: &Facts) {
    for hook in hooks {
        let reads_it = |name: &HookName, borrower: &HookFacts| {
            let lends = |(real, owner): (&PathBuf, &HookName)| *owner == hook.hook && hook.makes(real);
            *name != hook.hook && borrower.borrowed.iter().any(lends)
        };
        let borrowers: Vec<&HookFacts> = facts
            .hooks
            .iter()
            .filter(|(name, facts)| reads_it(name, facts))
            .map(|(_, facts)| facts)
            .collect();
        for borrower in borrowers {
            for (unit, verb) in &borrower.units {
                let told = hook.tell.entry(unit.clone()).or_insert(*verb);
                *told = (*told).max(*verb);
            }
            hook.checks.extend(borrower.checks.iter().cloned());
        }
    }
}

struct Decision<'a> {
    facts: &'a Facts,
    ledger: &'a Ledger,
    request: &'a Request,
    names: &'a BTreeSet<String>,
    kinds: &'a BTreeSet<Kind>,
    proper: Option<&'a HostName>,
    is_put_off: bool,
}

impl Decision<'_> {
    fn hook(&self, name: &HookName, hook: &HookFacts) -> HookPlan {
        let entry = self.ledger.hook.get(name);
        let tasks: Vec<Task> = hook.bundles.iter().map(|bundle| self.task(hook, entry, bundle)).collect();
        let left_out = tasks.iter().filter_map(managed::left_out);
        HookPlan {
            hook: name.clone(),
            policy: hook.policy,
            problems: hook.problems.iter().cloned().chain(left_out).collect(),
            tasks,
            deferred: None,
            borrowed: hook.borrowed.clone(),
            units: hook.units.clone(),
            tell: hook.units.clone(),
            checks: hook.checks.clone(),
        }
    }

    fn task(&self, hook: &HookFacts, entry: Option<&Entry>, bundle: &Bundle) -> Task {
        match &bundle.what {
            What::Certificates(certificates) => match &certificates.managed {
                None => self.certificate_task(hook, entry, bundle, certificates),
                Some(managed) => self.managed_task(hook, entry, bundle, (certificates, managed)),
            },
            What::HostKey(_) | What::Secret(_) => self.machine_task(hook, entry, bundle),
            What::Program(made) => self.program_task(hook, entry, bundle, &made.answer),
        }
    }

    fn is_asked_for(&self, bundle: &Bundle) -> bool {
        let adopt = &self.request.adopt;
        bundle.artifacts.iter().any(|a| adopt.contains(&a.path) || adopt.contains(&a.real))
    }
}

impl Task {
    fn new(bundle: &Bundle, verdict: Verdict, reasons: Vec<Reason>, action: Action) -> Self {
        Self {
            files: bundle.artifacts.iter().map(|artifact| artifact.path.clone()).collect(),
            verdict,
            reasons,
            action,
            fingerprint: bundle.fingerprint().map(str::to_owned),
            issuer: None,
            supply: Supply::Own,
            tides_over: false,
            bundle: bundle.clone(),
        }
    }

    /// The highest serial that is replaced, by the place of its model: one certificate may lie in
    /// several files, and others before it.
    pub fn replaced_serial(&self, model: usize) -> Option<Serial> {
        let of_model = self.bundle.artifacts.iter().filter(|artifact| artifact.model == model);
        let serials = of_model.filter_map(|artifact| match &artifact.found {
            Found::Ours(made) => made.serial,
            Found::Other(content) => content.certificate.as_ref()?.as_ref().ok()?.serial,
            _ => None,
        });
        serials.max()
    }

    /// The file that holds a certificate, for people: the first of the bundle.
    pub fn headline(&self) -> &Path {
        let certificate = self.bundle.artifacts.iter().find(|a| a.holds.contains(&Part::Certificate));
        certificate
            .or(self.bundle.artifacts.first())
            .map_or(Path::new(""), |artifact| artifact.path.as_path())
    }
}

#[cfg(test)]
mod tests;
