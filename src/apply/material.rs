//! What a run makes before it touches a file: keys and random octets.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;

use zeroize::Zeroizing;

use crate::artifact::What;
use crate::pki::key::{KeyError, PrivateKey};
use crate::pki::serial::Serial;
use crate::pki::ssh::HostKey;
use crate::plan::Task;

/// What one task is made of.
pub(super) enum Material {
    /// A key, and a serial for each of its certificates.
    Key {
        key: PrivateKey,
        serials: Vec<Serial>,
    },
    HostKey(HostKey),
    Random(Zeroizing<Vec<u8>>),
    /// The hook's own program makes everything.
    Nothing,
}

impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Material(elided)")
    }
}

impl Material {
    fn generate(what: &What) -> Result<Self, KeyError> {
        Ok(match what {
            What::Certificates(certificates) => {
                Self::Key { key: PrivateKey::generate(certificates.algorithm)?, serials: Vec::new() }
            }
            What::HostKey(algorithm) => Self::HostKey(HostKey::generate(*algorithm)?),
            What::Program(_) => Self::Nothing,
            What::Secret(template) => {
                let mut random = Zeroizing::new(vec![0; template.octets()]);
                getrandom::fill(&mut random).map_err(|error| KeyError::Random(error.to_string()))?;
                Self::Random(random)
            }
        })
    }
}

/// Makes it for every task, in their order, on as many cores as there are.
pub(super) fn generate(tasks: &[&Task]) -> Vec<Result<Material, KeyError>> {
    if let [task] = tasks {
        return vec![Material::generate(&task.bundle.what)];
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(tasks.len());
    let next = Mutex::new(0..tasks.len());
    let done = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(at) = next.lock().ok().and_then(|mut next| next.next()) {
                    let Some(task) = tasks.get(at) else { continue };
                    let material = Material::generate(&task.bundle.what);
                    if let Ok(mut done) = done.lock() {
                        done.insert(at, material);
                    }
                }
            });
        }
    });
    done.into_inner().unwrap_or_default().into_values().collect()
}
