//! Certificates of the test's own: a CA, and what it signs.

use std::path::PathBuf;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};

use crate::common::servers::process::Tool;
use crate::common::temp_dir::TempDir;
use coturn_exporter::clock::{Clock as _, SystemClock};

const OPENSSL: Tool = Tool { program: "openssl", package: "openssl" };

/// A CA, with its files in a directory of its own.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate.
    pub cert_file: PathBuf,
    /// Its key.
    pub key_file: PathBuf,
    dir: TempDir,
}

/// A certificate and its key, in files.
#[derive(Clone, Debug)]
pub struct Pair {
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let dir = TempDir::new("ca");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let cert_file = dir.write("ca.pem", &params.self_signed(&key).unwrap().pem());
        let key_file = dir.write("ca.key", &key.serialize_pem());
        Self { issuer: Issuer::new(params, key), cert_file, key_file, dir }
    }

    /// Its own certificate, for whoever takes it for a server's.
    pub fn pair(&self) -> Pair {
        Pair { cert_file: self.cert_file.clone(), key_file: self.key_file.clone() }
    }

    /// A certificate for these names and addresses.
    pub fn issue(&self, file: &str, names: &[&str]) -> Pair {
        self.sign(file, &Self::params(names))
    }

    /// One that was good for a year, long ago.
    pub fn issue_expired(&self, file: &str, names: &[&str]) -> Pair {
        let mut params = Self::params(names);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
        self.sign(file, &params)
    }

    /// One that will be good.
    pub fn issue_for_later(&self, file: &str, names: &[&str]) -> Pair {
        let mut params = Self::params(names);
        params.not_before = date_time_ymd(2090, 1, 1);
        params.not_after = date_time_ymd(2091, 1, 1);
        self.sign(file, &params)
    }

    /// One of a year that ends in so many days.
    pub fn issue_ending_in(&self, days: u32, file: &str, names: &[&str]) -> Pair {
        const DAY: Duration = Duration::from_secs(86_400);
        let now = date_time_ymd(1970, 1, 1) + Duration::from_millis(SystemClock::new().now().as_millis());
        let mut params = Self::params(names);
        params.not_after = now + DAY * days;
        params.not_before = params.not_after - DAY * 365;
        self.sign(file, &params)
    }

    /// One that is good for clients only.
    pub fn issue_for_clients(&self, file: &str, names: &[&str]) -> Pair {
        let mut params = Self::params(names);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(file, &params)
    }

    /// As many a guide on the web does it: signed without an extension, which makes version 1 of X.509.
    pub fn issue_version_1(&self, file: &str, name: &str) -> Pair {
        let path = |ending: &str| self.dir.path().join(format!("{file}.{ending}"));
        let (cert_file, key_file, request) = (path("pem"), path("key"), path("csr"));
        let [cert, key, csr, ca, ca_key] = [&cert_file, &key_file, &request, &self.cert_file, &self.key_file]
            .map(|path| path.display().to_string());
        let subject = format!("/CN={name}");
        openssl(&[
            "req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", &subject, "-keyout", &key, "-out", &csr,
        ]);
        openssl(&[
            "x509",
            "-req",
            "-in",
            &csr,
            "-CA",
            &ca,
            "-CAkey",
            &ca_key,
            "-set_serial",
            "7",
            "-out",
            &cert,
        ]);
        let text = openssl(&["x509", "-in", &cert, "-noout", "-text"]);
        assert!(text.contains("Version: 1 (0x0)"), "not of version 1:\n{text}");
        Pair { cert_file, key_file }
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

/// Runs it to a good end; gives what it printed.
fn openssl(args: &[&str]) -> String {
    let output = OPENSSL
        .command()
        .args(args)
        .output()
        .unwrap_or_else(|error| panic!("{}", OPENSSL.cannot_start(&error)));
    assert!(output.status.success(), "openssl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
