//! What a run makes before it touches a file: keys and random octets.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;

use zeroize::Zeroizing;

use crate::artifact::What;
use crate::pki::key::{KeyError, PrivateKey};
use crate::pki::serial::Serial;
use crate::pki::ssh::HostKey;
use crate::plan::{Supply, Task};

/// What one task is made of.
pub(super) enum Material {
    /// A key, and a serial for each of its certificates.
    Key {
        key: PrivateKey,
        serials: Vec<Serial>,
    },
    HostKey(HostKey),
    Random(Zeroizing<Vec<u8>>),
    /// The hook's own program, or the certificate manager, makes everything.
    Nothing,
}

impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Material(elided)")
    }
}

impl Material {
    fn generate(task: &Task) -> Result<Self, KeyError> {
        Ok(match &task.bundle.what {
            What::Certificates(_) if !makes_key(task) => Self::Nothing,
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

/// Where the manager is asked, and a self-signed certificate is to stand in should it refuse, its key is
/// made beforehand: with all others, and with its serial recorded.
fn makes_key(task: &Task) -> bool {
    let managed = task.bundle.certificates().and_then(|certificates| certificates.managed.as_deref());
    match task.supply {
        Supply::Own => true,
        Supply::Installed => false,
        Supply::Asked => managed.is_some_and(|managed| managed.stop_gap) && !task.tides_over,
    }
}

/// Makes it for every task, in their order, on as many cores as there are.
pub(super) fn generate(tasks: &[&Task]) -> Vec<Result<Material, KeyError>> {
    if let [task] = tasks {
        return vec![Material::generate(task)];
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(tasks.len());
    let next = Mutex::new(0..tasks.len());
    let done = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(at) = next.lock().ok().and_then(|mut next| next.next()) {
                    let Some(task) = tasks.get(at) else { continue };
                    let material = Material::generate(task);
                    if let Ok(mut done) = done.lock() {
                        done.insert(at, material);
                    }
                }
            });
        }
    });
    done.into_inner().unwrap_or_default().into_values().collect()
}
