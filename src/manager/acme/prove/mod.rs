//! How names are proven to an authority: each proof is brought to where its kind is looked for, and everything
//! is taken away again.
//!
//! ```text
//!  dns-01       zones           records into zones, looked for until every server shows them
//!  http-01      http            files beneath [web] server_dir, here and on other hosts; else
//!               responder       a server of our own
//!               look            whether they can be seen from here, which is only told
//!  tls-alpn-01  responder
//!  placed    p                  what was put on web servers, remembered until it is gone
//! ```

mod http;
mod look;
mod placed;
mod responder;
#[cfg(test)]
mod tests;
mod zones;

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use time::OffsetDateTime;

use self::http::Files;
use self::responder::{Certificates, Pages, Responder};
use super::{Proof, Prover};
use crate::manager::config::{Acme, Servers, Site, Validation};
use crate::manager::deliver::ssh::Door;
use crate::manager::dns::publish::Publisher;
use crate::manager::run::{Run, World};
use crate::manager::tree::Tree;

/// Runs a script on a host: the host, the script for `sh`, and what it reads; returns what it printed, or why it
/// failed, in words.
pub type Shell<'a> = dyn Fn(&str, &str, &[u8]) -> Result<String, String> + Sync + 'a;

/// What was put on web servers, beneath the manager's own directory.
const TOKENS: &str = "tokens.toml";

/// Who is told what happens, a line each.
pub type Tell<'a> = dyn Fn(&str) + Sync + 'a;

/// Called with the number of a proof, as soon as it can be seen or cannot.
type Seen<'a> = dyn Fn(usize, Result<(), String>) + Sync + 'a;

/// Proves names as a site is configured, to one authority. What was put anywhere is taken away by
/// [`Prover::withdraw`]; what a run could not take away, by the next one, with [`Provers::sweep`].
pub struct Provers<'a> {
    site: &'a Site,
    http_listen: SocketAddr,
    tls_listen: SocketAddr,
    now: OffsetDateTime,
    tell: Box<Tell<'a>>,
    publisher: Publisher<'a>,
    files: Files<'a>,
    http: Mutex<Option<(Arc<Pages>, Responder)>>,
    alpn: Mutex<Option<(Arc<Certificates>, Responder)>>,
}

impl std::fmt::Debug for Provers<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Provers(for {})", self.files.own)
    }
}

impl<'a> Provers<'a> {
    /// Those of a run, for one authority. Nothing is opened before there is something to prove.
    pub fn new(run: &'a Run<'_>, authority: &Acme) -> Self {
        Self::with(&run.world, &run.tree, &run.config.site, authority)
    }

    /// The same from its parts.
    pub fn with(world: &'a World<'_>, tree: &'a Tree<'_>, site: &'a Site, authority: &Acme) -> Self {
        let files = Files {
            root: world.root,
            own: &world.host,
            record: tree.own(TOKENS),
            shell: Box::new(|host, script, input| {
                Door::Ssh { host, options: &site.ssh_options }.script(script, &[], input)
            }),
            lock: Mutex::new(()),
        };
        Self {
            site,
            http_listen: authority.http_listen,
            tls_listen: authority.tls_listen,
            now: world.now,
            tell: Box::new(|line| tracing::info!("{line}")),
            publisher: Publisher::new(tree, site),
            files,
            http: Mutex::new(None),
            alpn: Mutex::new(None),
        }
    }

    /// Tells what happens to somebody else than the log.
    #[must_use]
    pub fn telling(mut self, tell: impl Fn(&str) + Sync + 'a) -> Self {
        self.tell = Box::new(tell);
        self
    }

    /// Reaches other hosts otherwise than by ssh.
    #[must_use]
    pub fn through(
        mut self,
        shell: impl Fn(&str, &str, &[u8]) -> Result<String, String> + Sync + 'a,
    ) -> Self {
        self.files.shell = Box::new(shell);
        self
    }

    /// Takes away what an earlier run left; says in words what could not be. Nothing may be in proof.
    pub fn sweep(&self) -> Vec<String> {
        let mut left = self.publisher.withdraw_all();
        left.extend(self.files.withdraw(&|_| true));
        left
    }

    /// The web servers that show files, and where.
    fn web(&self) -> Option<(&Servers, &Path)> {
        self.site.servers.iter().find_map(|servers| Some((servers, servers.web_root.as_deref()?)))
    }

    /// Files, where there is a web server; they count as seen when they are there.
    fn by_files(&self, servers: &Servers, web_root: &Path, proofs: &[(usize, &Proof)], seen: &Seen<'_>) {
        let mut there = Vec::new();
        for (number, placed) in self.files.place(servers, web_root, proofs) {
            match placed {
                Ok(()) => {
                    there.extend(proofs.iter().find(|(one, _)| *one == number));
                    seen(number, Ok(()));
                }
                Err(error) => seen(number, Err(error)),
            }
        }
        // The authority looks meanwhile; nobody waits for what we see.
        look::look(&there, |_, notes| notes.iter().for_each(|note| (self.tell)(note)));
    }

    /// A server of our own for http-01.
    fn by_pages(&self, proofs: &[(usize, &Proof)], seen: &Seen<'_>) {
        let start = || {
            let pages = Arc::new(Pages::default());
            let responder = Responder::start(self.http_listen, Arc::clone(&pages) as _);
            let responder = responder.map_err(|error| {
                refused(
                    "ca_http_listen",
                    self.http_listen,
                    &error,
                    "give [web] server_dir in ssl-mgr.conf, so that the web server shows the tokens, or a \
                     ca_http_listen in ca-info.conf to which it passes such requests",
                )
            })?;
            Ok((pages, responder))
        };
        show(&mut held(&self.http), start, proofs, seen, |pages, proof| {
            if proof.identifier.is_wildcard() {
                return Err(format!("{} is a wildcard: only dns-01 proves it", proof.identifier));
            }
            pages.show(http::token(proof)?, &proof.key_authorization);
            Ok(())
        });
    }

    /// A server of our own for tls-alpn-01.
    fn by_certificates(&self, proofs: &[(usize, &Proof)], seen: &Seen<'_>) {
        let start = || {
            let certificates = Arc::new(Certificates::new(self.now)?);
            let responder = Responder::start(self.tls_listen, Arc::clone(&certificates) as _);
            let responder = responder.map_err(|error| {
                refused(
                    "ca_tls_listen",
                    self.tls_listen,
                    &error,
                    "use http-01 or dns-01 as ca_validation in ca-info.conf, or give a ca_tls_listen to which \
                     it passes connections for the protocol acme-tls/1",
                )
            })?;
            Ok((certificates, responder))
        };
        show(&mut held(&self.alpn), start, proofs, seen, |certificates, proof| certificates.show(proof));
    }
}

impl Prover for Provers<'_> {
    fn prove(&self, proofs: &[Proof], seen: &(dyn Fn(usize, Result<(), String>) + Sync)) {
        let of = |kind: Validation| -> Vec<(usize, &Proof)> {
            proofs.iter().enumerate().filter(|(_, proof)| proof.kind == kind).collect()
        };
        let (dns, http, alpn) = (of(Validation::Dns), of(Validation::Http), of(Validation::Alpn));
        // Name servers take longest, and hosts may be down: nobody waits for the others.
        std::thread::scope(|scope| {
            if !dns.is_empty() {
                scope.spawn(|| zones::prove(&self.publisher, &dns, seen, &self.tell));
            }
            if !alpn.is_empty() {
                scope.spawn(|| self.by_certificates(&alpn, seen));
            }
            match self.web() {
                _ if http.is_empty() => {}
                Some((servers, web_root)) => self.by_files(servers, web_root, &http, seen),
                None => self.by_pages(&http, seen),
            }
        });
    }

    fn withdraw(&self, proofs: &[Proof]) -> Vec<String> {
        let of = |kind: Validation| proofs.iter().filter(move |proof| proof.kind == kind);
        hide(&mut held(&self.http), of(Validation::Http), |pages, proof| pages.hide(&proof.token));
        hide(&mut held(&self.alpn), of(Validation::Alpn), Certificates::hide);
        let mut left = Vec::new();
        let records: Vec<_> = of(Validation::Dns).map(zones::record).collect();
        if !records.is_empty() {
            left.extend(self.publisher.withdraw(&records));
        }
        let tokens: BTreeSet<&str> = of(Validation::Http).map(|proof| proof.token.as_str()).collect();
        if !tokens.is_empty() {
            left.extend(self.files.withdraw(&|token| tokens.contains(token)));
        }
        left
    }
}

fn held<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has a responder show proofs, and starts it where there is none.
fn show<T>(
    state: &mut Option<(Arc<T>, Responder)>,
    start: impl FnOnce() -> Result<(Arc<T>, Responder), String>,
    proofs: &[(usize, &Proof)],
    seen: &Seen<'_>,
    one: impl Fn(&T, &Proof) -> Result<(), String>,
) {
    if state.is_none() {
        match start() {
            Ok(started) => *state = Some(started),
            Err(error) => return proofs.iter().for_each(|(number, _)| seen(*number, Err(error.clone()))),
        }
    }
    let Some((server, _)) = state else { return };
    proofs.iter().for_each(|(number, proof)| seen(*number, one(server, proof)));
}

/// Has it show them no longer, and ends it where it has nothing more to show.
fn hide<'p, T>(
    state: &mut Option<(Arc<T>, Responder)>,
    mut proofs: impl Iterator<Item = &'p Proof>,
    one: impl Fn(&T, &Proof) -> bool,
) {
    if let Some((server, _)) = state
        && proofs.by_ref().fold(false, |_, proof| one(server, proof))
    {
        *state = None;
    }
}

/// Why there can be no server of our own, and what to do then.
fn refused(key: &str, address: SocketAddr, error: &std::io::Error, instead: &str) -> String {
    let port = address.port();
    match error.kind() {
        ErrorKind::AddrInUse => format!("port {port} is taken by another program; {instead}"),
        ErrorKind::PermissionDenied => {
            format!("this user may not listen on port {port}: let root run this, or {instead}")
        }
        ErrorKind::AddrNotAvailable => {
            format!("{key}: {} is no address of this machine", address.ip())
        }
        _ => format!("cannot listen on {address} ({key}): {error}"),
    }
}
