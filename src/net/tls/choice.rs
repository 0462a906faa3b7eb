//! Cipher suites and curves by the names that Go gives them, which the files of all exporters use.

use rustls::crypto::ring::default_provider;
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::{CipherSuite, NamedGroup, SupportedCipherSuite};

/// A name that stands for nothing that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsChoiceError {
    /// Cipher suites that rustls lacks, or that nobody knows.
    #[error("cipher_suites: {} not supported; those that are: {}", are(.names), SUITES.map(|(name, _)| name).join(", "))]
    Suites {
        /// Their names.
        names: Vec<String>,
    },
    /// Curves that rustls lacks, or that nobody knows.
    #[error("curve_preferences: {} not supported; those that are: {}", are(.names), CURVES.map(|(name, _)| name).join(", "))]
    Curves {
        /// Their names.
        names: Vec<String>,
    },
    /// Only suites of the other version.
    #[error(
        "cipher_suites names none of TLS 1.2, and max_version allows no other; name one, or leave cipher_suites out"
    )]
    NoSuite,
}

fn are(names: &[String]) -> String {
    let verb = if names.len() == 1 { "is" } else { "are" };
    format!("{} {verb}", names.join(", "))
}

/// Those of TLS 1.3 are always spoken, whatever is chosen, as in Go.
const SUITES: [(&str, CipherSuite); 11] = [
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    (
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
    // Names that Go had before.
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305", CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
    ("TLS_AES_256_GCM_SHA384", CipherSuite::TLS13_AES_256_GCM_SHA384),
    ("TLS_AES_128_GCM_SHA256", CipherSuite::TLS13_AES_128_GCM_SHA256),
    ("TLS_CHACHA20_POLY1305_SHA256", CipherSuite::TLS13_CHACHA20_POLY1305_SHA256),
];

const CURVES: [(&str, NamedGroup); 3] = [
    ("X25519", NamedGroup::X25519),
    ("CurveP256", NamedGroup::secp256r1),
    ("CurveP384", NamedGroup::secp384r1),
];

/// Our cryptography, with these suites and curves; with all where none is named.
pub(super) fn provider(suites: &[String], curves: &[String]) -> Result<CryptoProvider, TlsChoiceError> {
    // By name: rustls picks none by itself where several crates have brought their own, or none.
    let all = default_provider();
    let suites = chosen(suites, &SUITES).map_err(|names| TlsChoiceError::Suites { names })?;
    let curves = chosen(curves, &CURVES).map_err(|names| TlsChoiceError::Curves { names })?;
    let is_13 = |suite: &SupportedCipherSuite| suite.tls13().is_some();
    // In our order, for that is one of strength; so Go does.
    let is_spoken = |suite: &SupportedCipherSuite| is_13(suite) || suites.contains(&suite.suite());
    let cipher_suites = all.cipher_suites.iter().copied();
    let cipher_suites =
        if suites.is_empty() { cipher_suites.collect() } else { cipher_suites.filter(is_spoken).collect() };
    let group = |curve: &NamedGroup| all.kx_groups.iter().copied().find(|group| group.name() == *curve);
    let kx_groups: Vec<&'static dyn SupportedKxGroup> =
        if curves.is_empty() { all.kx_groups.clone() } else { curves.iter().filter_map(group).collect() };
    Ok(CryptoProvider { cipher_suites, kx_groups, ..all })
}

/// What the names stand for; those that stand for nothing.
fn chosen<T: Copy>(names: &[String], known: &[(&str, T)]) -> Result<Vec<T>, Vec<String>> {
    let find = |name: &String| known.iter().find(|(known, _)| known == name).map(|(_, what)| *what);
    let unknown: Vec<String> = names.iter().filter(|name| find(name).is_none()).cloned().collect();
    if unknown.is_empty() { Ok(names.iter().filter_map(find).collect()) } else { Err(unknown) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provider_of(suites: &[&str], curves: &[&str]) -> Result<CryptoProvider, TlsChoiceError> {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        provider(&owned(suites), &owned(curves))
    }

    #[test]
    fn suites_and_curves_by_the_names_of_go() {
        let all = provider_of(&[], &[]).unwrap();
        assert_eq!((all.cipher_suites.len(), all.kx_groups.len()), (9, 3));
        for (name, suite) in SUITES {
            let one = provider_of(&[name], &["CurveP384", "X25519"]).unwrap();
            assert!(one.cipher_suites.iter().any(|found| found.suite() == suite), "{name}");
            let of_12 = one.cipher_suites.iter().filter(|suite| suite.tls13().is_none()).count();
            assert_eq!(of_12, usize::from(name.contains("ECDHE")), "{name}");
            let curves: Vec<_> = one.kx_groups.iter().map(|group| group.name()).collect();
            assert_eq!(curves, [NamedGroup::secp384r1, NamedGroup::X25519]);
        }
    }

    #[test]
    fn what_rustls_lacks_is_named() {
        let lacking = ["TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", "TLS_RSA_WITH_AES_128_GCM_SHA256"];
        let refused = provider_of(&["TLS_AES_128_GCM_SHA256", lacking[0], lacking[1]], &[]).unwrap_err();
        let beginning =
            format!("cipher_suites: {}, {} are not supported; those that are: TLS_", lacking[0], lacking[1]);
        assert!(refused.to_string().starts_with(&beginning), "{refused}");
        let refused = provider_of(&[], &["CurveP521"]).unwrap_err().to_string();
        let expected =
            "curve_preferences: CurveP521 is not supported; those that are: X25519, CurveP256, CurveP384";
        assert_eq!(refused, expected);
    }
}
