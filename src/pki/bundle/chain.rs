//! The order of what an authority sent back: from the certificate upwards, whatever order it came in.

use crate::pki::path::Node;
use crate::pki::path::search::{End, Way, ways};

/// A certificate's issuers, found in a pool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chain {
    /// The intermediates in DER, the certificate's own issuer first: what a server sends after it.
    pub intermediates: Vec<Vec<u8>>,
    /// The root in DER, where it was in the pool. A certificate that signs itself has no other.
    pub root: Option<Vec<u8>>,
    /// The subject of the next issuer that was not in the pool; nothing when there is a root. Public
    /// authorities do not send their root: clients have it.
    pub missing: Option<String>,
    /// The subjects of what was in the pool and does not belong to it.
    pub unused: Vec<String>,
}

/// Builds the chain of a certificate by names and signatures. Of several ways that with a root is taken,
/// and of those the one that lasts longest.
///
/// # Errors
/// In words, when the certificate cannot be read. What cannot be read in the pool is left out.
pub fn chain(certificate: &[u8], pool: &[Vec<u8>]) -> Result<Chain, String> {
    let leaf = Node::read(certificate)?;
    let nodes = pool.iter().filter_map(|der| Node::read(der).ok()).filter(|node| node.der != leaf.der);
    let (roots, others): (Vec<Node<'_>>, Vec<Node<'_>>) = nodes.partition(Node::is_self_signed);
    let lasts = |way: &Way<'_, '_>| way.nodes.iter().map(|node| node.not_after()).min();
    let found = ways(&leaf, &others, &roots);
    let best = found.iter().max_by_key(|way| (matches!(way.end, End::Trusted), lasts(way), way.nodes.len()));
    let Some(best) = best else { return Ok(Chain::default()) };
    let mut above = best.nodes.iter().skip(1).map(|node| node.der.to_vec()).collect::<Vec<_>>();
    let root = if matches!(best.end, End::Trusted) { above.pop() } else { None };
    let missing = match best.end {
        End::Trusted | End::Root => None,
        End::Missing | End::Unsigned(_) | End::TooLong => best.nodes.last().map(|last| last.issuer_label()),
    };
    let unused =
        others.iter().chain(&roots).filter(|node| !best.nodes.iter().any(|other| other.der == node.der));
    Ok(Chain { intermediates: above, root, missing, unused: unused.map(Node::label).collect() })
}
