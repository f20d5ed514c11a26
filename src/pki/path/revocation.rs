//! Whether an issuer has revoked what it signed (RFC 5280 section 6.3), by the lists at hand.

use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use super::node::Node;
use super::{Problem, Question};
use crate::pki::inspect;
use crate::pki::serial::Serial;
use crate::pki::x509::crl::{self, Reason};

/// Reports what the lists of this issuer say about one certificate of it.
pub(super) fn check(
    node: &Node<'_>,
    issuer: &Node<'_>,
    question: &Question<'_>,
    mut report: impl FnMut(Problem),
) {
    // The same number in two ways of writing is one number.
    let Some(serial) = Serial::from_octets(node.parsed.raw_serial()) else { return };
    let mut due = None;
    for der in question.lists {
        let Ok((_, parsed)) = CertificateRevocationList::from_der(der) else { continue };
        if inspect::canonical(parsed.issuer()) != issuer.subject() {
            continue;
        }
        if crl::is_signed_by(der, issuer.parsed.public_key().raw) == Some(false) {
            report(Problem::UnsignedList);
            continue;
        }
        let Ok(list) = crl::read(der) else { continue };
        let found = list.revoked.iter().find(|revoked| revoked.serial == serial);
        if let Some(revoked) = found.filter(|revoked| revoked.reason != Reason::RemoveFromCrl) {
            return report(Problem::Revoked { at: revoked.at, reason: revoked.reason });
        }
        due = due.max(list.next_update);
    }
    if let Some(since) = due.filter(|since| *since < question.now) {
        report(Problem::StaleList { since });
    }
}
