//! Certificates of the test's own: a CA, and what it signs.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};

use super::temp_dir::TempDir;

/// A CA, with its files in a directory of its own.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate.
    pub(crate) cert_file: PathBuf,
    dir: TempDir,
}

/// A certificate and its key, in files.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) cert_file: PathBuf,
    pub(crate) key_file: PathBuf,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let dir = TempDir::new("ca");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let cert_file = dir.write("ca.pem", &params.self_signed(&key).unwrap().pem());
        Self { issuer: Issuer::new(params, key), cert_file, dir }
    }

    /// A certificate for these names and addresses.
    pub(crate) fn issue(&self, file: &str, names: &[&str]) -> Pair {
        self.sign(file, &Self::params(names))
    }

    /// One that was good for a year, long ago.
    pub(crate) fn issue_expired(&self, file: &str, names: &[&str]) -> Pair {
        let mut params = Self::params(names);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
        self.sign(file, &params)
    }

    fn params(names: &[&str]) -> CertificateParams {
        CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).unwrap()
    }

    fn sign(&self, file: &str, params: &CertificateParams) -> Pair {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Pair {
            cert_file: self.dir.write(&format!("{file}.pem"), &certificate.pem()),
            key_file: self.dir.write(&format!("{file}.key"), &key.serialize_pem()),
        }
    }
}
