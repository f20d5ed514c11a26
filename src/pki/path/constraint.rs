//! For which names an authority may sign (RFC 5280 section 4.2.1.10).

use std::mem::discriminant;

use x509_parser::extensions::{GeneralName, GeneralSubtree};

use super::link::written;
use super::node::Node;
use crate::pki::inspect;

/// The names of a certificate for which an authority above may not sign.
pub(super) fn violated(authority: &Node<'_>, below: &Node<'_>) -> Vec<String> {
    let Some(constraints) = authority.name_constraints() else { return Vec::new() };
    let permitted = constraints.permitted_subtrees.as_deref().unwrap_or_default();
    let excluded = constraints.excluded_subtrees.as_deref().unwrap_or_default();
    let names = below.parsed.subject_alternative_name().ok().flatten();
    let names = names.iter().flat_map(|names| &names.value.general_names);
    let mut violated: Vec<String> =
        names.filter(|name| !allowed(name, permitted, excluded)).map(written).collect();
    if !below.subject().is_empty() {
        let subject = GeneralName::DirectoryName(below.parsed.subject().clone());
        if !allowed(&subject, permitted, excluded) {
            violated.push(written(&subject));
        }
    }
    violated
}

/// A kind of name of which nothing is permitted by itself is not limited by what is permitted of others.
/// Of kinds that are not compared here nothing is permitted and everything excluded.
fn allowed(
    name: &GeneralName<'_>,
    permitted: &[GeneralSubtree<'_>],
    excluded: &[GeneralSubtree<'_>],
) -> bool {
    let mut permitted = permitted.iter().filter_map(|subtree| within(name, &subtree.base, false)).peekable();
    let mut excluded = excluded.iter().filter_map(|subtree| within(name, &subtree.base, true));
    let limited = permitted.peek().is_some();
    (!limited || permitted.any(|within| within)) && !excluded.any(|within| within)
}

/// Says whether a name lies in a subtree; nothing when the subtree is about another kind of name.
fn within(name: &GeneralName<'_>, base: &GeneralName<'_>, unclear: bool) -> Option<bool> {
    match (name, base) {
        (GeneralName::DNSName(name), GeneralName::DNSName(base)) => Some(within_domain(name, base)),
        (GeneralName::IPAddress(octets), GeneralName::IPAddress(base)) => Some(within_network(octets, base)),
        (GeneralName::DirectoryName(name), GeneralName::DirectoryName(base)) => {
            Some(inspect::canonical(name).starts_with(&inspect::canonical(base)))
        }
        (GeneralName::RFC822Name(name), GeneralName::RFC822Name(base)) => {
            let host = name.rsplit_once('@').map_or(*name, |(_, host)| host);
            Some(if base.contains('@') { name == base } else { within_mail(host, base) })
        }
        _ => (discriminant(name) == discriminant(base)).then_some(unclear),
    }
}

/// A network is an address and its mask; of the other family it has nothing in it.
fn within_network(octets: &[u8], base: &[u8]) -> bool {
    base.len() == octets.len() * 2
        && base.split_at_checked(octets.len()).is_some_and(|(address, mask)| {
            octets.iter().zip(address).zip(mask).all(|((octet, base), mask)| octet & mask == base & mask)
        })
}

/// Any number of labels may stand before the base; a wildcard stands for one of them.
fn within_domain(name: &str, base: &str) -> bool {
    let (name, base) = (name.to_ascii_lowercase(), base.to_ascii_lowercase());
    let name = name.strip_prefix("*.").map_or(name.clone(), |parent| format!("x.{parent}"));
    match base.strip_prefix('.') {
        Some(_) => name.ends_with(&base),
        None => base.is_empty() || name == base || name.ends_with(&format!(".{base}")),
    }
}

/// Of mail the host itself, or with a dot in front everything below it.
fn within_mail(host: &str, base: &str) -> bool {
    let (host, base) = (host.to_ascii_lowercase(), base.to_ascii_lowercase());
    if base.starts_with('.') { host.ends_with(&base) } else { host == base }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subtrees() {
        let dns = GeneralName::DNSName;
        let four = GeneralName::IPAddress(&[192, 0, 2, 7]);
        let six = GeneralName::IPAddress(&[0; 16]);
        let net = GeneralName::IPAddress(&[192, 0, 2, 0, 255, 255, 255, 0]);
        let other = GeneralName::IPAddress(&[10, 0, 0, 0, 255, 0, 0, 0]);
        let mail = GeneralName::RFC822Name;
        for (case, name, base, expected) in [
            ("the domain itself", dns("example.com"), dns("example.com"), Some(true)),
            ("below it", dns("a.b.Example.com"), dns("eXample.com"), Some(true)),
            ("beside it", dns("badexample.com"), dns("example.com"), Some(false)),
            ("a wildcard", dns("*.example.com"), dns("example.com"), Some(true)),
            ("a wildcard above it", dns("*.com"), dns("example.com"), Some(false)),
            ("with a dot, itself", dns("example.com"), dns(".example.com"), Some(false)),
            ("with a dot, below", dns("a.example.com"), dns(".example.com"), Some(true)),
            ("every domain", dns("a"), dns(""), Some(true)),
            ("in the network", four.clone(), net.clone(), Some(true)),
            ("in another", four.clone(), other, Some(false)),
            ("of the other family", six, net.clone(), Some(false)),
            ("another kind", dns("example.com"), net, None),
            ("a damaged network", four, GeneralName::IPAddress(&[192, 0]), Some(false)),
            (
                "of a kind that is not compared",
                GeneralName::URI("https://a"),
                GeneralName::URI("a"),
                Some(true),
            ),
            ("a mail host", mail("a@example.com"), mail("example.com"), Some(true)),
            ("below a mail host", mail("a@b.example.com"), mail("example.com"), Some(false)),
            ("one mailbox", mail("a@example.com"), mail("b@example.com"), Some(false)),
        ] {
            assert_eq!(within(&name, &base, true), expected, "{case}");
        }
    }
}
