//! Whether a certificate that came back can be served, and what belongs to it.

use time::OffsetDateTime;

use super::super::config::AlternativeName;
use super::parcel::called;
use crate::pki::bundle;
use crate::pki::inspect::{self, Certificate};
use crate::pki::path::{self, Problem};
use crate::pki::{Usage, path::Finding};

/// What is asked about a certificate. All certificates are DER.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) certificate: &'a [u8],
    /// What came with it.
    pub(super) pool: &'a [Vec<u8>],
    /// Roots that are trusted; none leaves it open who the root is.
    pub(super) anchors: &'a [Vec<u8>],
    /// It is to be an authority's.
    pub(super) is_ca: bool,
    /// What it must be for; of an authority's nothing is asked.
    pub(super) names: &'a [AlternativeName],
    pub(super) now: OffsetDateTime,
}

/// What belongs to a certificate that can be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fit {
    /// Its issuers without the root, nearest first.
    pub(super) intermediates: Vec<Vec<u8>>,
    /// The root that came along.
    pub(super) root: Option<Vec<u8>>,
    /// What is worth knowing.
    pub(super) notes: Vec<String>,
}

/// Builds the chain of a certificate and looks at all of it.
///
/// # Errors
/// In words, everything that is against it.
pub(super) fn fit(question: &Question<'_>) -> Result<Fit, Vec<String>> {
    let Question { certificate, pool, anchors, is_ca, names, now } = *question;
    let says = Certificate::from_der(certificate).map_err(|error| vec![error])?;
    let label = called(&says);
    if says.self_signed {
        return Err(vec![format!(
            "{label} has signed itself: no authority has anything to do with it; send the request to one"
        )]);
    }
    let mut against = Vec::new();
    if !is_ca {
        against.extend(missing_names(&says, names));
    }
    let mut notes = Vec::new();
    let (pool, strangers) = sorted(pool, anchors);
    for root in strangers {
        notes.push(format!("{root} was left out: it is a root, and not the one of --anchor"));
    }
    let chain = bundle::chain(certificate, &pool).map_err(|error| vec![error])?;
    let below_root = chain.intermediates.last().map_or(certificate, Vec::as_slice);
    let trusted = match (&chain.root, chain.intermediates.last()) {
        _ if !anchors.is_empty() => anchors.to_vec(),
        (Some(root), _) => vec![root.clone()],
        (None, Some(last)) => vec![last.clone()],
        (None, None) => Vec::new(),
    };
    if let Some(issuer) = &chain.missing {
        // Nobody sends his root, so what is above an intermediate may be one. Above the certificate itself there
        // is one only in the smallest of authorities, and then somebody has to say so.
        if anchors.is_empty() && !chain.intermediates.is_empty() {
            notes.push(format!(
                "the chain ends at {}; its issuer {issuer} did not come, and is taken for a root that clients \
                 have; `--anchor FILE` would check that",
                Certificate::from_der(below_root).map_or_else(|error| error, |says| called(&says)),
            ));
        } else {
            against.push(missing(below_root, issuer, anchors, &chain.unused));
        }
    }
    let report = path::verify(&path::Question {
        certificate,
        intermediates: &chain.intermediates,
        anchors: &trusted,
        lists: &[],
        now,
        name: None,
        purpose: Some(Usage::Server),
    });
    match (is_ca, path::is_authority(certificate)) {
        (true, false) => against.push(format!("{label} is no authority's, and could sign nothing")),
        (false, true) => against.push(format!("{label} is an authority's, not a server's")),
        _ => {}
    }
    let told = |finding: &&Finding| match finding.problem {
        Problem::MissingIssuer { .. } => false,
        Problem::Purpose(_) => !is_ca,
        _ => true,
    };
    against.extend(report.faults().filter(told).map(|finding| match finding.problem {
        Problem::Expired { at } => {
            format!("{} has expired on {}; it is of no use any more", finding.certificate, at.date())
        }
        Problem::NotYetValid { from } => {
            format!("{} is not valid before {from}; import it then", finding.certificate)
        }
        _ => finding.to_string(),
    }));
    if !against.is_empty() {
        return Err(against);
    }
    notes.extend(
        report
            .remarks()
            .filter(|finding| matches!(finding.problem, Problem::OutlivesIssuer { .. }))
            .map(ToString::to_string),
    );
    let root = chain.root.filter(|root| question.pool.contains(root));
    if let Some(says) = root.as_deref().and_then(|root| Certificate::from_der(root).ok()) {
        notes.push(format!(
            "{} was left out of the chain: it is the root; clients have it, and take it from nobody",
            called(&says)
        ));
    }
    Ok(Fit { intermediates: chain.intermediates, root, notes })
}

/// What the chain is built from: with trusted roots no others; those are returned by name.
fn sorted(pool: &[Vec<u8>], anchors: &[Vec<u8>]) -> (Vec<Vec<u8>>, Vec<String>) {
    let (mut kept, mut strangers) = (anchors.to_vec(), Vec::new());
    for der in pool.iter().filter(|der| !anchors.contains(der)) {
        match Certificate::from_der(der) {
            Ok(says) if says.self_signed && !anchors.is_empty() => strangers.push(called(&says)),
            _ => kept.push(der.clone()),
        }
    }
    (kept, strangers)
}

fn missing_names(says: &Certificate, names: &[AlternativeName]) -> Option<String> {
    let lacking: Vec<String> =
        names.iter().map(ToString::to_string).filter(|name| !says.serves(name)).collect();
    if lacking.is_empty() {
        return None;
    }
    let addresses = says.addresses.iter().map(ToString::to_string);
    let there: Vec<String> = says.dns_names.iter().cloned().chain(addresses).collect();
    let there = if there.is_empty() { "no name".to_owned() } else { there.join(", ") };
    Some(format!(
        "{} is for {there}, but not for {}, which the service's file names; have one made for all, or change the \
         file",
        called(says),
        lacking.join(", ")
    ))
}

/// Which issuer is missing, and where it may be had.
fn missing(below: &[u8], issuer: &str, anchors: &[Vec<u8>], unused: &[String]) -> String {
    let label = Certificate::from_der(below).map_or_else(|error| error, |says| called(&says));
    let mut text = format!("the issuer of {label} is missing: {issuer}");
    if unused.iter().any(|unused| unused == issuer) {
        text.push_str(
            "; one of that name came, but its key did not sign it: it is another one's, or an older one",
        );
    }
    let addresses = inspect::issuer_addresses(below);
    if !addresses.is_empty() {
        text.push_str(&format!("; it is published at {}", addresses.join(", ")));
    }
    text.push_str(match anchors {
        [] => "; import it along with the rest, or, if it is a root, name it by --anchor FILE",
        _ => "; import it along with the rest: without it there is no way to the root of --anchor",
    });
    text
}
