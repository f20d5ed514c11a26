//! Every way from a certificate to somebody who is trusted: authorities renew their certificates with the
//! same key and have others certify it, so there may be several.

use super::node::Node;

/// A way upwards.
#[derive(Debug, Clone)]
pub(in crate::pki) struct Way<'n, 'a> {
    /// From the certificate to the last that was found.
    pub(in crate::pki) nodes: Vec<&'n Node<'a>>,
    /// Why it leads no further.
    pub(in crate::pki) end: End<'n, 'a>,
}

/// Where a way ends.
#[derive(Debug, Clone, Copy)]
pub(in crate::pki) enum End<'n, 'a> {
    /// The last is trusted.
    Trusted,
    /// The last is a root, but not a trusted one.
    Root,
    /// The issuer of the last is not there.
    Missing,
    /// There is one of that name, but the signature is not of its key.
    Unsigned(&'n Node<'a>),
    /// There are more than [`MAX_NODES`].
    TooLong,
}

/// The certificates of one way at most; more than eight are not seen in practice.
pub(in crate::pki) const MAX_NODES: usize = 12;
/// Signatures that are looked at, so that nobody can keep us busy with certificates of one name.
const MAX_SIGNATURES: usize = 100;

/// Finds the ways; at least one, however short.
pub(in crate::pki) fn ways<'n, 'a>(
    certificate: &'n Node<'a>,
    intermediates: &'n [Node<'a>],
    anchors: &'n [Node<'a>],
) -> Vec<Way<'n, 'a>> {
    let mut search = Search { intermediates, anchors, signatures: 0, found: Vec::new() };
    search.climb(vec![certificate]);
    search.found
}

struct Search<'n, 'a> {
    intermediates: &'n [Node<'a>],
    anchors: &'n [Node<'a>],
    signatures: usize,
    found: Vec<Way<'n, 'a>>,
}

impl<'n, 'a> Search<'n, 'a> {
    fn climb(&mut self, nodes: Vec<&'n Node<'a>>) {
        let Some(last) = nodes.last().copied() else { return };
        if self.anchors.iter().any(|anchor| anchor.der == last.der) {
            return self.found.push(Way { nodes, end: End::Trusted });
        }
        if nodes.len() == MAX_NODES {
            return self.found.push(Way { nodes, end: End::TooLong });
        }
        let mut unsigned = None;
        let mut climbed = false;
        let (anchors, intermediates) = (self.anchors, self.intermediates);
        for issuer in anchors.iter().chain(intermediates) {
            let seen = nodes.iter().any(|node| node.der == issuer.der);
            if seen || !issuer.is_named_by(last) || self.signatures >= MAX_SIGNATURES {
                continue;
            }
            self.signatures += 1;
            if issuer.signed(last) == Some(false) {
                unsigned.get_or_insert(issuer);
            } else {
                climbed = true;
                self.climb(nodes.iter().copied().chain([issuer]).collect());
            }
        }
        if last.is_self_signed() {
            self.found.push(Way { nodes, end: End::Root });
        } else if !climbed {
            self.found.push(Way { nodes, end: unsigned.map_or(End::Missing, End::Unsigned) });
        }
    }
}
