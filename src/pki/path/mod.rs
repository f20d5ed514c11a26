//! Whether a certificate is good, and if not, link by link what is wrong (RFC 5280 section 6).
//!
//! Libraries for clients stop at the first fault with a word or two, and refuse certificates of
//! authorities altogether. People who have to put a chain right need to know which certificate, and what
//! to do.
//!
//! ```text
//!  node      a certificate that is read, and whether one issued another
//!  search    every way from the certificate to somebody who is trusted
//!  link      what is wrong with each step of one way
//!  constraint  revocation     the two larger questions of it
//!  problem   what can be wrong, in words
//! ```

mod constraint;
mod link;
mod node;
mod problem;
mod revocation;
pub(super) mod search;
#[cfg(test)]
mod tests;

use serde::Serialize;
use time::OffsetDateTime;

use super::Usage;

pub(super) use node::Node;
pub use problem::Problem;

/// What is asked about a certificate. All certificates and lists are DER.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The certificate; may be that of an authority.
    pub certificate: &'a [u8],
    /// What stands in the file after it, in its order.
    pub intermediates: &'a [Vec<u8>],
    /// Who is trusted.
    pub anchors: &'a [Vec<u8>],
    /// Lists of revoked certificates; without one nothing counts as revoked.
    pub lists: &'a [Vec<u8>],
    /// The present time.
    pub now: OffsetDateTime,
    /// A host name or an address that it must be for.
    pub name: Option<&'a str>,
    /// What it must be good for.
    pub purpose: Option<Usage>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The subjects from the certificate to who is trusted, or as far as the way leads.
    pub path: Vec<String>,
    /// What is wrong, and what is merely odd, from the certificate upwards.
    pub findings: Vec<Finding>,
}

/// One thing about one certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The certificate's subject, in one line.
    pub certificate: String,
    /// What it is.
    pub problem: Problem,
}

impl Report {
    /// Says whether a client takes the certificate.
    pub fn is_good(&self) -> bool {
        self.faults().next().is_none()
    }

    /// What makes clients refuse it.
    pub fn faults(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| !finding.problem.is_remark())
    }

    /// What is odd, but stops nobody.
    pub fn remarks(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.problem.is_remark())
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.certificate, self.problem)
    }
}

/// Looks for a way from the certificate to somebody who is trusted. Where there are several, it reports
/// on the one with the fewest faults.
pub fn verify(question: &Question<'_>) -> Report {
    let certificate = match Node::read(question.certificate) {
        Ok(node) => node,
        Err(why) => {
            let problem = Problem::Unreadable(why);
            let findings = vec![Finding { certificate: "the certificate".into(), problem }];
            return Report { path: Vec::new(), findings };
        }
    };
    let mut unreadable = Vec::new();
    let intermediates = readable(question.intermediates, "intermediate", &mut unreadable);
    let anchors = readable(question.anchors, "trusted certificate", &mut unreadable);
    let ways = search::ways(&certificate, &intermediates, &anchors);
    let judged = ways.into_iter().map(|way| {
        let findings = link::judge(&way, &intermediates, question);
        Report { path: way.nodes.iter().map(|node| node.label()).collect(), findings }
    });
    let best = judged.min_by_key(|report| (report.faults().count(), report.path.len()));
    let Report { path, findings } = best.unwrap_or(Report { path: Vec::new(), findings: Vec::new() });
    Report { path, findings: findings.into_iter().chain(unreadable).collect() }
}

/// Says whether a certificate is an authority's; not so for what cannot be read.
pub fn is_authority(certificate: &[u8]) -> bool {
    Node::read(certificate).is_ok_and(|node| node.is_ca())
}

fn readable<'a>(ders: &'a [Vec<u8>], what: &str, unreadable: &mut Vec<Finding>) -> Vec<Node<'a>> {
    let mut nodes = Vec::new();
    for (number, der) in (1..).zip(ders) {
        match Node::read(der) {
            Ok(node) => nodes.push(node),
            Err(why) => unreadable
                .push(Finding { certificate: format!("{what} {number}"), problem: Problem::Unreadable(why) }),
        }
    }
    nodes
}
