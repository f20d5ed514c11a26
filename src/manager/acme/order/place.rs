//! Brings an order to the authority, or finds one again, and reads what is to be proven for it.

use std::collections::BTreeSet;

use instant_acme::{
    AuthorizationStatus, CertificateIdentifier, ChallengeStatus, ChallengeType, NewOrder, Order, OrderStatus,
};
use rustls::pki_types::Der;

use super::super::chain::lower;
use super::super::failure::Failure;
use super::super::{Granted, Identifier, Proof, Refusal, Step, Wish, jws};
use super::{Desk, finish};
use crate::manager::config::Validation;
use crate::pki::x509::Request;

/// An order that the authority has.
pub(super) struct Open {
    pub(super) wish: Wish,
    pub(super) request: Request,
    pub(super) order: Order,
    /// What has to be seen before the authority may be asked to look.
    pub(super) proofs: Vec<Proof>,
    pub(super) notes: Vec<String>,
}

/// Where an order stands.
pub(super) enum Placed {
    /// There is something left to do.
    Open(Box<Open>),
    /// An earlier run had done everything but bring it home.
    Done(Granted),
}

pub(super) async fn place(desk: &Desk<'_>, wish: &Wish, request: Request) -> Result<Placed, Refusal> {
    if let Some(url) = &wish.resume {
        match desk.account.order(url.clone()).await.map_err(Failure::from) {
            Ok(order) => {
                if let Some(placed) = resume(desk, wish, &request, order).await? {
                    return Ok(placed);
                }
            }
            // The authority may be better tomorrow, and the order is there still.
            Err(failure) if failure.is_passing() || failure.not_before.is_some() => {
                return Err(failure.into());
            }
            Err(failure) => tracing::debug!("{}: the order is gone: {failure}", wish.service),
        }
    }
    let (order, notes) = order(desk, wish).await?;
    (desk.ordered)(&wish.service, order.url());
    desk.tell(wish, Step::Ordered);
    let mut open = Open { wish: wish.clone(), request, order, proofs: Vec::new(), notes };
    match demands(desk, &mut open).await? {
        Demands::Proofs => Ok(Placed::Open(Box::new(open))),
        Demands::Other => Err(Refusal::authority(format!(
            "{}: asks for other names to be proven than were ordered",
            open.order.url()
        ))),
        Demands::Lost(why) => Err(Refusal::authority(why)),
    }
}

/// Goes on with an order of an earlier run; nothing when it is of no use any more.
async fn resume(
    desk: &Desk<'_>,
    wish: &Wish,
    request: &Request,
    mut order: Order,
) -> Result<Option<Placed>, Refusal> {
    let status = order.state().status;
    if status == OrderStatus::Invalid {
        return Ok(None);
    }
    let url = order.url().to_owned();
    let mut open =
        Open { wish: wish.clone(), request: request.clone(), order, proofs: Vec::new(), notes: Vec::new() };
    match status {
        OrderStatus::Pending => match demands(desk, &mut open).await? {
            Demands::Proofs => {}
            Demands::Other | Demands::Lost(_) => return Ok(None),
        },
        OrderStatus::Valid => {
            return match finish::download(desk, &mut open).await {
                Ok(granted) => {
                    desk.tell(wish, Step::Resumed);
                    desk.tell(wish, Step::Granted);
                    Ok(Some(Placed::Done(granted)))
                }
                // It was made for a key or for names of an earlier day.
                Err(Refusal::Ours { .. }) => Ok(None),
                Err(refusal) => Err(refusal),
            };
        }
        _ => {}
    }
    (desk.ordered)(&wish.service, &url);
    desk.tell(wish, Step::Resumed);
    Ok(Some(Placed::Open(Box::new(open))))
}

/// Orders; what the authority does not have is left out with a note.
async fn order(desk: &Desk<'_>, wish: &Wish) -> Result<(Order, Vec<String>), Refusal> {
    let directory = desk.connection.client.directory();
    let identifiers: Vec<_> = wish.identifiers.iter().map(named).collect();
    let mut notes = Vec::new();
    let mut profile = wish.profile.as_deref();
    if let Some(name) = profile.filter(|name| !directory.meta.profiles.contains_key(*name)) {
        notes.push(format!("{} has no profile \"{name}\"; ordered without", desk.connection.directory()));
        profile = None;
    }
    let mut replaces = wish.replaces.as_deref().filter(|_| directory.renewal_info.is_some());
    loop {
        let mut new = NewOrder::new(&identifiers);
        if let Some(profile) = profile {
            new = new.profile(profile);
        }
        let parts = replaces.and_then(|id| id.split_once('.'));
        let parts = parts
            .and_then(|(authority, serial)| Some((jws::decode(authority).ok()?, jws::decode(serial).ok()?)));
        if let Some((authority, serial)) = &parts {
            let id = CertificateIdentifier::new(Der::from_slice(authority), Der::from_slice(serial));
            new = new.replaces(id);
        }
        let failure = match desk.account.new_order(&new).await.map_err(Failure::from) {
            Ok(order) => return Ok((order, notes)),
            Err(failure) => failure,
        };
        if profile.is_some() && failure.is("invalidProfile") {
            notes.push(format!("the profile is refused: {failure}; ordered without"));
            profile = None;
        } else if parts.is_some() && is_about_replacing(&failure) {
            // RFC 9773 section 5: the order itself may be fine.
            notes.push(format!("{failure}; ordered without saying what is replaced"));
            replaces = None;
        } else {
            return Err(failure.into());
        }
    }
}

/// An authority that does not want to hear what is replaced says so in one of these ways; the last is that its
/// answer does not repeat it.
fn is_about_replacing(failure: &Failure) -> bool {
    !failure.is_passing()
        && failure.not_before.is_none()
        && (["alreadyReplaced", "malformed", "unauthorized"].iter().any(|kind| failure.is(kind))
            || failure.kind.is_empty())
}

fn named(identifier: &Identifier) -> instant_acme::Identifier {
    match identifier {
        Identifier::Dns(name) => instant_acme::Identifier::Dns(name.clone()),
        Identifier::Ip(address) => instant_acme::Identifier::Ip(*address),
    }
}

enum Demands {
    /// They are in the order now; none when all is proven already.
    Proofs,
    /// They are not about the names that were ordered.
    Other,
    /// One of them cannot be met any more.
    Lost(String),
}

/// Reads the authorizations.
async fn demands(desk: &Desk<'_>, open: &mut Open) -> Result<Demands, Refusal> {
    let kind = open.wish.kind;
    let mut asked = BTreeSet::new();
    let mut proofs = Vec::new();
    let mut lost = None;
    let mut missing = Vec::new();
    let mut authorizations = open.order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let authorization = authorization.map_err(Failure::from)?;
        let about = authorization.identifier();
        let Some(identifier) = identified(about.identifier, about.wildcard) else {
            return Ok(Demands::Other);
        };
        asked.insert(lower(&identifier));
        match authorization.status {
            AuthorizationStatus::Valid => continue,
            AuthorizationStatus::Pending => {}
            _ => {
                lost = Some(format!("{identifier}: the authorization is no longer open"));
                continue;
            }
        }
        let challenge = authorization.challenges.iter().find(|one| one.r#type == offered(kind));
        let Some(challenge) = challenge else {
            let others: Vec<_> = authorization.challenges.iter().map(|one| called(&one.r#type)).collect();
            missing.push(format!(
                "{identifier}: the authority does not offer {}, only {}; set ca_validation",
                kind.name(),
                others.join(", ")
            ));
            continue;
        };
        if !matches!(challenge.status, ChallengeStatus::Pending | ChallengeStatus::Processing) {
            lost = Some(format!("{identifier}: the challenge is no longer open"));
            continue;
        }
        // RFC 8555 section 8.1; it becomes the name of a file.
        let token = &challenge.token;
        if token.is_empty()
            || !token.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-_".contains(&octet))
        {
            return Err(Refusal::authority(format!(
                "{identifier}: the authority's token is not in base64url"
            )));
        }
        proofs.push(Proof {
            service: open.wish.service.clone(),
            identifier,
            kind,
            token: token.clone(),
            key_authorization: format!("{token}.{}", desk.thumbprint),
        });
    }
    if !missing.is_empty() {
        finish::abandon(&mut open.order).await;
        return Err(Refusal::ours(missing.join("; ")));
    }
    let wanted: BTreeSet<Identifier> = open.wish.identifiers.iter().map(lower).collect();
    if asked != wanted {
        return Ok(Demands::Other);
    }
    open.proofs = proofs;
    Ok(lost.map_or(Demands::Proofs, Demands::Lost))
}

/// RFC 8555 section 7.1.4: the star is not in the name. Some authorities write it all the same.
pub(super) fn identified(identifier: &instant_acme::Identifier, wildcard: bool) -> Option<Identifier> {
    match identifier {
        instant_acme::Identifier::Dns(name) if wildcard && !name.starts_with("*.") => {
            Some(Identifier::Dns(format!("*.{name}")))
        }
        instant_acme::Identifier::Dns(name) => Some(Identifier::Dns(name.clone())),
        instant_acme::Identifier::Ip(address) => Some(Identifier::Ip(*address)),
        _ => None,
    }
}

pub(super) fn offered(kind: Validation) -> ChallengeType {
    match kind {
        Validation::Http => ChallengeType::Http01,
        Validation::Dns => ChallengeType::Dns01,
        Validation::Alpn => ChallengeType::TlsAlpn01,
    }
}

/// As RFC 8555 calls it; what is not known there is called what the authority does.
pub(super) fn called(kind: &ChallengeType) -> String {
    match kind {
        ChallengeType::Http01 => "http-01".to_owned(),
        ChallengeType::Dns01 => "dns-01".to_owned(),
        ChallengeType::TlsAlpn01 => "tls-alpn-01".to_owned(),
        ChallengeType::Unknown(name) => name.chars().filter(|letter| !letter.is_control()).take(40).collect(),
        _ => "others".to_owned(),
    }
}
