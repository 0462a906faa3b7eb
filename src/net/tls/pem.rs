//! Certificates and keys from PEM: the only reader of both, for clients and servers.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{Error, RootCertStore};

/// PEM and where it is from.
pub struct PemText {
    /// What names it: `"/etc/a.crt" (--statsdb.tls-cert-file)`.
    origin: String,
    text: Vec<u8>,
}

/// Why there is no certificate, or no key.
#[derive(Debug, thiserror::Error)]
pub enum PemError {
    /// A file that cannot be read.
    #[error(
        "cannot read {path:?} ({named_by}): {error}; check the path and the rights of the user that runs the exporter"
    )]
    Unreadable {
        /// What names the file: a flag, or a key of a file.
        named_by: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Text without what it should hold.
    #[error("{origin} holds no {wanted} in PEM that can be used{}", detail(.reason))]
    NotPem {
        /// Where it is from.
        origin: String,
        /// What it should hold.
        wanted: &'static str,
        /// More about it, perhaps nothing.
        reason: String,
    },
    /// A key that is not the certificate's.
    #[error("{certificate} and {key} cannot be used together: {error}")]
    Pair {
        /// Where the certificate is from.
        certificate: String,
        /// Where the key is from.
        key: String,
        /// What is wrong with them.
        error: Box<Error>,
    },
}

fn detail(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(" ({reason})") }
}

impl PemText {
    /// What a file holds, read by `read`; `named_by` is the flag, or the key, that names it.
    ///
    /// # Errors
    ///
    /// [`PemError::Unreadable`].
    pub fn read(
        named_by: &'static str,
        path: &Path,
        read: impl FnOnce(&Path) -> io::Result<Vec<u8>>,
    ) -> Result<Self, PemError> {
        let text =
            read(path).map_err(|error| PemError::Unreadable { named_by, path: path.to_owned(), error })?;
        Ok(Self { origin: format!("\"{}\" ({named_by})", path.display()), text })
    }

    /// What stands at a key of a file.
    pub fn inline(key: &str, text: &str) -> Self {
        Self { origin: key.to_owned(), text: text.as_bytes().to_vec() }
    }

    fn is_no(&self, wanted: &'static str, reason: String) -> PemError {
        PemError::NotPem { origin: self.origin.clone(), wanted, reason }
    }
}

impl fmt::Debug for PemText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PemText").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// A certificate and its key.
#[derive(Debug)]
pub struct TlsPair {
    /// The certificate, and those between it and its CA.
    pub certificate: PemText,
    /// Its key.
    pub key: PemText,
}

/// All certificates; at least one.
///
/// # Errors
///
/// [`PemError::NotPem`].
pub fn certificates(pem: &PemText) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let found = CertificateDer::pem_slice_iter(&pem.text).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| pem.is_no("certificate", error.to_string()))?;
    if found.is_empty() { Err(pem.is_no("certificate", String::new())) } else { Ok(found) }
}

/// The key.
///
/// # Errors
///
/// [`PemError::NotPem`].
pub fn private_key(pem: &PemText) -> Result<PrivateKeyDer<'static>, PemError> {
    let key = PrivateKeyDer::from_pem_slice(&pem.text);
    key.map_err(|error| pem.is_no("private key without a passphrase", error.to_string()))
}

/// All certificates, as CAs.
///
/// # Errors
///
/// [`PemError::NotPem`].
pub fn roots(pem: &PemText) -> Result<RootCertStore, PemError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem)? {
        roots.add(certificate).map_err(|error| pem.is_no("certificate", error.to_string()))?;
    }
    Ok(roots)
}

/// What rustls says of a certificate and its key.
pub fn pair_error(pair: &TlsPair, error: Error) -> PemError {
    let (certificate, key) = (pair.certificate.origin.clone(), pair.key.origin.clone());
    PemError::Pair { certificate, key, error: error.into() }
}
