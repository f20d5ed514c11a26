//! Takes an order from its proofs to its certificate: validated, finalized, downloaded, checked.

use std::time::{Duration, Instant};

use instant_acme::{AuthorizationStatus, ChallengeStatus, Order, OrderStatus};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedReceiver;

use super::super::chain::Chain;
use super::super::failure::{Failure, said};
use super::super::{Granted, Refusal, Step};
use super::Desk;
use super::place::{Open, called, identified, offered};
use crate::system::clock;

/// Waits until all of an order's proofs are seen, and goes on with it in its turn.
pub(super) async fn finish(
    desk: &Desk<'_>,
    mut open: Open,
    seen: UnboundedReceiver<(usize, Result<(), String>)>,
    turn: &Semaphore,
) -> Result<Granted, Refusal> {
    if let Err(unseen) = all_seen(&open, seen).await {
        // The order stays as it is: a later run goes on with it, and with the same proofs, which may be seen by then.
        return Err(Refusal::ours(format!("not sent to validation: {unseen}")));
    }
    let _turn = turn.acquire().await;
    if open.order.state().status == OrderStatus::Pending {
        validate(desk, &mut open).await?;
    }
    if matches!(open.order.state().status, OrderStatus::Ready | OrderStatus::Processing) {
        desk.tell(&open.wish, Step::Finalizing);
    }
    if open.order.state().status == OrderStatus::Ready {
        finalize(&mut open).await?;
    }
    if open.order.state().status == OrderStatus::Processing {
        poll(desk, &mut open, OrderStatus::Processing).await?;
    }
    match open.order.state().status {
        OrderStatus::Valid => {
            let granted = download(desk, &mut open).await?;
            desk.tell(&open.wish, Step::Granted);
            Ok(granted)
        }
        _ => Err(lost(&mut open).await),
    }
}

/// In words, what cannot be seen.
async fn all_seen(
    open: &Open,
    mut seen: UnboundedReceiver<(usize, Result<(), String>)>,
) -> Result<(), String> {
    let mut results: Vec<Option<Result<(), String>>> = vec![None; open.proofs.len()];
    while results.iter().any(Option::is_none) {
        let Some((index, result)) = seen.recv().await else { break };
        if let Some(slot) = results.get_mut(index) {
            *slot = Some(result);
        }
    }
    let unseen: Vec<String> = open
        .proofs
        .iter()
        .zip(results)
        .filter_map(|(proof, result)| {
            let why = match result {
                Some(Ok(())) => return None,
                Some(Err(why)) => why,
                None => "nobody has seen whether it is there".to_owned(),
            };
            Some(format!("{}, {}: {why}", proof.identifier, proof.kind.name()))
        })
        .collect();
    if unseen.is_empty() { Ok(()) } else { Err(unseen.join("; ")) }
}

/// Asks the authority to look, at everything at once, and waits until it has.
async fn validate(desk: &Desk<'_>, open: &mut Open) -> Result<(), Refusal> {
    desk.tell(&open.wish, Step::Validating);
    let kind = offered(open.wish.kind);
    let mut authorizations = open.order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.map_err(Failure::from)?;
        if authorization.status != AuthorizationStatus::Pending {
            continue;
        }
        let Some(mut challenge) = authorization.challenge(kind.clone()) else { continue };
        if challenge.status != ChallengeStatus::Pending {
            continue;
        }
        match challenge.set_ready().await.map_err(Failure::from) {
            Ok(()) => {}
            Err(failure) if failure.is_passing() || failure.not_before.is_some() => {
                return Err(failure.into());
            }
            // It has looked already, or refuses to: what became of it stands in the order.
            Err(failure) => tracing::debug!("{}: {failure}", open.wish.service),
        }
    }
    poll(desk, open, OrderStatus::Pending).await
}

/// Sends the request.
async fn finalize(open: &mut Open) -> Result<(), Refusal> {
    let csr = open.wish.csr.clone();
    match open.order.finalize_csr(&csr).await {
        Ok(()) => Ok(()),
        Err(instant_acme::Error::Json(_)) => Err(unknown(open)),
        Err(error) => {
            let failure = Failure::from(error);
            // RFC 8555 section 7.4: an answer that was lost on the way had been a yes.
            if failure.is("orderNotReady") || failure.is("malformed") {
                refresh(open).await?;
                if matches!(open.order.state().status, OrderStatus::Processing | OrderStatus::Valid) {
                    return Ok(());
                }
            }
            Err(failure.into())
        }
    }
}

/// Looks again and again until the order is no longer in this state: soon at first, then less often, and as the
/// authority wants it where it says so.
async fn poll(desk: &Desk<'_>, open: &mut Open, status: OrderStatus) -> Result<(), Refusal> {
    let client = &desk.connection.client;
    let url = open.order.url().to_owned();
    let deadline = Instant::now() + desk.connection.settings.patience;
    let mut pause = FIRST;
    let mut wish = match status {
        OrderStatus::Processing => client.wait_for(&open.order.state().finalize),
        _ => None,
    };
    loop {
        let wait = wish.unwrap_or(pause);
        if Instant::now() + wait > deadline {
            let not_before = wish.and_then(|wish| clock::now().checked_add(wish.try_into().ok()?));
            return Err(Refusal::Authority {
                error: format!("{url}: the authority is not done yet; the order stays, and is gone on with"),
                not_before,
            });
        }
        tokio::time::sleep(wait).await;
        pause = pause.mul_f32(BACK_OFF).min(LONGEST);
        refresh(open).await?;
        if open.order.state().status != status {
            return Ok(());
        }
        wish = client.wait_for(&url);
    }
}

async fn refresh(open: &mut Open) -> Result<(), Refusal> {
    match open.order.refresh().await {
        Ok(_) => Ok(()),
        Err(instant_acme::Error::Json(_)) => Err(unknown(open)),
        Err(error) => Err(Failure::from(error).into()),
    }
}

/// Pebble calls an order `deactivated` when an authorization of it is, which RFC 8555 does not know.
fn unknown(open: &Open) -> Refusal {
    Refusal::authority(format!(
        "{}: the order is in no state that RFC 8555 knows; it is lost",
        open.order.url()
    ))
}

/// Brings the chain home, the preferred one if there is one, and checks it.
pub(super) async fn download(desk: &Desk<'_>, open: &mut Open) -> Result<Granted, Refusal> {
    let client = &desk.connection.client;
    let Some(url) = open.order.state().certificate.clone() else {
        return Err(Refusal::authority(format!(
            "{}: the order is valid and has no certificate",
            open.order.url()
        )));
    };
    let answer = client.post(&url, None).await?;
    let read =
        |body: &[u8]| Chain::parse(body).map_err(|error| Refusal::authority(format!("{url}: {error}")));
    let mut chain = read(&answer.body)?;
    let mut notes = open.notes.clone();
    if let Some(name) = open.wish.preferred_chain.as_deref().filter(|name| !chain.leads_to(name)) {
        let mut found = None;
        for other in answer.alternates() {
            let other = client.post(&other, None).await.map_err(Refusal::from);
            match other.and_then(|answer| read(&answer.body)) {
                Ok(other) if other.leads_to(name) => {
                    found = Some(other);
                    break;
                }
                Ok(_) => {}
                Err(error) => notes.push(format!("one of the chains is left out: {error}")),
            }
        }
        match found {
            Some(other) => chain = other,
            None => notes.push(format!(
                "no chain leads to \"{name}\"; the one that leads to {} is taken",
                chain.top()
            )),
        }
    }
    chain
        .fits(&open.request, &open.wish.identifiers)
        .map_err(|error| Refusal::ours(format!("{url}: {error}")))?;
    let note = (!notes.is_empty()).then(|| notes.join("; "));
    let authorizations = open.order.state().authorizations.iter().map(|one| one.url.clone()).collect();
    Ok(Granted { chain: chain.to_pem(), note, authorizations })
}

/// Gives up what an order still asks to be proven, so that it does not count at the authority.
pub(super) async fn abandon(order: &mut Order) {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let Ok(mut authorization) = authorization else { continue };
        if authorization.status != AuthorizationStatus::Pending {
            continue;
        }
        if let Err(error) = authorization.deactivate().await.map_err(Failure::from) {
            tracing::debug!("an authorization stays open until it expires: {error}");
        }
    }
}

/// Why an order has become invalid: which name, by which challenge, in the authority's words.
async fn lost(open: &mut Open) -> Refusal {
    let mut words = Vec::new();
    let mut kinds = Vec::new();
    let mut secrets: Vec<String> = Vec::new();
    if let Some(problem) = &open.order.state().error {
        kinds.push(Failure::from(instant_acme::Error::Api(problem.clone())).kind);
        words.push(said(problem));
    }
    let mut authorizations = open.order.authorizations();
    while let Some(Ok(authorization)) = authorizations.next().await {
        let about = authorization.identifier();
        let name =
            identified(about.identifier, about.wildcard).map(|one| one.to_string()).unwrap_or_default();
        for challenge in &authorization.challenges {
            secrets.push(challenge.token.clone());
            if let Some(problem) = &challenge.error {
                kinds.push(Failure::from(instant_acme::Error::Api(problem.clone())).kind);
                words.push(format!("{name}, {}: {}", called(&challenge.r#type), said(problem)));
            }
        }
    }
    if words.is_empty() {
        words.push(format!("{}: the order is invalid, and the authority does not say why", open.order.url()));
    }
    let error = hidden(words.join("; "), &secrets);
    let is_authoritys = kinds.iter().all(|kind| THEIRS.contains(&kind.as_str()));
    if is_authoritys { Refusal::authority(error) } else { Refusal::ours(error) }
}

/// An authority repeats what it has asked for: tokens, and what belongs to them.
fn hidden(text: String, secrets: &[String]) -> String {
    secrets.iter().filter(|secret| !secret.is_empty()).fold(text, |text, secret| {
        let mut rest = text.as_str();
        let mut shown = String::new();
        while let Some((before, after)) = rest.split_once(secret.as_str()) {
            shown.push_str(before);
            shown.push('…');
            // A key authorization: the thumbprint follows after a dot.
            let print = after.strip_prefix('.').map_or(0, |print| {
                let length =
                    print.bytes().take_while(|octet| octet.is_ascii_alphanumeric() || b"-_".contains(octet));
                match length.count() {
                    43 => 44,
                    _ => 0,
                }
            });
            rest = after.get(print..).unwrap_or_default();
        }
        shown.push_str(rest);
        shown
    })
}

/// Kinds of problems that are the authority's own: another one may see it otherwise.
const THEIRS: [&str; 4] = ["", "caa", "rateLimited", "serverInternal"];
/// Before the first look: most authorities have looked by then when they are near.
const FIRST: Duration = Duration::from_millis(20);
const BACK_OFF: f32 = 1.5;
const LONGEST: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_not_repeated() {
        let print = "A".repeat(43);
        for (case, text, expected) in [
            ("none", "no such host".to_owned(), "no such host"),
            (
                "in a URL",
                "http://a/.well-known/acme-challenge/t0ken: 404".into(),
                "http://a/.well-known/acme-challenge/…: 404",
            ),
            ("with the thumbprint", format!("got \"t0ken.{print}\" and t0ken."), "got \"…\" and …."),
        ] {
            assert_eq!(hidden(text, &["t0ken".to_owned(), String::new()]), expected, "{case}");
        }
    }
}
