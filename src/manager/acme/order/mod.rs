//! Orders: many at once, each from where it stands to its certificate (RFC 8555 section 7.4).
//!
//! ```text
//!  place                        prove                     finish
//!  ordered, or an earlier run's all proofs of all orders  each as soon as its own are seen:
//!  found again; what is asked   at once, so that a zone   validated, finalized, downloaded,
//!  to be proven                 is changed once           checked
//! ```
//!
//! As many are placed and finished at the same time as the site allows. An order that only waits for its proofs to
//! be seen does not count: else fifty orders would wait for name servers five times.

mod finish;
mod place;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt as _};
use instant_acme::Account;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::sync::{Semaphore, mpsc};

use super::account::Connection;
use super::chain::asks_for;
use super::failure::Failure;
use super::{Granted, Identifier, Progress, Proof, Prover, Refusal, Step, Wish, jws};
use crate::manager::config::Validation;
use crate::manager::name::ServiceName;
use crate::pki::x509::{Request, read_request};

/// What all orders of a run have in common.
pub(super) struct Desk<'a> {
    connection: &'a Connection,
    account: Account,
    thumbprint: String,
    ordered: &'a (dyn Fn(&ServiceName, &str) + Sync),
    progress: &'a (dyn Fn(Progress) + Sync),
}

impl Desk<'_> {
    fn tell(&self, wish: &Wish, step: Step) {
        (self.progress)(Progress { service: wish.service.clone(), step });
    }
}

/// Orders certificates and brings home what is granted; one that fails holds up no other.
///
/// `ordered` is called with the URL of an order before anything else is sent about it. A refusal of the authority
/// and one of ours leave the order as it stands, for [`Wish::resume`]; of no use any more, it is replaced then.
pub fn issue(
    connection: &Connection,
    wishes: &[Wish],
    prover: &dyn Prover,
    ordered: &(dyn Fn(&ServiceName, &str) + Sync),
    progress: &(dyn Fn(Progress) + Sync),
) -> BTreeMap<ServiceName, Result<Granted, Refusal>> {
    let all = |refusal: &Refusal| {
        wishes.iter().map(|wish| (wish.service.clone(), Err(refusal.clone()))).collect::<BTreeMap<_, _>>()
    };
    let desk = match connection.runtime.block_on(desk(connection, ordered, progress)) {
        Ok(desk) => desk,
        Err(refusal) => return all(&refusal),
    };
    let most = connection.settings.parallel_orders.max(1);
    let placing = wishes.iter().map(|wish| place_one(&desk, wish));
    let placed: Vec<_> = connection.runtime.block_on(stream::iter(placing).buffered(most).collect());

    let mut results = BTreeMap::new();
    let mut orders = Vec::new();
    for (wish, placed) in wishes.iter().zip(placed) {
        match placed {
            Ok(place::Placed::Done(granted)) => {
                results.insert(wish.service.clone(), Ok(granted));
            }
            Ok(place::Placed::Open(order)) => orders.push(*order),
            Err(refusal) => {
                results.insert(wish.service.clone(), Err(refusal));
            }
        }
    }
    results.extend(prove_and_finish(&desk, orders, prover, most));
    results
}

async fn place_one(desk: &Desk<'_>, wish: &Wish) -> Result<place::Placed, Refusal> {
    let request = ready(wish).map_err(|error| Refusal::ours(format!("{}: {error}", wish.service)))?;
    place::place(desk, wish, request).await
}

fn prove_and_finish(
    desk: &Desk<'_>,
    orders: Vec<place::Open>,
    prover: &dyn Prover,
    most: usize,
) -> Vec<(ServiceName, Result<Granted, Refusal>)> {
    let proofs: Vec<Proof> = orders.iter().flat_map(|order| order.proofs.iter().cloned()).collect();
    let mut senders = Vec::with_capacity(proofs.len());
    let mut waiting = Vec::with_capacity(orders.len());
    for order in orders {
        let (sender, receiver) = mpsc::unbounded_channel();
        if !order.proofs.is_empty() {
            desk.tell(&order.wish, Step::Proving);
        }
        senders.extend((0..order.proofs.len()).map(|index| (sender.clone(), index)));
        waiting.push((order, receiver));
    }
    let turn = Arc::new(Semaphore::new(most));
    let finishing = waiting.into_iter().map(|(order, seen)| {
        let turn = Arc::clone(&turn);
        async move { (order.wish.service.clone(), finish::finish(desk, order, seen, &turn).await) }
    });
    let proofs = proofs.as_slice();
    let results = thread::scope(|scope| {
        if !proofs.is_empty() {
            scope.spawn(move || {
                prover.prove(proofs, &|index, result| {
                    if let Some((sender, own)) = senders.get(index) {
                        // Nobody listens any more when the order was given up.
                        let _ = sender.send((*own, result));
                    }
                });
                // What was never heard of is not seen: that is what the end of the senders says.
                drop(senders);
            });
        }
        desk.connection.runtime.block_on(join_all(finishing))
    });
    for left in if proofs.is_empty() { Vec::new() } else { prover.withdraw(proofs) } {
        tracing::warn!("{left}; it does no harm, and can be taken away by hand");
    }
    results
}

async fn desk<'a>(
    connection: &'a Connection,
    ordered: &'a (dyn Fn(&ServiceName, &str) + Sync),
    progress: &'a (dyn Fn(Progress) + Sync),
) -> Result<Desk<'a>, Refusal> {
    // What the library signs is signed again by the client, with the account's key, of whatever kind that is.
    let (_, throwaway) = instant_acme::Key::generate_pkcs8().map_err(Failure::from)?;
    let http = Box::new(connection.client.clone());
    let key = PrivatePkcs8KeyDer::from(throwaway.secret_pkcs8_der());
    let (url, directory) = (connection.account().to_owned(), connection.directory().to_owned());
    let account = Account::builder_with_http(http).from_parts(url, key, directory).await;
    Ok(Desk {
        connection,
        account: account.map_err(Failure::from)?,
        thumbprint: jws::thumbprint(&connection.key).map_err(Refusal::ours)?,
        ordered,
        progress,
    })
}

/// What can be known before anything is sent.
fn ready(wish: &Wish) -> Result<Request, String> {
    if wish.identifiers.is_empty() {
        return Err("there is no name to order a certificate for".to_owned());
    }
    for identifier in &wish.identifiers {
        match (identifier, wish.kind) {
            (one, Validation::Http | Validation::Alpn) if one.is_wildcard() => {
                let kind = wish.kind.name();
                return Err(format!("{one} cannot be proven by {kind}, only by dns-01; set ca_validation"));
            }
            (Identifier::Ip(address), Validation::Dns) => {
                return Err(format!(
                    "{address} cannot be proven by dns-01, only by http-01 or tls-alpn-01; set ca_validation"
                ));
            }
            _ => {}
        }
    }
    let request = read_request(&wish.csr).map_err(|error| format!("the request: {error}"))?;
    asks_for(&request, &wish.identifiers)?;
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::key::PrivateKey;
    use crate::pki::x509::{AlternativeName, Name, request};
    use crate::pki::{Algorithm, Digest};

    #[test]
    fn what_cannot_be_is_said_before_anything_is_sent() {
        let key = PrivateKey::generate(Algorithm::P256).unwrap();
        let wish = |names: &[&str], kind| {
            let parse = |name: &&str| match name.parse() {
                Ok(address) => Identifier::Ip(address),
                Err(_) => Identifier::Dns((*name).to_owned()),
            };
            let identifiers: Vec<_> = names.iter().map(parse).collect();
            let alternative = |identifier: &Identifier| match identifier {
                Identifier::Dns(name) => AlternativeName::Dns(name.clone()),
                Identifier::Ip(address) => AlternativeName::Address(*address),
            };
            let asked: Vec<_> = identifiers.iter().map(alternative).collect();
            Wish {
                service: ServiceName::new("a.example", "web").unwrap(),
                csr: request(&Name::default(), &asked, &key, Digest::Sha256).unwrap(),
                identifiers,
                kind,
                profile: None,
                preferred_chain: None,
                replaces: None,
                resume: None,
            }
        };
        use Validation::{Alpn, Dns, Http};
        for (case, names, kind, expected) in [
            ("a name", &["a.example"][..], Http, None),
            ("a wildcard by DNS", &["a.example", "*.a.example"], Dns, None),
            ("a wildcard by HTTP", &["*.a.example"], Http, Some("cannot be proven by http-01")),
            ("a wildcard by TLS", &["*.a.example"], Alpn, Some("cannot be proven by tls-alpn-01")),
            ("an address by HTTP", &["192.0.2.1"], Http, None),
            ("an address by TLS", &["2001:db8::1"], Alpn, None),
            (
                "an address by DNS",
                &["a.example", "192.0.2.1"],
                Dns,
                Some("192.0.2.1 cannot be proven by dns-01"),
            ),
            ("nothing", &[], Http, Some("no name")),
        ] {
            let error = ready(&wish(names, kind)).err();
            assert_eq!(error.is_some(), expected.is_some(), "{case}: {error:?}");
            assert!(error.unwrap_or_default().contains(expected.unwrap_or_default()), "{case}");
        }
        let other = Wish { csr: wish(&["b.example"], Http).csr, ..wish(&["a.example"], Http) };
        assert!(ready(&other).unwrap_err().contains("does not ask for a.example"));
        let junk = Wish { csr: b"junk".to_vec(), ..wish(&["a.example"], Http) };
        assert!(ready(&junk).unwrap_err().starts_with("the request: "));
    }
}
