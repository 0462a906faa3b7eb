//! The CAs that the system trusts, for the client's side of TLS.

use std::sync::{Arc, OnceLock};

use rustls::RootCertStore;

/// The CAs that the system trusts; at least one, else why there is none. Read once: there are hundreds, and a system seldom
/// changes them.
///
/// # Errors
///
/// What the system says, perhaps nothing.
pub fn system_roots() -> Result<Arc<RootCertStore>, String> {
    static READ: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    if let Some(roots) = READ.get() {
        return Ok(Arc::clone(roots));
    }
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // One that is odd, or of a directory that may not be read, does not spoil the others.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(found.errors.first().map(ToString::to_string).unwrap_or_default());
    }
    Ok(Arc::clone(READ.get_or_init(|| Arc::new(roots))))
}
