//! A small authority that offers what Debian's Pebble lacks: renewal information (RFC 9773) with a window that
//! the test moves, `replaces`, profiles, answers that ask for patience, limits, and failures of every sort. It
//! checks what it is sent as strictly as RFC 8555 asks, and remembers each breach; it believes every name, unless
//! the test says how to look.

mod answer;
mod http;
mod jws;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::anchor::{Authority, pem};
use http::Response;

/// What a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    Directory,
    NewNonce,
    NewAccount,
    Account,
    NewOrder,
    Order,
    Authorization,
    Challenge,
    Finalize,
    Certificate,
    Revoke,
    KeyChange,
    RenewalInfo,
}

/// What goes wrong with a request.
#[derive(Debug, Clone)]
pub enum Fault {
    /// An error document (RFC 8555 section 6.7).
    Problem {
        status: u16,
        /// The last part of its type.
        kind: &'static str,
        detail: &'static str,
        retry_after: Option<&'static str>,
        /// More members, such as `subproblems`.
        more: Value,
    },
    /// What a proxy says for it.
    Html(u16),
    /// The connection ends without an answer.
    Silence,
}

impl Fault {
    /// A problem without further members.
    pub fn problem(status: u16, kind: &'static str, detail: &'static str) -> Self {
        Self::Problem { status, kind, detail, retry_after: None, more: json!({}) }
    }

    /// The same, with the time of the next try: seconds or a date.
    pub fn later(status: u16, kind: &'static str, detail: &'static str, retry_after: &'static str) -> Self {
        Self::Problem { status, kind, detail, retry_after: Some(retry_after), more: json!({}) }
    }
}

/// Decides whether a name is proven: identifier, kind of challenge, token, key authorization.
pub type Look = Box<dyn Fn(&str, &str, &str, &str) -> bool + Send>;

/// Everything that the test sets and sees.
pub struct State {
    // ---- set -------------------------------------------------------------------------------------
    /// What goes wrong: with the next requests of a kind, in this order.
    pub faults: Vec<(Operation, Fault)>,
    /// How every name is looked at; nothing believes all.
    pub look: Option<Look>,
    /// The profiles on offer, each with the days that its certificates live.
    pub profiles: BTreeMap<&'static str, i64>,
    /// Days that a certificate of no profile lives.
    pub days: i64,
    /// The window in which a renewal is wanted, for every certificate; nothing puts it two thirds through its life.
    pub window: Option<(OffsetDateTime, OffsetDateTime)>,
    /// `Retry-After` of renewal information.
    pub renewal_retry: String,
    /// How often an order says that it is being processed, and after how many seconds to ask again.
    pub processing: (usize, u32),
    /// How long each answer takes.
    pub delay: Duration,
    // ---- seen ------------------------------------------------------------------------------------
    /// Every request in its order: when, and about what.
    pub requests: Vec<(Instant, Operation)>,
    /// What clients did that RFC 8555 forbids.
    pub breaches: Vec<String>,
    pub accounts: Vec<Account>,
    pub orders: Vec<Order>,
    pub certificates: Vec<Certificate>,
    /// Most orders that were spoken about at one time; one that only waits for its proofs to be seen is not.
    pub most_orders: usize,
    /// The orders that are spoken about now, once for each request.
    spoken_of: Vec<usize>,
    nonces: BTreeSet<String>,
}

#[derive(Debug, Clone)]
pub struct Account {
    pub key: Value,
    pub contact: Value,
    pub status: &'static str,
}

#[derive(Debug, Clone)]
pub struct Order {
    pub account: usize,
    pub identifiers: Vec<Value>,
    pub profile: Option<String>,
    pub replaces: Option<String>,
    pub authorizations: Vec<Authorization>,
    pub status: &'static str,
    pub error: Option<Value>,
    pub certificate: Option<usize>,
    polls: usize,
}

#[derive(Debug, Clone)]
pub struct Authorization {
    pub identifier: Value,
    pub token: String,
    pub status: &'static str,
    pub error: Option<Value>,
    /// The kind of challenge that was tried.
    pub tried: Option<String>,
}

#[derive(Debug, Clone)]
pub struct Certificate {
    pub der: Vec<u8>,
    /// Its name in RFC 9773 section 4.1.
    pub id: String,
    pub replaced: bool,
    /// The reason, once it is revoked.
    pub revoked: Option<u64>,
}

/// A running one.
pub struct Standin {
    shared: Arc<Shared>,
    port: u16,
    trust: PathBuf,
    /// The roots of its two chains; the first is the usual one.
    pub roots: [String; 2],
}

struct Shared {
    state: Mutex<State>,
    ended: AtomicBool,
    base: String,
    issuer: Authority,
    /// The issuer's certificate below the first root, and below the second.
    above: [Vec<u8>; 2],
}

impl Standin {
    /// Starts one that listens at a free port of 127.0.0.1; `place` is for the certificate to trust it by.
    pub fn new(place: &Path) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let web = Authority::root("stand-in");
        let (key, certificate) = web.server(&["localhost", "127.0.0.1"]);
        let trust = place.join(format!("trust-{port}.pem"));
        std::fs::write(&trust, web.pem()).unwrap();
        let roots = [Authority::root("Stand-in Root A"), Authority::root("Stand-in Root B")];
        let (issuer, crossed) = roots[0].below("Stand-in Issuer", &roots[1]);
        let above = [issuer.der.clone(), crossed];
        let base = format!("https://localhost:{port}");
        let state = Mutex::new(State::default());
        let shared = Arc::new(Shared { state, ended: AtomicBool::new(false), base, issuer, above });
        let (config, serving) = (http::config(&key, &certificate), Arc::clone(&shared));
        std::thread::spawn(move || {
            let answering = Arc::clone(&serving);
            let ended = || serving.ended.load(Ordering::SeqCst);
            http::serve(&listener, &config, ended, move |request| answering.answer(request));
        });
        Self { shared, port, trust, roots: roots.map(|root| pem(&root.der)) }
    }

    /// The URL of its directory.
    pub fn directory(&self) -> String {
        format!("{}/dir", self.shared.base)
    }

    /// Whom its own HTTPS is checked against.
    pub fn trust(&self) -> &Path {
        &self.trust
    }

    /// What the test sets and sees.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }

    /// The next requests of a kind go wrong in these ways.
    pub fn fails(&self, operation: Operation, faults: &[Fault]) {
        self.state().faults.extend(faults.iter().map(|fault| (operation, fault.clone())));
    }

    /// How many requests there were of a kind.
    pub fn count(&self, operation: Operation) -> usize {
        self.state().requests.iter().filter(|(_, seen)| *seen == operation).count()
    }

    /// Most requests within one second.
    pub fn busiest_second(&self) -> usize {
        let state = self.state();
        let times: Vec<Instant> = state.requests.iter().map(|(time, _)| *time).collect();
        let within = |start: &Instant| {
            times.iter().filter(|time| **time >= *start && **time < *start + Duration::from_secs(1)).count()
        };
        times.iter().map(within).max().unwrap_or(0)
    }

    /// Nobody has broken RFC 8555.
    #[track_caller]
    pub fn is_content(&self) {
        assert_eq!(self.state().breaches, Vec::<String>::new());
    }
}

impl Drop for Standin {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // Whoever accepts looks after the next connection.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.base)
    }
}

impl Default for State {
    fn default() -> Self {
        Self {
            faults: Vec::new(),
            look: None,
            profiles: BTreeMap::from([("classic", 90), ("shortlived", 6)]),
            days: 90,
            window: None,
            renewal_retry: "21600".to_owned(),
            processing: (0, 1),
            delay: Duration::ZERO,
            requests: Vec::new(),
            breaches: Vec::new(),
            accounts: Vec::new(),
            orders: Vec::new(),
            certificates: Vec::new(),
            most_orders: 0,
            spoken_of: Vec::new(),
            nonces: BTreeSet::new(),
        }
    }
}

impl State {
    /// A request about an order begins. One for a new order is about that which it will become.
    fn begins(&mut self, order: Option<usize>) {
        self.spoken_of.extend(order);
        let distinct: BTreeSet<usize> = self.spoken_of.iter().copied().collect();
        self.most_orders = self.most_orders.max(distinct.len());
    }

    fn ends(&mut self, order: Option<usize>) {
        if let Some(at) = self.spoken_of.iter().position(|spoken| Some(*spoken) == order) {
            self.spoken_of.swap_remove(at);
        }
    }

    fn nonce(&mut self) -> String {
        let nonce = answer::random();
        self.nonces.insert(nonce.clone());
        nonce
    }
}

impl Fault {
    fn response(self) -> Option<Response> {
        Some(match self {
            Self::Silence => return None,
            Self::Html(status) => {
                Response::new(status, "text/html", "<html><body><h1>Bad Gateway</h1></body></html>")
            }
            Self::Problem { status, kind, detail, retry_after, more } => {
                let response = answer::problem(status, kind, detail, more);
                match retry_after {
                    Some(time) => response.with("Retry-After", time),
                    None => response,
                }
            }
        })
    }
}
