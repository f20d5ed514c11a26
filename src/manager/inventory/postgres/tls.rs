//! TLS to a server of PostgreSQL, by the rules of libpq's `sslmode`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};

use super::parameters::Parameters;
use crate::pki::inspect;
use crate::system::root::Root;

/// `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `disable`.
    Disable,
    /// `allow` and `prefer`: TLS where the server has it.
    Prefer,
    /// `require`: TLS, with whomever.
    Require,
    /// `verify-ca`: somebody whom we trust vouches for the server.
    VerifyCa,
    /// `verify-full`: and for its name.
    VerifyFull,
}

impl Mode {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(match text {
            "disable" => Self::Disable,
            "allow" | "prefer" => Self::Prefer,
            "require" => Self::Require,
            "verify-ca" => Self::VerifyCa,
            "verify-full" => Self::VerifyFull,
            other => {
                let known = "disable, allow, prefer, require, verify-ca or verify-full";
                return Err(format!("sslmode \"{}\" is not {known}", other.escape_debug()));
            }
        })
    }
}

/// How to speak TLS.
///
/// # Errors
/// In words: which file cannot be used.
pub fn client(
    root: &Root,
    home: Option<&Path>,
    parameters: &Parameters,
) -> Result<(Mode, ClientConfig), String> {
    let anchors = match parameters.get("sslrootcert") {
        Some("system") => Some(system()),
        Some(path) => Some(trusted(root, Path::new(path))?),
        None => match own(home, "root.crt") {
            Some(path) if is_there(root, &path) => Some(trusted(root, &path)?),
            _ => None,
        },
    };
    let given = parameters.get("sslmode").map(Mode::parse).transpose()?;
    let mode = match (given, &anchors, parameters.get("sslrootcert")) {
        (None, _, Some("system")) => Mode::VerifyFull,
        (Some(mode), _, Some("system")) if mode != Mode::VerifyFull => {
            return Err("sslrootcert \"system\" wants sslmode verify-full".into());
        }
        // As in libpq: with a file of whom to trust, `require` means it.
        (Some(Mode::Require), Some(_), _) => Mode::VerifyCa,
        (given, _, _) => given.unwrap_or(Mode::Prefer),
    };
    let provider = Arc::new(ring::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match (mode, anchors) {
        (Mode::VerifyCa | Mode::VerifyFull, None) => {
            return Err(
                "sslmode wants the server verified, and there is no file of whom to trust; give sslrootcert"
                    .into(),
            );
        }
        (Mode::VerifyCa | Mode::VerifyFull, Some(anchors)) => {
            let (store, trusted) = anchors;
            let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(&provider))
                .build()
                .map_err(|error| format!("sslrootcert: {error}"))?;
            Arc::new(Verified { inner, trusted, any_name: mode == Mode::VerifyCa })
        }
        _ => Arc::new(Anybody { provider: Arc::clone(&provider) }),
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let config = match identity(root, home, parameters)? {
        Some((chain, key)) => builder
            .with_client_auth_cert(chain, key)
            .map_err(|error| format!("sslcert and sslkey: {error}"))?,
        None => builder.with_no_client_auth(),
    };
    Ok((mode, config))
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Our own certificate, where there is one.
fn identity(root: &Root, home: Option<&Path>, parameters: &Parameters) -> Result<Option<Identity>, String> {
    let path = |name: &str, file: &str| match parameters.get(name) {
        Some(path) => Some(PathBuf::from(path)),
        None => own(home, file).filter(|path| is_there(root, path)),
    };
    let Some(certificate) = path("sslcert", "postgresql.crt") else { return Ok(None) };
    let Some(key) = path("sslkey", "postgresql.key") else {
        return Err(format!("{}: there is no key to it; give sslkey", certificate.display()));
    };
    let (read, failed) = (
        |path: &Path| root.read(path),
        |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display()),
    );
    let attributes = root.attributes(&key).map_err(|error| error.to_string())?;
    let ours = if attributes.user == 0 { 0o037 } else { 0o077 };
    if attributes.mode & ours != 0 {
        return Err(format!("{}: others may read it; make its mode 0600", key.display()));
    }
    let chain = read(&certificate).map_err(|error| error.to_string())?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&chain)
        .collect::<Result<_, _>>()
        .map_err(|error| failed(&certificate, &error))?;
    let content = read(&key).map_err(|error| error.to_string())?;
    let key = PrivateKeyDer::from_pem_slice(&content).map_err(|error| failed(&key, &error))?;
    Ok(Some((chain, key)))
}

fn own(home: Option<&Path>, file: &str) -> Option<PathBuf> {
    Some(home?.join(".postgresql").join(file))
}

fn is_there(root: &Root, path: &Path) -> bool {
    matches!(root.status(path), Ok(Some(_)))
}

fn trusted(root: &Root, path: &Path) -> Result<Anchors, String> {
    let content = root.read(path).map_err(|error| error.to_string())?;
    let (mut store, mut all) = (RootCertStore::empty(), Vec::new());
    for certificate in CertificateDer::pem_slice_iter(&content) {
        let certificate = certificate.map_err(|error| format!("{}: {error}", path.display()))?;
        all.push(certificate.clone());
        store.add(certificate).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    if store.is_empty() {
        return Err(format!("{}: there is no certificate in it", path.display()));
    }
    Ok((store, all))
}

/// Whom we trust: as rustls wants them, and as they are.
type Anchors = (RootCertStore, Vec<CertificateDer<'static>>);

fn system() -> Anchors {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    (store, Vec::new())
}

/// Checks who vouches for the server, and mostly for which name.
#[derive(Debug)]
struct Verified {
    inner: Arc<WebPkiServerVerifier>,
    /// Whom we trust. A server that signed its own certificate is one of them, as with OpenSSL; rustls refuses
    /// an authority's certificate there, and `openssl req -x509` makes one.
    trusted: Vec<CertificateDer<'static>>,
    /// For any name.
    any_name: bool,
}

impl Verified {
    /// A certificate that is itself trusted, within its time, and for the name where that matters.
    fn is_trusted_itself(&self, shown: &CertificateDer<'_>, name: &ServerName<'_>, now: UnixTime) -> bool {
        let Ok(says) = inspect::Certificate::from_der(shown) else { return false };
        let Ok(seconds) = i64::try_from(now.as_secs()) else { return false };
        let in_time = (says.not_before.unix_timestamp()..says.not_after.unix_timestamp()).contains(&seconds);
        let named = || {
            let parsed = ParsedCertificate::try_from(shown);
            parsed.and_then(|parsed| verify_server_name(&parsed, name)).is_ok()
        };
        self.trusted.contains(shown) && in_time && (self.any_name || named())
    }
}

impl ServerCertVerifier for Verified {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let done = self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match done {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.any_name => Ok(ServerCertVerified::assertion()),
            Err(_) if self.is_trusted_itself(end_entity, server_name, now) => {
                Ok(ServerCertVerified::assertion())
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Takes whoever has the key of the certificate that is shown: what `require` without anchors means.
#[derive(Debug)]
struct Anybody {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match end_entity.is_empty() {
            true => Err(Error::Other(OtherError(Arc::new(std::io::Error::other("no certificate"))))),
            false => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
