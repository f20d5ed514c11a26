//! Asking by an errand: what speaks to servers holds no key, and what makes keys speaks to nobody.
//!
//! The run that replaces keys as root has no way to the network. It sends this program itself, in a
//! transient unit that may write nothing, to look who listens and to ask them; question and answer are
//! JSON, and the answer is data.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::protocol::Ports;
use super::{Answer, Effort, Endpoint, Prober, Shown};
use crate::service::{Errand, Services, this_program};
use crate::system::root::Root;

/// What the program is asked to do when it is sent.
pub const COMMAND: &str = "ask";
/// All connections together; each has its own, shorter, limit.
const LIMIT: Duration = Duration::from_mins(3);
/// Octets of an answer: some hundred certificates.
const OCTETS: u64 = 4 << 20;
/// To see which process has which port open, and through directories of others; not to write there.
const CAPABILITIES: u64 = 1 << CAP_DAC_READ_SEARCH | 1 << CAP_SYS_PTRACE;
/// capability.h of Linux.
const CAP_DAC_READ_SEARCH: u64 = 2;
const CAP_SYS_PTRACE: u64 = 19;

/// What is to be found out.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Question {
    /// Where the processes of these units listen.
    Listen(BTreeMap<String, Ports>),
    /// What these places show.
    Ask {
        /// The places.
        endpoints: Vec<Endpoint>,
        /// The name that a client would ask for.
        name: Option<String>,
        /// How thoroughly.
        effort: Effort,
    },
}

/// An answer with what it does not show to people.
#[derive(Debug, Serialize, Deserialize)]
struct Told {
    answer: Answer,
    /// Digest of the public key of the certificate that was shown.
    key: Option<[u8; 32]>,
}

impl From<Answer> for Told {
    fn from(answer: Answer) -> Self {
        let key = match &answer {
            Answer::Shown(shown) => shown.certificate.as_ref().map(|certificate| certificate.public_digest),
            _ => None,
        };
        Self { answer, key }
    }
}

impl From<Told> for Answer {
    fn from(told: Told) -> Self {
        let mut answer = told.answer;
        if let (Self::Shown(shown), Some(key)) = (&mut answer, told.key)
            && let Shown { certificate: Some(certificate), .. } = shown.as_mut()
        {
            certificate.public_digest = key;
        }
        answer
    }
}

/// Finds out what is asked, here and now; the answer is JSON.
///
/// # Errors
/// In words, for a question that is none, and when the kernel does not say who listens.
pub fn answer(root: &Root, prober: &Prober, question: &str) -> Result<String, String> {
    let json = |error: serde_json::Error| error.to_string();
    match serde_json::from_str(question).map_err(json)? {
        Question::Listen(units) => serde_json::to_string(&(prober.listen)(root, &units)?).map_err(json),
        Question::Ask { endpoints, name, effort } => {
            let answers = (prober.ask)(&endpoints, name.as_deref(), effort);
            let told: Vec<Vec<Told>> =
                answers.into_iter().map(|answers| answers.into_iter().map(Told::from).collect()).collect();
            serde_json::to_string(&told).map_err(json)
        }
    }
}

impl Prober {
    /// Sends this program itself as an errand.
    pub fn by_errand(services: Rc<dyn Services>) -> Self {
        let asking = Rc::clone(&services);
        let ask = move |endpoints: &[Endpoint], name: Option<&str>, effort| {
            let question =
                Question::Ask { endpoints: endpoints.to_vec(), name: name.map(str::to_owned), effort };
            let told = match endpoints {
                [] => Ok(Vec::new()),
                _ => send::<Vec<Vec<Told>>>(asking.as_ref(), &question),
            };
            match told {
                Ok(told) if told.len() == endpoints.len() => {
                    told.into_iter().map(|told| told.into_iter().map(Answer::from).collect()).collect()
                }
                Ok(_) => unknown(endpoints, "the answer is not one for each place"),
                Err(error) => unknown(endpoints, &error),
            }
        };
        Self {
            listen: Box::new(move |_, units| send(services.as_ref(), &Question::Listen(units.clone()))),
            ask: Box::new(ask),
            ..Self::network()
        }
    }
}

fn unknown(endpoints: &[Endpoint], why: &str) -> Vec<Vec<Answer>> {
    endpoints.iter().map(|_| vec![Answer::Unknown(why.to_owned())]).collect()
}

fn send<T: for<'de> Deserialize<'de>>(services: &dyn Services, question: &Question) -> Result<T, String> {
    let question = serde_json::to_string(question).map_err(|error| error.to_string())?;
    let command = [this_program()?, COMMAND.to_owned(), question];
    let errand = Errand {
        network: true,
        kept: OCTETS,
        capabilities: Some(CAPABILITIES),
        ..Errand::new(&command, LIMIT)
    };
    let said = services.run(&errand).map_err(|error| error.to_string())?;
    serde_json::from_str(&said).map_err(|error| format!("the answer of {COMMAND} cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::pki::Algorithm;
    use crate::pki::issue::tests::made;
    use crate::probe::{Fingerprint, KeyKind};
    use crate::seed::Subject;

    #[test]
    fn an_answer_comes_back_as_it_was_given() {
        let (certificate, ..) = made("mail.example.com", Algorithm::P256, &Subject::default());
        let shown = Shown {
            fingerprint: Fingerprint::of_certificate(b"x"),
            kind: KeyKind::Elliptic,
            certificate: Some(certificate),
            chain: 2,
        };
        for answer in [
            Answer::Shown(Box::new(shown)),
            Answer::NoTls("refused".into()),
            Answer::Closed,
            Answer::Unknown("no answer".into()),
        ] {
            let told = serde_json::to_string(&Told::from(answer.clone())).unwrap();
            assert_eq!(Answer::from(serde_json::from_str::<Told>(&told).unwrap()), answer, "{told}");
        }
    }

    #[test]
    fn a_question_that_is_none_is_refused_in_words() {
        let root = Root::open(Path::new("/")).unwrap();
        for question in ["", "{", "{\"ask\":1}", "[]", "\"listen\""] {
            assert!(answer(&root, &Prober::network(), question).is_err(), "{question}");
        }
    }
}
