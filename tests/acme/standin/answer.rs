//! How the stand-in answers each request.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::super::anchor::{alternative, pem};
use super::http::{Request, Response};
use super::jws::{Signed, thumbprint};
use super::{Account, Authorization, Certificate, Operation, Order, Shared, State};
use reseed::pki::x509::read_request;

/// Status, type and detail of a problem.
type Wrong = (u16, &'static str, String);

impl Shared {
    pub(super) fn answer(&self, request: &Request) -> Option<Response> {
        let words: Vec<&str> = request.path.trim_matches('/').split('/').collect();
        let operation = operation(&words);
        let (delay, fault, about) = {
            let mut state = self.state();
            if let Some(operation) = operation {
                state.requests.push((std::time::Instant::now(), operation));
            }
            let found = state.faults.iter().position(|(meant, _)| Some(*meant) == operation);
            let fault = found.map(|index| state.faults.remove(index).1);
            let about = match operation {
                // No order has such a number; each is one by itself.
                Some(Operation::NewOrder) => Some(usize::MAX - state.requests.len()),
                _ => words.get(1).and_then(|word| word.parse().ok()).filter(|_| words[0] != "accounts"),
            };
            state.begins(about);
            (state.delay, fault, about)
        };
        std::thread::sleep(delay);
        let mut state = self.state();
        state.ends(about);
        let response = match (fault, operation) {
            (Some(fault), _) => fault.response()?,
            (None, None) => problem(404, "malformed", &format!("there is no {}", request.path), json!({})),
            (None, Some(operation)) => match self.handle(&mut state, operation, &words, request) {
                Ok(response) => response,
                Err((status, kind, detail)) => {
                    // What an authority decides is no breach; what it cannot read is.
                    if kind == "malformed" || kind == "badNonce" {
                        state.breaches.push(format!("{operation:?}: {detail}"));
                    }
                    problem(status, kind, &detail, json!({}))
                }
            },
        };
        let nonce = state.nonce();
        Some(
            response.with("Replay-Nonce", nonce).with("Link", format!("<{}>;rel=\"index\"", self.url("dir"))),
        )
    }

    fn handle(
        &self,
        state: &mut State,
        operation: Operation,
        words: &[&str],
        request: &Request,
    ) -> Result<Response, Wrong> {
        if !request.headers.contains_key("user-agent") {
            state.breaches.push(format!("{operation:?}: no User-Agent (RFC 8555 section 6.1)"));
        }
        let get = ["GET", "HEAD"].contains(&request.method.as_str());
        match operation {
            Operation::Directory if get => return Ok(self.directory(state)),
            Operation::NewNonce if get => {
                return Ok(Response::new(204, "text/plain", "").with("Cache-Control", "no-store"));
            }
            Operation::RenewalInfo if get => {
                return renewal_info(state, words.get(1).copied().unwrap_or_default());
            }
            _ => {}
        }
        let signed = self.signed(state, request)?;
        let payload = signed.payload.clone().unwrap_or(Value::Null);
        if matches!(operation, Operation::NewAccount) {
            return self.new_account(state, &signed, &payload);
        }
        if operation == Operation::Revoke {
            return self.revoke(state, &signed, &payload);
        }
        let account = self.account(state, &signed)?;
        let index = |at: usize| words.get(at).and_then(|word| word.parse::<usize>().ok());
        let missing = || (404, "malformed", "there is no such resource".to_owned());
        match operation {
            Operation::Account => {
                if let Some(contact) = payload.get("contact") {
                    state.accounts[account].contact = contact.clone();
                }
                if payload["status"] == "deactivated" {
                    state.accounts[account].status = "deactivated";
                }
                Ok(Response::json(200, &account_document(&state.accounts[account])))
            }
            Operation::NewOrder => self.new_order(state, account, &payload),
            Operation::KeyChange => self.key_change(state, account, &signed),
            _ => {
                let order = index(1).filter(|order| *order < state.orders.len()).ok_or_else(missing)?;
                if state.orders[order].account != account {
                    return Err((403, "unauthorized", "that is another account's".to_owned()));
                }
                match operation {
                    Operation::Order => Ok(self.order(state, order)),
                    Operation::Finalize => self.finalize(state, order, &payload),
                    Operation::Certificate => Ok(self.certificate(state, order, index(2))),
                    _ => {
                        let one = index(2).filter(|one| *one < state.orders[order].authorizations.len());
                        let one = one.ok_or_else(missing)?;
                        match operation {
                            Operation::Challenge => self.challenge(
                                state,
                                order,
                                one,
                                words.get(3).copied().unwrap_or_default(),
                                &signed,
                            ),
                            _ => Ok(Response::json(
                                200,
                                &self.authorization_document(
                                    order,
                                    one,
                                    &state.orders[order].authorizations[one],
                                ),
                            )),
                        }
                    }
                }
            }
        }
    }

    fn directory(&self, state: &State) -> Response {
        let profiles: serde_json::Map<String, Value> = state
            .profiles
            .iter()
            .map(|(name, days)| ((*name).to_owned(), json!(format!("{days} days"))))
            .collect();
        Response::json(
            200,
            &json!({
                "newNonce": self.url("nonce"), "newAccount": self.url("accounts"), "newOrder": self.url("orders"),
                "revokeCert": self.url("revoke"), "keyChange": self.url("key"), "renewalInfo": self.url("renewal"),
                "meta": { "profiles": profiles, "termsOfService": self.url("terms") },
            }),
        )
    }

    /// RFC 8555 section 6: what every signed request has.
    fn signed(&self, state: &mut State, request: &Request) -> Result<Signed, Wrong> {
        let malformed = |detail: String| (400, "malformed", detail);
        if request.method != "POST" {
            return Err((405, "malformed", format!("{} is not POST", request.method)));
        }
        if request.headers.get("content-type").is_none_or(|kind| kind != "application/jose+json") {
            return Err((415, "malformed", "not application/jose+json".to_owned()));
        }
        let body = serde_json::from_slice(&request.body).map_err(|error| malformed(error.to_string()))?;
        let signed = Signed::read(&body).map_err(malformed)?;
        let url = self.url(request.path.trim_start_matches('/'));
        if signed.header["url"] != url.as_str() {
            return Err(malformed(format!("url is {}, and not {url}", signed.header["url"])));
        }
        if signed.header.get("jwk").is_some() == signed.header.get("kid").is_some() {
            return Err(malformed("jwk or kid, one of the two".to_owned()));
        }
        let nonce = signed.header["nonce"].as_str().unwrap_or_default();
        if !state.nonces.remove(nonce) {
            return Err((400, "badNonce", format!("{nonce:?} was not given out, or is used")));
        }
        Ok(signed)
    }

    fn account(&self, state: &State, signed: &Signed) -> Result<usize, Wrong> {
        let kid = signed.header["kid"].as_str().unwrap_or_default();
        let index = kid.strip_prefix(&self.url("accounts/")).and_then(|index| index.parse::<usize>().ok());
        let index = index.filter(|index| *index < state.accounts.len());
        let index = index.ok_or_else(|| (400, "accountDoesNotExist", format!("there is no {kid:?}")))?;
        if state.accounts[index].status != "valid" {
            return Err((401, "unauthorized", "the account is deactivated".to_owned()));
        }
        signed.is_by(&state.accounts[index].key).map_err(|error| (400, "malformed", error))?;
        Ok(index)
    }

    fn new_account(&self, state: &mut State, signed: &Signed, payload: &Value) -> Result<Response, Wrong> {
        let key = signed.header["jwk"].clone();
        signed.is_by(&key).map_err(|error| (400, "malformed", error))?;
        let known = state.accounts.iter().position(|account| thumbprint(&account.key) == thumbprint(&key));
        let (status, index) = match known {
            Some(index) => (200, index),
            None if payload["onlyReturnExisting"] == true => {
                return Err((400, "accountDoesNotExist", "there is no account with that key".to_owned()));
            }
            None if payload["termsOfServiceAgreed"] != true => {
                return Err((403, "userActionRequired", "the terms are not agreed to".to_owned()));
            }
            None => {
                let contact = payload["contact"].clone();
                state.accounts.push(Account { key, contact, status: "valid" });
                (201, state.accounts.len() - 1)
            }
        };
        let document = account_document(&state.accounts[index]);
        Ok(Response::json(status, &document).with("Location", self.url(&format!("accounts/{index}"))))
    }

    /// RFC 8555 section 7.3.5.
    fn key_change(&self, state: &mut State, account: usize, outer: &Signed) -> Result<Response, Wrong> {
        let malformed = |detail: String| (400, "malformed", detail);
        let inner = Signed::read(outer.payload.as_ref().unwrap_or(&Value::Null)).map_err(malformed)?;
        let key = inner.header["jwk"].clone();
        inner.is_by(&key).map_err(malformed)?;
        let payload = inner.payload.unwrap_or(Value::Null);
        let same = |one: &Value, other: &Value| thumbprint(one) == thumbprint(other);
        if inner.header["url"] != outer.header["url"] || inner.header.get("nonce").is_some() {
            return Err(malformed("the inner message has another url, or a nonce".to_owned()));
        }
        if payload["account"] != outer.header["kid"]
            || !same(&payload["oldKey"], &state.accounts[account].key)
        {
            return Err(malformed("the inner message is about another account or key".to_owned()));
        }
        if state.accounts.iter().any(|account| same(&account.key, &key)) {
            return Err((409, "malformed", "that key has an account".to_owned()));
        }
        state.accounts[account].key = key;
        Ok(Response::json(200, &account_document(&state.accounts[account])))
    }

    fn new_order(&self, state: &mut State, account: usize, payload: &Value) -> Result<Response, Wrong> {
        let identifiers = payload["identifiers"].as_array().cloned().unwrap_or_default();
        if identifiers.is_empty() {
            return Err((400, "malformed", "no identifiers".to_owned()));
        }
        let profile = payload["profile"].as_str().map(str::to_owned);
        if let Some(profile) = profile.as_deref().filter(|profile| !state.profiles.contains_key(profile)) {
            return Err((400, "invalidProfile", format!("there is no profile {profile}")));
        }
        let replaces = payload["replaces"].as_str().map(str::to_owned);
        if let Some(replaced) = &replaces {
            match state.certificates.iter_mut().find(|certificate| certificate.id == *replaced) {
                None => return Err((404, "malformed", format!("{replaced} was not issued here"))),
                Some(certificate) if certificate.replaced => {
                    return Err((409, "alreadyReplaced", format!("{replaced} has been replaced")));
                }
                // The order takes the place, not the certificate: RFC 9773 section 5.
                Some(certificate) => certificate.replaced = true,
            }
        }
        let authorizations = identifiers.iter().map(|identifier| Authorization {
            identifier: identifier.clone(),
            token: random(),
            status: "pending",
            error: None,
            tried: None,
        });
        let order = Order {
            account,
            authorizations: authorizations.collect(),
            identifiers,
            profile,
            replaces,
            status: "pending",
            error: None,
            certificate: None,
            polls: state.processing.0,
        };
        state.orders.push(order);
        let index = state.orders.len() - 1;
        let document = self.order_document(index, &state.orders[index]);
        Ok(Response::json(201, &document).with("Location", self.url(&format!("order/{index}"))))
    }

    fn order(&self, state: &mut State, index: usize) -> Response {
        let (retry, order) = (state.processing.1, &mut state.orders[index]);
        if order.status == "processing" {
            if order.polls == 0 {
                order.status = "valid";
            } else {
                order.polls -= 1;
            }
        }
        let response = Response::json(200, &self.order_document(index, order));
        if order.status == "processing" { response.with("Retry-After", retry) } else { response }
    }

    fn challenge(
        &self,
        state: &mut State,
        order: usize,
        one: usize,
        kind: &str,
        signed: &Signed,
    ) -> Result<Response, Wrong> {
        if signed.payload.as_ref().is_some_and(|payload| *payload == json!({})) {
            let key = thumbprint(&state.accounts[state.orders[order].account].key);
            let authorization = state.orders[order].authorizations[one].clone();
            let name = authorization.identifier["value"].as_str().unwrap_or_default();
            let proof = format!("{}.{key}", authorization.token);
            let proven =
                state.look.as_ref().is_none_or(|look| look(name, kind, &authorization.token, &proof));
            let order = &mut state.orders[order];
            let authorization = &mut order.authorizations[one];
            authorization.tried = Some(kind.to_owned());
            if proven {
                authorization.status = "valid";
                if order.authorizations.iter().all(|one| one.status == "valid") && order.status == "pending" {
                    order.status = "ready";
                }
            } else {
                let error = json!({ "type": "urn:ietf:params:acme:error:unauthorized", "status": 403,
                    "detail": "the proof is not there" });
                authorization.status = "invalid";
                authorization.error = Some(error.clone());
                order.status = "invalid";
                order.error = Some(error);
            }
        }
        let document = self.authorization_document(order, one, &state.orders[order].authorizations[one]);
        let challenges = document["challenges"].as_array().cloned().unwrap_or_default();
        let document =
            challenges.into_iter().find(|challenge| challenge["type"] == kind).unwrap_or(Value::Null);
        let up = format!("<{}>;rel=\"up\"", self.url(&format!("authz/{order}/{one}")));
        Ok(Response::json(200, &document).with("Link", up))
    }

    fn finalize(&self, state: &mut State, index: usize, payload: &Value) -> Result<Response, Wrong> {
        let refuse = |detail: &str| (400, "badCSR", detail.to_owned());
        if state.orders[index].status != "ready" {
            let detail = format!("the order is {}", state.orders[index].status);
            return Err((403, "orderNotReady", detail));
        }
        let csr = BASE64
            .decode(payload["csr"].as_str().unwrap_or_default())
            .map_err(|_| refuse("not base64url"))?;
        let request = read_request(&csr).map_err(|error| refuse(&error.to_string()))?;
        if !request.proven {
            return Err(refuse("it is not signed by its own key"));
        }
        let values = |order: &Order| {
            order
                .identifiers
                .iter()
                .filter_map(|one| one["value"].as_str().map(alternative))
                .collect::<Vec<_>>()
        };
        let (mut wanted, mut asked) = (values(&state.orders[index]), request.alternative_names.clone());
        wanted.sort();
        asked.sort();
        if wanted != asked {
            return Err(refuse("its names are not those of the order"));
        }
        let profile = state.orders[index].profile.as_deref();
        let days = profile.and_then(|profile| state.profiles.get(profile)).copied().unwrap_or(state.days);
        let der = self.issuer.leaf(&request.alternative_names, &request.spki, Duration::days(days));
        let id = renewal_id(&der);
        state.certificates.push(Certificate { der, id, replaced: false, revoked: None });
        let number = state.certificates.len() - 1;
        let retry = state.processing.1;
        let order = &mut state.orders[index];
        order.certificate = Some(number);
        order.status = if order.polls == 0 { "valid" } else { "processing" };
        let response = Response::json(200, &self.order_document(index, order));
        let response = response.with("Location", self.url(&format!("order/{index}")));
        Ok(if order.status == "processing" { response.with("Retry-After", retry) } else { response })
    }

    fn certificate(&self, state: &State, order: usize, alternate: Option<usize>) -> Response {
        let Some(number) = state.orders[order].certificate else {
            return problem(404, "malformed", "there is no certificate yet", json!({}));
        };
        let above = &self.above[alternate.unwrap_or(0).min(1)];
        let chain = pem(&state.certificates[number].der) + &pem(above);
        let other = format!("<{}>;rel=\"alternate\"", self.url(&format!("cert/{order}/1")));
        let response = Response::new(200, "application/pem-certificate-chain", chain);
        if alternate.is_none() { response.with("Link", other) } else { response }
    }

    fn revoke(&self, state: &mut State, signed: &Signed, payload: &Value) -> Result<Response, Wrong> {
        let der = BASE64.decode(payload["certificate"].as_str().unwrap_or_default()).unwrap_or_default();
        let number = state.certificates.iter().position(|certificate| certificate.der == der);
        let number = number.ok_or_else(|| (404, "malformed", "it was not issued here".to_owned()))?;
        if signed.header.get("kid").is_some() {
            self.account(state, signed)?;
        } else {
            let jwk = &signed.header["jwk"];
            signed.is_by(jwk).map_err(|error| (400, "malformed", error))?;
            let coordinate =
                |name: &str| BASE64.decode(jwk[name].as_str().unwrap_or_default()).unwrap_or_default();
            let point = [vec![4], coordinate("x"), coordinate("y")].concat();
            let (_, certificate) = X509Certificate::from_der(&der).unwrap();
            if certificate.public_key().subject_public_key.data.as_ref() != point {
                return Err((403, "unauthorized", "that is not the certificate's key".to_owned()));
            }
        }
        let certificate = &mut state.certificates[number];
        if certificate.revoked.is_some() {
            return Err((400, "alreadyRevoked", "it is revoked".to_owned()));
        }
        certificate.revoked = Some(payload["reason"].as_u64().unwrap_or(0));
        Ok(Response::new(200, "text/plain", ""))
    }

    fn order_document(&self, index: usize, order: &Order) -> Value {
        let of = |one: usize| self.url(&format!("authz/{index}/{one}"));
        let mut document = json!({
            "status": order.status,
            "expires": later(7),
            "identifiers": order.identifiers,
            "authorizations": (0..order.authorizations.len()).map(of).collect::<Vec<_>>(),
            "finalize": self.url(&format!("finalize/{index}")),
        });
        if let Some(error) = &order.error {
            document["error"] = error.clone();
        }
        if let Some(profile) = &order.profile {
            document["profile"] = json!(profile);
        }
        if let Some(replaces) = &order.replaces {
            document["replaces"] = json!(replaces);
        }
        if order.status == "valid" {
            document["certificate"] = json!(self.url(&format!("cert/{index}")));
        }
        document
    }

    fn authorization_document(&self, order: usize, one: usize, authorization: &Authorization) -> Value {
        let name = authorization.identifier["value"].as_str().unwrap_or_default();
        let plain = name.strip_prefix("*.");
        let mut kinds = vec!["dns-01", "http-01", "tls-alpn-01"];
        if plain.is_some() {
            kinds.truncate(1);
        } else if authorization.identifier["type"] == "ip" {
            kinds.remove(0);
        }
        let challenge = |kind: &&str| {
            let tried = authorization.tried.as_deref() == Some(kind);
            let mut challenge = json!({
                "type": kind, "token": authorization.token, "status": if tried { authorization.status } else { "pending" },
                "url": self.url(&format!("chall/{order}/{one}/{kind}")),
            });
            if let Some(error) = authorization.error.as_ref().filter(|_| tried) {
                challenge["error"] = error.clone();
            }
            challenge
        };
        let mut document = json!({
            "status": authorization.status, "expires": later(7),
            "identifier": { "type": authorization.identifier["type"], "value": plain.unwrap_or(name) },
            "challenges": kinds.iter().map(challenge).collect::<Vec<_>>(),
        });
        if plain.is_some() {
            document["wildcard"] = json!(true);
        }
        document
    }
}

fn operation(words: &[&str]) -> Option<Operation> {
    Some(match words {
        ["dir"] => Operation::Directory,
        ["nonce"] => Operation::NewNonce,
        ["accounts"] => Operation::NewAccount,
        ["accounts", _] => Operation::Account,
        ["orders"] => Operation::NewOrder,
        ["order", _] => Operation::Order,
        ["authz", _, _] => Operation::Authorization,
        ["chall", _, _, _] => Operation::Challenge,
        ["finalize", _] => Operation::Finalize,
        ["cert", ..] => Operation::Certificate,
        ["revoke"] => Operation::Revoke,
        ["key"] => Operation::KeyChange,
        ["renewal", _] => Operation::RenewalInfo,
        _ => return None,
    })
}

fn renewal_info(state: &State, id: &str) -> Result<Response, Wrong> {
    let certificate = state.certificates.iter().find(|certificate| certificate.id == id);
    let certificate = certificate.ok_or_else(|| (404, "malformed", format!("{id} was not issued here")))?;
    let (_, parsed) = X509Certificate::from_der(&certificate.der).unwrap();
    let validity = parsed.validity();
    let (start, end) = (validity.not_before.to_datetime(), validity.not_after.to_datetime());
    let usual = || (start + (end - start) * 2 / 3, start + (end - start) * 2 / 3 + Duration::days(2));
    let (start, end) = state.window.unwrap_or_else(usual);
    let document = json!({
        "suggestedWindow": { "start": start.format(&Rfc3339).unwrap(), "end": end.format(&Rfc3339).unwrap() },
        "explanationURL": "https://localhost/why",
    });
    Ok(Response::json(200, &document).with("Retry-After", &state.renewal_retry))
}

/// RFC 9773 section 4.1.
fn renewal_id(der: &[u8]) -> String {
    let (_, certificate) = X509Certificate::from_der(der).unwrap();
    let issuer = certificate.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        x509_parser::extensions::ParsedExtension::AuthorityKeyIdentifier(key) => key.key_identifier.clone(),
        _ => None,
    });
    format!("{}.{}", BASE64.encode(issuer.unwrap().0), BASE64.encode(certificate.raw_serial()))
}

fn account_document(account: &Account) -> Value {
    json!({ "status": account.status, "contact": account.contact, "orders": "https://localhost/none" })
}

pub(super) fn problem(status: u16, kind: &str, detail: &str, more: Value) -> Response {
    let mut document =
        json!({ "type": format!("urn:ietf:params:acme:error:{kind}"), "detail": detail, "status": status });
    for (name, value) in more.as_object().into_iter().flatten() {
        document[name] = value.clone();
    }
    Response::new(status, "application/problem+json", document.to_string())
}

fn later(days: i64) -> String {
    (OffsetDateTime::now_utc() + Duration::days(days)).format(&Rfc3339).unwrap()
}

pub(super) fn random() -> String {
    let mut octets = [0; 16];
    getrandom::fill(&mut octets).unwrap();
    BASE64.encode(octets)
}
