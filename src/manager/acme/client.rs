//! The one door to an authority: HTTPS, nonces, retries, pace.
//!
//! What the library for ACME would send passes through here and is signed here, anew at each attempt. So a nonce
//! that was refused costs one more request and no order; an account may have a key of any kind; and what headers
//! say about waiting is not lost.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, LINK, LOCATION, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use instant_acme::{BodyWrapper, BytesResponse, HttpClient};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use time::OffsetDateTime;

use super::failure::Failure;
use super::jws::{self, Signer};
use crate::pki::key::PrivateKey;
use crate::system::clock;

/// How an authority is reached.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Certificates in PEM whom its own is checked against; nothing for those whom the system trusts.
    pub trust: Option<Vec<u8>>,
    /// Most requests in any second; at least 1.
    pub requests_per_second: u32,
    /// How long one request may take.
    pub timeout: Duration,
    /// How often a request is sent again that was broken off, or met a failure of the authority; at most 5.
    pub retries: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { trust: None, requests_per_second: 10, timeout: Duration::from_secs(30), retries: PAUSES.len() }
    }
}

/// What an authority offers (RFC 8555 section 7.1.1).
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Directory {
    /// Where a nonce is to be had.
    pub new_nonce: String,
    /// Where accounts are made and found.
    pub new_account: String,
    /// Where certificates are ordered.
    pub new_order: String,
    /// Where they are revoked.
    pub revoke_cert: Option<String>,
    /// Where an account gets another key.
    pub key_change: Option<String>,
    /// Where it says when it wants a certificate renewed (RFC 9773).
    pub renewal_info: Option<String>,
    /// More about it.
    #[serde(default)]
    pub meta: Meta,
}

/// What an authority says of itself.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Meta {
    /// URL of the terms that its users agree to.
    pub terms_of_service: Option<String>,
    /// No account without a binding to one elsewhere.
    #[serde(default)]
    pub external_account_required: bool,
    /// Kinds of certificates to choose from, each with a description.
    #[serde(default)]
    pub profiles: BTreeMap<String, String>,
}

/// An authority's answer that is no failure.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    status: StatusCode,
    url: String,
}

impl Answer {
    /// Reads the body.
    ///
    /// # Errors
    /// [`Failure`] when it is not what RFC 8555 says.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body)
            .map_err(|error| Failure::unanswered(format!("{}: not an answer of ACME: {error}", self.url)))
    }

    /// The URL of what was made or found.
    ///
    /// # Errors
    /// [`Failure`] when it is missing.
    pub fn location(&self) -> Result<String, Failure> {
        let value = self.headers.get(LOCATION).and_then(|value| value.to_str().ok());
        value.map(str::to_owned).ok_or_else(|| {
            Failure::unanswered(format!("{}: the answer does not say where the result is", self.url))
        })
    }

    /// Other chains for the same certificate (RFC 8555 section 7.4.2).
    pub fn alternates(&self) -> Vec<String> {
        let texts = self.headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
        texts.flat_map(|text| links(text, "alternate")).collect()
    }

    /// How long to wait before the same is asked again.
    pub fn retry_after(&self) -> Option<Duration> {
        retry_after(&self.headers, clock::now())
    }
}

/// A way to an authority; copies share everything.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    http: hyper_util::client::legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    bounds: Bounds,
    url: String,
    directory: Directory,
    listing: Bytes,
    nonces: Mutex<Vec<String>>,
    sent: Mutex<VecDeque<Instant>>,
    account: Mutex<Option<(Arc<PrivateKey>, String)>>,
    waits: Mutex<BTreeMap<String, Duration>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({})", self.0.url)
    }
}

impl Client {
    /// Reads an authority's directory.
    ///
    /// # Errors
    /// [`Failure`] when it does not answer, or is none.
    pub async fn open(url: &str, bounds: Bounds) -> Result<Self, Failure> {
        let mut inner = Inner {
            http: connector(&bounds).map_err(Failure::own)?,
            bounds,
            url: url.to_owned(),
            directory: Directory {
                new_nonce: String::new(),
                new_account: String::new(),
                new_order: String::new(),
                revoke_cert: None,
                key_change: None,
                renewal_info: None,
                meta: Meta::default(),
            },
            listing: Bytes::new(),
            nonces: Mutex::default(),
            sent: Mutex::default(),
            account: Mutex::default(),
            waits: Mutex::default(),
        };
        let answer = inner.get(url).await?;
        inner.directory = answer
            .json()
            .map_err(|_| Failure::unanswered(format!("{url}: what is there is no directory of ACME")))?;
        inner.listing = answer.body;
        Ok(Self(Arc::new(inner)))
    }

    /// URL of the directory.
    pub fn url(&self) -> &str {
        &self.0.url
    }

    /// What the authority offers.
    pub fn directory(&self) -> &Directory {
        &self.0.directory
    }

    /// From now on, requests are signed by this account.
    pub fn set_account(&self, key: Arc<PrivateKey>, url: String) {
        *lock(&self.0.account) = Some((key, url));
    }

    /// Asks without a signature.
    ///
    /// # Errors
    /// [`Failure`]
    pub async fn get(&self, url: &str) -> Result<Answer, Failure> {
        self.0.get(url).await
    }

    /// Sends a payload, signed by the account; without one it only asks (POST-as-GET).
    ///
    /// # Errors
    /// [`Failure`], for an account that was not set too.
    pub async fn post(&self, url: &str, payload: Option<&Value>) -> Result<Answer, Failure> {
        let encoded = payload.map(|payload| jws::encode(payload.to_string())).unwrap_or_default();
        self.0.post_by_account(url, &encoded).await
    }

    /// Sends a payload, signed by somebody else.
    ///
    /// # Errors
    /// [`Failure`]
    pub async fn post_by(&self, signer: Signer<'_>, url: &str, payload: &Value) -> Result<Answer, Failure> {
        self.0.post(signer, url, &jws::encode(payload.to_string())).await
    }

    /// What the last answer at a URL said about asking again.
    pub fn wait_for(&self, url: &str) -> Option<Duration> {
        lock(&self.0.waits).get(url).copied()
    }
}

/// What the library for ACME sends.
impl HttpClient for Client {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>> {
        let inner = Arc::clone(&self.0);
        Box::pin(async move {
            let answer = inner.forward(request).await;
            answer.map_err(|failure| instant_acme::Error::Other(Box::new(failure)))
        })
    }
}

impl Inner {
    async fn forward(&self, request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, Failure> {
        let url = request.uri().to_string();
        let mut response = Response::builder();
        // It is replaced when the request that carries it is signed here.
        response = response.header(NONCE, "unused");
        let body = if request.method() == Method::HEAD {
            Bytes::new()
        } else if request.method() == Method::GET {
            if url == self.url { self.listing.clone() } else { self.get(&url).await?.body }
        } else {
            let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            let signed: Value = serde_json::from_slice(&body).unwrap_or_default();
            let payload = signed.get("payload").and_then(Value::as_str).unwrap_or_default();
            let answer = self.post_by_account(&url, payload).await?;
            response = response.status(answer.status);
            if let Some(location) = answer.headers.get(LOCATION) {
                response = response.header(LOCATION, location);
            }
            answer.body
        };
        let response = response.body(Full::new(body)).map_err(|error| Failure::own(error.to_string()))?;
        Ok(BytesResponse::from(response))
    }

    async fn get(&self, url: &str) -> Result<Answer, Failure> {
        self.persist(url, None).await
    }

    async fn post_by_account(&self, url: &str, payload: &str) -> Result<Answer, Failure> {
        let account = lock(&self.account).clone();
        let (key, kid) = account.ok_or_else(|| Failure::own("there is no account yet".to_owned()))?;
        self.post(Signer::Account(&key, &kid), url, payload).await
    }

    async fn post(&self, signer: Signer<'_>, url: &str, payload: &str) -> Result<Answer, Failure> {
        self.persist(url, Some((signer, payload))).await
    }

    /// Asks again where that may help: the connection breaks, the authority fails, it wants a moment's rest.
    async fn persist(&self, url: &str, signed: Option<(Signer<'_>, &str)>) -> Result<Answer, Failure> {
        let mut pauses = PAUSES.iter().take(self.bounds.retries);
        loop {
            let done = match signed {
                Some((signer, payload)) => self.attempt(signer, url, payload).await,
                None => self.once(Method::GET, url, Bytes::new()).await,
            };
            let failure = match done {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let pause = pauses.next().filter(|_| failure.is_passing());
            let Some(pause) = pause else { return Err(failure.at(url)) };
            match failure.wait {
                Some(wait) if wait > PATIENCE => return Err(failure.at(url)),
                Some(wait) => tokio::time::sleep(wait.max(*pause)).await,
                None => tokio::time::sleep(*pause).await,
            }
        }
    }

    /// Signs with one nonce after the other until one is taken (RFC 8555 section 6.5): a refused one was not used,
    /// and the refusal has brought a fresh one.
    async fn attempt(&self, signer: Signer<'_>, url: &str, payload: &str) -> Result<Answer, Failure> {
        let mut refused = 0;
        loop {
            let nonce = self.nonce().await?;
            let body = jws::sign(signer, Some(&nonce), url, payload).map_err(Failure::own)?;
            match self.once(Method::POST, url, body.to_string().into()).await {
                Err(failure) if failure.is("badNonce") && refused < NONCES => refused += 1,
                done => return done,
            }
        }
    }

    async fn nonce(&self) -> Result<String, Failure> {
        // The newest: an old one may have been forgotten by the authority.
        if let Some(nonce) = lock(&self.nonces).pop() {
            return Ok(nonce);
        }
        let url = &self.directory.new_nonce;
        self.once(Method::HEAD, url, Bytes::new()).await?;
        lock(&self.nonces).pop().ok_or_else(|| Failure::unanswered(format!("{url}: the answer has no nonce")))
    }

    async fn once(&self, method: Method, url: &str, body: Bytes) -> Result<Answer, Failure> {
        self.pace().await;
        let mut request = Request::builder().method(method.clone()).uri(url).header(USER_AGENT, AGENT);
        if method == Method::POST {
            request = request.header(CONTENT_TYPE, "application/jose+json");
        }
        let request = request
            .body(Full::new(body))
            .map_err(|error| Failure::unanswered(format!("\"{url}\" is no URL: {error}")))?;
        let exchange = async {
            let response = self.http.request(request).await.map_err(|error| unreached(&error))?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, MAX_BODY)
                .collect()
                .await
                .map_err(|error| Failure::passing(format!("the answer breaks off: {error}")))?;
            Ok::<_, Failure>((parts, body.to_bytes()))
        };
        let (parts, body) = match tokio::time::timeout(self.bounds.timeout, exchange).await {
            Ok(done) => done?,
            Err(_) => {
                let seconds = self.bounds.timeout.as_secs_f32();
                return Err(Failure::passing(format!("no answer within {seconds} seconds")));
            }
        };
        if let Some(nonce) = parts.headers.get(NONCE).and_then(|nonce| nonce.to_str().ok()) {
            let mut nonces = lock(&self.nonces);
            if nonces.len() < NONCES_KEPT && jws::decode(nonce).is_ok() {
                nonces.push(nonce.to_owned());
            }
        }
        let now = clock::now();
        let wait = retry_after(&parts.headers, now);
        if !parts.status.is_success() {
            let kind =
                parts.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
            return Err(Failure::answered(parts.status.as_u16(), kind, &body, wait, now));
        }
        if method != Method::HEAD {
            let mut waits = lock(&self.waits);
            match wait {
                Some(wait) => waits.insert(url.to_owned(), wait),
                None => waits.remove(url),
            };
        }
        Ok(Answer { headers: parts.headers, body, status: parts.status, url: url.to_owned() })
    }

    /// Waits until one more request within a second is allowed.
    async fn pace(&self) {
        loop {
            let now = Instant::now();
            let wait = {
                let mut sent = lock(&self.sent);
                while sent.front().is_some_and(|first| now.duration_since(*first) >= SECOND) {
                    sent.pop_front();
                }
                let most = usize::try_from(self.bounds.requests_per_second.max(1)).unwrap_or(usize::MAX);
                match sent.front() {
                    Some(first) if sent.len() >= most => SECOND.saturating_sub(now.duration_since(*first)),
                    _ => {
                        sent.push_back(now);
                        return;
                    }
                }
            };
            tokio::time::sleep(wait).await;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is kept here is whole after every statement.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

type Http = hyper_util::client::legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

fn connector(bounds: &Bounds) -> Result<Http, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(anchors(bounds.trust.as_deref())?)
        .with_no_client_auth();
    let mut tcp = HttpConnector::new();
    // Otherwise each small request waits some 40 ms for the acknowledgement of the one before.
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT));
    tcp.enforce_http(false);
    let tls = HttpsConnectorBuilder::new()
        .with_tls_config(config)
        .https_only()
        .enable_http1()
        .enable_http2()
        .wrap_connector(tcp);
    Ok(hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(tls))
}

fn anchors(trust: Option<&[u8]>) -> Result<rustls::RootCertStore, String> {
    let mut anchors = rustls::RootCertStore::empty();
    let given: Vec<rustls::pki_types::CertificateDer<'static>> = match trust {
        Some(text) => {
            let blocks = crate::pki::armor::blocks(text);
            let certificates = blocks.into_iter().filter(|block| block.label == "CERTIFICATE");
            certificates.filter_map(|block| Some(block.body.ok()?.to_vec().into())).collect()
        }
        None => rustls_native_certs::load_native_certs().certs,
    };
    let (taken, _) = anchors.add_parsable_certificates(given);
    match (taken, trust) {
        (0, Some(_)) => Err("the file of ca_trust holds no certificate in PEM".to_owned()),
        (0, None) => Err("the system trusts nobody: install ca-certificates, or write ca_trust".to_owned()),
        _ => Ok(anchors),
    }
}

/// The whole row of causes: the last one says what happened.
fn unreached(error: &hyper_util::client::legacy::Error) -> Failure {
    let mut text = "cannot be reached".to_owned();
    let mut is_stranger = false;
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        let inner = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        is_stranger |= inner
            .is_some_and(|inner| matches!(inner.downcast_ref(), Some(rustls::Error::InvalidCertificate(_))));
        source = cause.source();
    }
    // Another attempt meets the same certificate.
    if is_stranger { Failure::unanswered(text) } else { Failure::passing(text) }
}

/// `Retry-After` in either of its forms (RFC 9110 section 10.2.3).
fn retry_after(headers: &HeaderMap, now: OffsetDateTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let moment = httpdate::parse_http_date(text).ok()?;
            moment.duration_since(SystemTime::from(now)).unwrap_or_default()
        }
    };
    // What is farther away is hardly meant, and must not overflow a date.
    Some(wait.min(YEAR))
}

/// The targets of one relation in a `Link` header (RFC 8288 section 3).
fn links(text: &str, relation: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('<') {
        let Some((target, after)) = after.split_once('>') else { break };
        // Parameters go up to the comma that begins the next link; a comma may stand between quotes.
        let mut quoted = false;
        let end = after
            .char_indices()
            .find(|(_, letter)| {
                quoted ^= *letter == '"';
                *letter == ',' && !quoted
            })
            .map_or(after.len(), |(end, _)| end);
        let (parameters, next) = after.split_at(end);
        let has =
            parameters.split(';').filter_map(|parameter| parameter.split_once('=')).any(|(name, value)| {
                name.trim().eq_ignore_ascii_case("rel")
                    && value
                        .trim()
                        .trim_matches('"')
                        .split_ascii_whitespace()
                        .any(|one| one.eq_ignore_ascii_case(relation))
            });
        if has {
            found.push(target.trim().to_owned());
        }
        rest = next;
    }
    found
}

/// RFC 8555 section 6.1 asks for the client's name.
const AGENT: &str = concat!("reseed/", env!("CARGO_PKG_VERSION"));
/// RFC 8555 section 6.5.1.
const NONCE: &str = "replay-nonce";
/// How often a nonce may be refused for one request: with one half refused, once in 10^15.
const NONCES: u32 = 50;
/// Nonces put aside; more are never in use at once.
const NONCES_KEPT: usize = 64;
const CONNECT: Duration = Duration::from_secs(10);
const SECOND: Duration = Duration::from_secs(1);
const YEAR: Duration = Duration::from_secs(366 * 24 * 3600);
/// Between attempts, where the authority does not say how long.
const PAUSES: [Duration; 5] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];
/// What is waited for within one request; what takes longer is left to a later run.
const PATIENCE: Duration = Duration::from_secs(15);
/// Far more than any chain.
const MAX_BODY: usize = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_by_relation() {
        let cases: [(&str, &str, &[&str]); 7] = [
            ("one", r#"<https://a/1>;rel="alternate""#, &["https://a/1"]),
            ("bare", "<https://a/1>; rel=alternate", &["https://a/1"]),
            (
                "several in one line",
                r#"<https://a/i>;rel="index", <https://a/1>;rel="alternate", <https://a/2>;title="x, y";rel="alternate""#,
                &["https://a/1", "https://a/2"],
            ),
            ("several relations", r#"<https://a/1>;rel="up alternate""#, &["https://a/1"]),
            ("another", r#"<https://a/1>;rel="up""#, &[]),
            ("cut off", "<https://a/1", &[]),
            ("nothing", "", &[]),
        ];
        for (case, text, expected) in cases {
            assert_eq!(links(text, "alternate"), expected, "{case}");
        }
    }

    #[test]
    fn waiting_as_it_is_said() {
        let now = OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap();
        for (case, text, expected) in [
            ("seconds", "120", Some(120)),
            ("a date", "Tue, 14 Nov 2023 22:14:20 GMT", Some(60)),
            ("a date that is past", "Tue, 14 Nov 2023 22:00:00 GMT", Some(0)),
            ("for ever", "99999999999999", Some(366 * 24 * 3600)),
            ("nonsense", "soon", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            assert_eq!(retry_after(&headers, now), expected.map(Duration::from_secs), "{case}");
        }
    }

    #[test]
    fn no_anchor_is_an_error() {
        assert!(anchors(Some(b"junk")).unwrap_err().contains("ca_trust"));
    }
}
