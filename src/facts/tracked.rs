//! Files that another program renews: certbot, certmonger.

use std::path::{Path, PathBuf};

use crate::system::root::Root;

/// Files that another program renews.
pub struct Tracked {
    certmonger: Vec<(PathBuf, String)>,
}

impl Tracked {
    /// Reads certmonger's requests, where there are any.
    pub fn gather(root: &Root) -> Self {
        let directory = Path::new("/var/lib/certmonger/requests");
        let names = root.names(directory).unwrap_or_default();
        let read = |name| {
            let path = directory.join(name);
            Some((path.clone(), root.text(&path).ok()??))
        };
        Self { certmonger: names.into_iter().filter_map(read).collect() }
    }

    /// Says in words who renews a file, by the path that is named and the one that it leads to.
    pub fn by(&self, path: &Path, real: &Path) -> Option<String> {
        if real.starts_with("/etc/letsencrypt") {
            return Some(format!("{} is renewed by certbot", path.display()));
        }
        let names_it = |text: &str| {
            text.lines()
                .filter_map(|line| line.split_once('='))
                .filter(|(key, _)| {
                    *key == "cert_file"
                        || *key == "key_file"
                        || *key == "key_storage_location"
                        || *key == "cert_storage_location"
                })
                .any(|(_, value)| Path::new(value) == path || Path::new(value) == real)
        };
        self.certmonger.iter().find(|(_, text)| names_it(text)).map(|(request, _)| {
            format!("{} is tracked by certmonger ({})", path.display(), request.display())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_tracks_a_file() {
        let request = "id=1\nkey_storage_location=/etc/pki/tls/private/x.key\ncert_storage_location=/etc/pki/tls/certs/x.crt\n";
        let tracked = Tracked { certmonger: vec![("/var/lib/certmonger/requests/1".into(), request.into())] };
        let by = |path: &str, real: &str| tracked.by(Path::new(path), Path::new(real));
        assert!(by("/etc/pki/tls/certs/x.crt", "/etc/pki/tls/certs/x.crt").unwrap().contains("certmonger"));
        assert!(by("/etc/x.pem", "/etc/letsencrypt/archive/x/cert1.pem").unwrap().contains("certbot"));
        assert_eq!(by("/etc/y.pem", "/etc/y.pem"), None);
    }
}
