//! Why a request to an authority came to nothing: its own words (RFC 7807, RFC 8555 section 6.7), or that there
//! were none.

use std::fmt;
use std::time::Duration;

use instant_acme::Problem;
use serde_json::Value;
use time::OffsetDateTime;

use super::Refusal;

/// A request that came to nothing.
#[derive(Debug, Clone)]
pub struct Failure {
    /// In words, the authority's own where it has said something.
    pub text: String,
    /// The kind of problem, without the prefix that all share; empty where the authority has not said.
    pub kind: String,
    /// How long it wants to be left alone.
    pub wait: Option<Duration>,
    /// The same as a moment; nothing where it has nothing to say about that.
    pub not_before: Option<OffsetDateTime>,
    sort: Sort,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    /// The next attempt may be lucky.
    Passing,
    /// The authority has said no, or something that cannot be understood.
    Lasting,
    /// It was never sent.
    Own,
}

impl Failure {
    /// The next attempt may be lucky.
    pub fn passing(text: String) -> Self {
        Self { text, kind: String::new(), wait: None, not_before: None, sort: Sort::Passing }
    }

    /// The answer is no use.
    pub fn unanswered(text: String) -> Self {
        Self { sort: Sort::Lasting, ..Self::passing(text) }
    }

    /// It was never sent.
    pub fn own(text: String) -> Self {
        Self { sort: Sort::Own, ..Self::passing(text) }
    }

    /// An answer with a status that is no success.
    pub fn answered(
        status: u16,
        media_type: &str,
        body: &[u8],
        wait: Option<Duration>,
        now: OffsetDateTime,
    ) -> Self {
        let media_type = media_type.split(';').next().unwrap_or_default().trim();
        let document =
            media_type.ends_with("json").then(|| serde_json::from_slice::<Value>(body).ok()).flatten();
        let (text, kind) = match &document {
            Some(document) => (words(document), kind(document)),
            // What a proxy in between shows to people is no help, and often a page long.
            None => (
                format!(
                    "answered {status} with \"{}\", as no authority does: is there a proxy in between?",
                    shown(media_type)
                ),
                String::new(),
            ),
        };
        let limited = status == 429 || kind == "rateLimited";
        // An authority that limits and does not say how long is asked again in an hour.
        let wait = wait.or(limited.then_some(HOUR));
        let is_passing =
            matches!(status, 408 | 425 | 429 | 500..=599) && (document.is_some() || status >= 500);
        let resting = limited || status == 503;
        let not_before = wait.filter(|_| resting).and_then(|wait| now.checked_add(wait.try_into().ok()?));
        let sort = if is_passing { Sort::Passing } else { Sort::Lasting };
        Self { text, kind, wait: wait.filter(|_| resting), not_before, sort }
    }

    /// Says whether it is this kind of problem, `badNonce` for one.
    pub fn is(&self, kind: &str) -> bool {
        self.kind == kind
    }

    /// Says whether the next attempt may be lucky.
    pub fn is_passing(&self) -> bool {
        self.sort == Sort::Passing
    }

    /// The same, saying which URL it was about.
    pub fn at(self, url: &str) -> Self {
        if self.text.contains(url) { self } else { Self { text: format!("{url}: {}", self.text), ..self } }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}

impl From<instant_acme::Error> for Failure {
    fn from(error: instant_acme::Error) -> Self {
        match error {
            instant_acme::Error::Other(inner) => match inner.downcast::<Self>() {
                Ok(failure) => *failure,
                Err(other) => Self::unanswered(other.to_string()),
            },
            instant_acme::Error::Api(problem) => {
                let kind = problem.r#type.as_deref().unwrap_or_default();
                let kind = kind.strip_prefix(PREFIX).unwrap_or(kind).to_owned();
                Self { kind, ..Self::unanswered(said(&problem)) }
            }
            other => Self::unanswered(other.to_string()),
        }
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        let Failure { text: error, kind, not_before, sort, .. } = failure;
        if sort == Sort::Own || OURS.contains(&kind.as_str()) {
            return Self::Ours { error };
        }
        Self::Authority { error, not_before }
    }
}

/// What another authority would refuse as well: names, keys and requests that are no good, and names that are
/// not proven. That a CAA record forbids this authority is not among it.
const OURS: [&str; 11] = [
    "badCSR",
    "badPublicKey",
    "badRevocationReason",
    "connection",
    "dns",
    "incorrectResponse",
    "malformed",
    "rejectedIdentifier",
    "tls",
    "unauthorized",
    "unsupportedIdentifier",
];

/// A problem that stands in an order, an authorization or a challenge, in words.
pub fn said(problem: &Problem) -> String {
    let mut text = one(problem.detail.as_deref(), problem.r#type.as_deref());
    for part in &problem.subproblems {
        let about = part.identifier.as_ref().map(|identifier| identifier.authorized(false).to_string());
        let about = about.map(|about| format!("{}: ", shown(&about))).unwrap_or_default();
        text = format!("{text}; {about}{}", one(part.detail.as_deref(), part.r#type.as_deref()));
    }
    text
}

/// A problem document in words; each part that is missing is left out.
fn words(document: &Value) -> String {
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let mut all = one(text(document, "detail").as_deref(), text(document, "type").as_deref());
    for part in document.get("subproblems").and_then(Value::as_array).into_iter().flatten() {
        let about = part.get("identifier").and_then(|identifier| text(identifier, "value"));
        let about = about.map(|about| format!("{}: ", shown(&about))).unwrap_or_default();
        let said = one(text(part, "detail").as_deref(), text(part, "type").as_deref());
        all = format!("{all}; {about}{said}");
    }
    all
}

fn kind(document: &Value) -> String {
    let kind = document.get("type").and_then(Value::as_str).unwrap_or_default();
    kind.strip_prefix(PREFIX).unwrap_or_default().to_owned()
}

fn one(detail: Option<&str>, kind: Option<&str>) -> String {
    let kind =
        kind.map(|kind| kind.strip_prefix(PREFIX).unwrap_or(kind)).filter(|kind| *kind != "about:blank");
    match (detail, kind) {
        (Some(detail), Some(kind)) => format!("{} ({})", shown(detail), shown(kind)),
        (Some(only), None) | (None, Some(only)) => shown(only),
        (None, None) => "refused without a reason".to_owned(),
    }
}

/// What somebody else has written must not move a terminal's cursor, nor fill it.
fn shown(text: &str) -> String {
    text.chars().take(LONGEST).map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

/// RFC 8555 section 6.7.
const PREFIX: &str = "urn:ietf:params:acme:error:";
const HOUR: Duration = Duration::from_secs(3600);
/// Characters of one of an authority's sentences.
const LONGEST: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = "application/problem+json";

    #[test]
    fn answers() {
        let now = OffsetDateTime::UNIX_EPOCH;
        let minute = Some(Duration::from_secs(60));
        let limited = r#"{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many"}"#;
        let sub = r#"{"type":"urn:ietf:params:acme:error:malformed","detail":"some","subproblems":[
            {"type":"urn:ietf:params:acme:error:dns","detail":"no","identifier":{"type":"dns","value":"a.example"}},
            {"detail":"odd","identifier":{"type":"carrier-pigeon","value":"x\u001b[2J"}}]}"#;
        let cases = [
            ("limited", 429, JSON, limited, minute, "too many (rateLimited)", true, Some(60)),
            ("limited, without a word", 429, JSON, limited, None, "too many (rateLimited)", true, Some(3600)),
            ("down", 503, "text/html", "<h1>", minute, "answered 503 with \"text/html\"", true, Some(60)),
            ("a proxy", 502, "text/html", "<h1>", None, "answered 502 with \"text/html\"", true, None),
            (
                "a page",
                403,
                "text/html; charset=x",
                "<h1>",
                None,
                "answered 403 with \"text/html\"",
                false,
                None,
            ),
            ("its problem", 500, JSON, r#"{"detail":"oh"}"#, None, "oh", true, None),
            ("nothing said", 400, JSON, "{}", None, "refused without a reason", false, None),
            (
                "subproblems, of kinds that nobody knows",
                400,
                JSON,
                sub,
                None,
                "some (malformed); a.example: no (dns); x\u{fffd}[2J: odd",
                false,
                None,
            ),
        ];
        for (case, status, media, body, wait, text, passing, not_before) in cases {
            let failure = Failure::answered(status, media, body.as_bytes(), wait, now);
            assert!(failure.text.starts_with(text), "{case}: {failure}");
            assert_eq!(failure.is_passing(), passing, "{case}");
            assert_eq!(failure.not_before.map(OffsetDateTime::unix_timestamp), not_before, "{case}");
        }
    }

    #[test]
    fn whose_fault_it_is() {
        for (kind, ours) in [
            ("rejectedIdentifier", true),
            ("unauthorized", true),
            ("badCSR", true),
            ("caa", false),
            ("rateLimited", false),
            ("serverInternal", false),
            ("accountDoesNotExist", false),
            ("", false),
        ] {
            let failure = Failure { kind: kind.into(), ..Failure::unanswered("x".into()) };
            assert_eq!(matches!(Refusal::from(failure), Refusal::Ours { .. }), ours, "{kind}");
        }
        assert!(matches!(Refusal::from(Failure::own("x".into())), Refusal::Ours { .. }));
    }
}
