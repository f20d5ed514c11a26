//! What becomes of certificates that the manager issues: what lies at their places is to be what the
//! lineage holds. What is there meanwhile is judged as if there were no manager.

use super::certificate::{join, missing};
use super::{Action, Decision, HookFacts, Reason, Stage, Supply, Task};
use crate::artifact::{Bundle, Certificates, Held, Managed, Verdict, Version};
use crate::hook::Issuer;
use crate::ledger::Entry;

impl Decision<'_> {
    /// Decides about a key with its certificates that the manager issues.
    pub(super) fn managed_task(
        &self,
        hook: &HookFacts,
        entry: Option<&Entry>,
        bundle: &Bundle,
        (certificates, managed): (&Certificates, &Managed),
    ) -> Task {
        let mut own = self.certificate_task(hook, entry, bundle, certificates);
        let is_asked_for = self.is_asked_for(bundle);
        own.tides_over = own.reasons.iter().all(|reason| *reason == Reason::Asked);
        if !is_asked_for && !hook.adopt && self.is_of_others(bundle, managed) {
            own.tides_over = false;
            return own;
        }
        own.issuer = Some(Issuer::Manager(managed.service.clone()));
        match &managed.held {
            Held::Hidden(_) => Task { reasons: Vec::new(), action: Action::Keep, ..own },
            Held::Nothing(why) => waiting(own, managed, why),
            Held::Version(version) => {
                let task = self.installed(own, bundle, managed, version);
                self.named(task, hook, is_asked_for)
            }
        }
    }

    /// Says whether these files stay whose they are, although the manager is named for the whole hook:
    /// another program renews them, or they are for a name that is neither ours nor the manager's
    /// certificate's, at a place of their own.
    fn is_of_others(&self, bundle: &Bundle, managed: &Managed) -> bool {
        if bundle.tracked.is_some() {
            return true;
        }
        let is_ours = |name: &String| {
            let version = managed.version().map(|version| &version.says);
            self.names.contains(name)
                || name.starts_with("localhost")
                || version.is_some_and(|says| says.names().contains(name) || says.covers(name))
        };
        let certificate = bundle.certificate(0);
        let names = certificate.map(crate::pki::inspect::Certificate::names).unwrap_or_default();
        matches!(bundle.verdict(self.names), Verdict::Foreign(_))
            && !bundle.artifacts.iter().any(|artifact| artifact.default_path)
            && !names.is_empty()
            && !names.iter().any(is_ours)
    }

    fn installed(&self, own: Task, bundle: &Bundle, managed: &Managed, version: &Version) -> Task {
        let mut reasons = missing(bundle, true);
        reasons.extend(
            managed
                .differing
                .iter()
                .map(|path| Reason::Differs { path: path.clone(), version: version.name.clone() }),
        );
        if self.names_whom_we_were(version) {
            reasons.push(Reason::Names { says: join(&version.says.names()) });
            return self.asked(own, managed, reasons);
        }
        if self.is_asked_for(bundle) {
            reasons.push(Reason::Asked);
        }
        let action = match (reasons.is_empty(), self.is_put_off) {
            (true, _) => Action::Keep,
            (_, false) => Action::Make,
            // Whose name it is to carry is not known: what may be served is left.
            (_, true) if own.tides_over => return Task { reasons: Vec::new(), action: Action::Keep, ..own },
            (_, true) => Action::Wait,
        };
        Task { reasons, action, supply: Supply::Installed, ..own }
    }

    /// A certificate that names neither this machine nor whom it was follows the service, and not the
    /// machine: its names are the site's to choose.
    fn names_whom_we_were(&self, version: &Version) -> bool {
        let Some(name) = self.proper else { return false };
        let is_present = |other: &String| other == name.as_str() || other == name.label();
        let names = version.says.names();
        let was_ours = |other: &&String| names.contains(*other) && !is_present(other);
        !version.says.covers(name.as_str()) && self.ledger.names.iter().any(|other| was_ours(&other))
    }

    /// The manager is to be asked for another one: on the machine itself, when its services run.
    fn asked(&self, own: Task, managed: &Managed, reasons: Vec<Reason>) -> Task {
        let is_early = matches!(self.request.stage, Some(Stage::Early | Stage::Boot));
        if !managed.is_live {
            let told = Task { reasons: own.reasons.iter().cloned().chain(reasons).collect(), ..own };
            return waiting(told, managed, "it is asked for another one where this machine runs");
        }
        if is_early && managed.stop_gap && own.action == Action::Make {
            return own;
        }
        let action = if self.is_put_off { Action::Wait } else { Action::Make };
        Task { reasons, action, supply: Supply::Asked, ..own }
    }

    /// Who names an issuer asks for the files, whosever they are; that is said where it counts.
    fn named(&self, mut task: Task, hook: &HookFacts, is_asked_for: bool) -> Task {
        let replaces = task.action == Action::Make && task.supply != Supply::Own;
        if replaces && !task.verdict.is_replaceable() && !is_asked_for && !hook.adopt {
            task.reasons.extend(task.issuer.clone().map(Reason::Named));
        }
        task
    }
}

/// What is to be said where the manager is named for a whole hook, and some files stay whose they are.
pub(super) fn left_out(task: &Task) -> Option<String> {
    let managed = task.bundle.certificates()?.managed.as_deref().filter(|_| task.issuer.is_none())?;
    Some(format!(
        "{} stays whose it is, although manager:{} is named for the hook; to have that there: \
         reseed apply --adopt {}",
        task.headline().display(),
        managed.service,
        task.headline().display()
    ))
}

/// Nothing can be installed: what is there stays, unless a self-signed one is to stand in.
fn waiting(mut task: Task, managed: &Managed, why: &str) -> Task {
    let issuer = Issuer::Manager(managed.service.clone());
    task.reasons.push(Reason::Awaits { issuer, why: why.to_owned() });
    if !(managed.stop_gap && task.action == Action::Make) {
        task.action = Action::Wait;
    }
    task
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::PathBuf;

    use super::super::tests::{bundle, certificate, content, day, facts, hook, ledger, made, name};
    use super::super::{Deferral, HookFacts, Plan, Request, plan};
    use super::*;
    use crate::artifact::{Found, What};
    use crate::ledger::{Failure, Ledger, Made};
    use crate::manager::name::ServiceName;
    use crate::pki::key::Secret;

    /// What the manager has, for these names.
    fn held(names: &[&str]) -> Held {
        let subject: Vec<(&str, &str)> = names.iter().map(|name| ("CN", *name)).collect();
        Held::Version(Box::new(Version {
            name: "20300101-00:00:00".into(),
            key: Secret::new("key"),
            public_digest: [1; 32],
            certificate: vec![1],
            says: certificate(&subject, Some("CA"), 300),
            chain: Vec::new(),
            anchor: None,
        }))
    }

    fn managed(mut bundle: Bundle, held: Held, stop_gap: bool, differs: bool) -> HookFacts {
        if let What::Certificates(certificates) = &mut bundle.what {
            let differing = differs.then(|| PathBuf::from("/etc/x.certificate")).into_iter().collect();
            let service = ServiceName::parse("example.com/web").unwrap();
            certificates.managed =
                Some(Box::new(Managed { service, stop_gap, is_live: true, held, differing }));
        }
        hook(vec![bundle])
    }

    fn planned(called: &str, hook: HookFacts, ledger: &Ledger, request: &Request) -> Plan {
        plan(&facts(called, vec![("x", hook)]), ledger, request)
    }

    fn installed() -> Bundle {
        let issuer = Issuer::try_from("manager:example.com/web".to_owned()).ok();
        let one = || Found::Ours(Made { issuer: issuer.clone(), ..made(10) });
        bundle(one(), one())
    }

    fn foreign(names: &[&str]) -> Bundle {
        let subject: Vec<(&str, &str)> = names.iter().map(|name| ("CN", *name)).collect();
        let there = certificate(&subject, Some("Other CA"), 300);
        bundle(content(None, Some([1; 32])), content(Some(there), None))
    }

    fn absent() -> Bundle {
        bundle(Found::Absent, Found::Absent)
    }

    #[test]
    fn what_becomes_of_a_pair_that_the_manager_issues() {
        const NEW: &str = "mail.example.com";
        const OLD: &str = "old.example.com";
        let own = || bundle(Found::Ours(made(300)), Found::Ours(made(300)));
        let nothing = || Held::Nothing("none yet".into());
        let elsewhere = |names: &[&str]| {
            let mut bundle = foreign(names);
            bundle.artifacts.iter_mut().for_each(|artifact| artifact.default_path = false);
            bundle
        };
        let tracked = || Bundle { tracked: Some("renewed by certbot".into()), ..foreign(&[NEW]) };
        let (ours, wild) = (held(&[NEW]), held(&["*.example.com"]));
        use Action::{Keep, Leave, Make, Wait};
        use Supply::{Asked, Installed, Own};
        // name, recorded for, what is there, what the manager has, stop-gap, differs; action, supply, a
        // reason, whether what is there may be served
        let cases = [
            (
                "nothing there",
                None,
                absent(),
                ours.clone(),
                false,
                false,
                Make,
                Installed,
                "is missing",
                false,
            ),
            ("as it is held", Some(NEW), installed(), ours.clone(), false, false, Keep, Installed, "", true),
            (
                "rolled",
                Some(NEW),
                installed(),
                ours.clone(),
                false,
                true,
                Make,
                Installed,
                "has since 2030",
                true,
            ),
            (
                "a stop-gap ends",
                Some(NEW),
                own(),
                ours.clone(),
                true,
                true,
                Make,
                Installed,
                "has since",
                true,
            ),
            (
                "foreign",
                None,
                foreign(&[NEW]),
                ours.clone(),
                false,
                true,
                Make,
                Installed,
                "asks for these",
                true,
            ),
            (
                "of another service",
                None,
                elsewhere(&["shop.test"]),
                ours.clone(),
                false,
                true,
                Keep,
                Own,
                "",
                false,
            ),
            (
                "at our own place",
                None,
                foreign(&["shop.test"]),
                ours.clone(),
                false,
                true,
                Make,
                Installed,
                "asks for",
                false,
            ),
            ("tracked", None, tracked(), ours.clone(), false, true, Keep, Own, "", false),
            (
                "renamed, the old one held",
                Some(OLD),
                installed(),
                held(&[OLD]),
                false,
                false,
                Make,
                Asked,
                "it says old",
                false,
            ),
            (
                "renamed, a new one held",
                Some(OLD),
                installed(),
                ours.clone(),
                false,
                true,
                Make,
                Installed,
                "has since",
                false,
            ),
            (
                "renamed, any name held",
                Some(OLD),
                installed(),
                wild,
                false,
                false,
                Keep,
                Installed,
                "",
                false,
            ),
            (
                "a service's own name",
                Some(OLD),
                installed(),
                held(&["www.test"]),
                false,
                false,
                Keep,
                Installed,
                "",
                false,
            ),
            (
                "nothing held, nothing there",
                None,
                absent(),
                nothing(),
                false,
                false,
                Wait,
                Own,
                "waits for manager:",
                false,
            ),
            (
                "nothing held, ours there",
                Some(NEW),
                own(),
                nothing(),
                false,
                false,
                Wait,
                Own,
                "none yet",
                true,
            ),
            (
                "nothing held, theirs there",
                None,
                foreign(&[NEW]),
                nothing(),
                true,
                false,
                Wait,
                Own,
                "none yet",
                true,
            ),
            ("a stop-gap", None, absent(), nothing(), true, false, Make, Own, "none yet", false),
            ("a stop-gap is there", Some(NEW), own(), nothing(), true, false, Wait, Own, "none yet", true),
            (
                "no stop-gap in place of theirs",
                None,
                foreign(&[OLD, "x.test"]),
                nothing(),
                true,
                false,
                Wait,
                Own,
                "none yet",
                false,
            ),
            (
                "nobody may look",
                Some(OLD),
                installed(),
                Held::Hidden("denied".into()),
                false,
                false,
                Keep,
                Own,
                "",
                false,
            ),
        ];
        for (case, recorded, there, held, stop_gap, differs, action, supply, reason, tides) in cases {
            let ledger = recorded.map_or_else(Ledger::default, ledger);
            let hook = managed(there, held, stop_gap, differs);
            let plan = planned(NEW, hook.clone(), &ledger, &Request::default());
            let task = &plan.hooks[0].tasks[0];
            let said: Vec<String> = task.reasons.iter().map(ToString::to_string).collect();
            assert_eq!((task.action, task.supply), (action, supply), "{case}: {said:?}");
            assert_eq!(said.iter().any(|said| said.contains(reason)), !said.is_empty(), "{case}: {said:?}");
            assert_eq!(said.is_empty(), reason.is_empty(), "{case}: {said:?}");
            if action != Keep {
                assert_eq!(task.tides_over, tides, "{case}");
            }
            let awaits = matches!(plan.hooks[0].deferred, Some(Deferral::Manager { .. }));
            assert_eq!(awaits, action == Wait, "{case}");
            // Where nobody knows whose name it is, nothing is made, and what may be served stays.
            let unnamed = planned("localhost", hook.clone(), &ledger, &Request::default());
            let unnamed = unnamed.hooks[0].tasks[0].action;
            assert!(matches!(unnamed, Wait | Keep | Leave), "{case}: {unnamed:?}");
            // Who asks for a file gets what the manager has, whosever the file is.
            let asked =
                Request { adopt: BTreeSet::from(["/etc/x.certificate".into()]), ..Request::default() };
            let asked = planned(NEW, hook.clone(), &ledger, &asked);
            let task = &asked.hooks[0].tasks[0];
            if matches!(task.bundle.certificates().unwrap().managed.as_ref().unwrap().held, Held::Version(_))
            {
                assert!(
                    task.action == Make && task.supply != Own,
                    "{case}: {:?} {:?}",
                    task.action,
                    task.supply
                );
            }
        }
    }

    #[test]
    fn it_is_asked_late_and_with_pauses() {
        let old = || managed(installed(), held(&["old.example.com"]), false, false);
        let gap = || managed(installed(), held(&["old.example.com"]), true, false);
        let new = || managed(installed(), held(&["mail.example.com"]), false, true);
        let failure = |of_manager| {
            let error = "the manager was asked, but".to_owned();
            Failure { attempts: 1, last: day(0), error, boots: 1, boot: Some("this".into()), of_manager }
        };
        let failed = |of_manager| {
            let mut ledger = ledger("old.example.com");
            ledger.failure.insert(name("x"), failure(of_manager));
            ledger
        };
        let at = |stage| Request { stage, unattended: true, ..Request::default() };
        let recorded = || ledger("old.example.com");
        let (early, boot, late) = (at(Some(Stage::Early)), at(Some(Stage::Boot)), at(Some(Stage::Network)));
        use Action::{Make, Wait};
        use Supply::{Asked, Installed, Own};
        for (case, hook, ledger, request, action, supply, why) in [
            ("early", old(), recorded(), &early, Wait, Asked, "the certificate manager"),
            ("before the services", old(), recorded(), &boot, Wait, Asked, "the certificate manager"),
            ("with the network", old(), recorded(), &late, Make, Asked, ""),
            ("a stop-gap early", gap(), recorded(), &early, Make, Own, ""),
            ("what is held, early", new(), recorded(), &early, Make, Installed, ""),
            ("after it refused", old(), failed(true), &late, Wait, Asked, "was asked, but"),
            ("when it has delivered", new(), failed(true), &late, Make, Installed, ""),
            ("when the service refused", new(), failed(false), &late, Wait, Installed, "was asked, but"),
            ("by hand", old(), failed(true), &Request::default(), Make, Asked, ""),
        ] {
            let plan = planned("mail.example.com", hook, &ledger, request);
            let task = &plan.hooks[0].tasks[0];
            assert_eq!((task.action, task.supply), (action, supply), "{case}");
            let said = plan.hooks[0].deferred.as_ref().map(ToString::to_string).unwrap_or_default();
            assert_eq!((said.contains(why), said.is_empty()), (true, why.is_empty()), "{case}: {said}");
        }
        let mut offline = old();
        if let What::Certificates(certificates) = &mut offline.bundles[0].what {
            certificates.managed.as_mut().unwrap().is_live = false;
        }
        let plan = planned("mail.example.com", offline, &recorded(), &Request::default());
        assert_eq!(plan.hooks[0].tasks[0].action, Wait);
        assert!(plan.hooks[0].deferred.as_ref().unwrap().to_string().contains("where this machine runs"));
    }
}
