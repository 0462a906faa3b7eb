//! The certificate that a server shows, and from when to when it is valid.

use std::path::PathBuf;

use super::der::{DerFields, SEQUENCE, expect, only};
use super::pem::{PemError, PemText, certificates};
use crate::clock::Timestamp;
use crate::validity::Validity;

const VERSION: u8 = 0xa0;
const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// A certificate of our own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnCertificate {
    /// The file that it stands in.
    pub path: PathBuf,
    /// When it is valid.
    pub validity: Validity,
}

impl OwnCertificate {
    /// The first certificate of `pem`, which stands in the file `path`: the others are those of CAs. `None` where it does not
    /// say when it is valid.
    ///
    /// # Errors
    ///
    /// [`PemError::NotPem`].
    pub fn of(path: PathBuf, pem: &PemText) -> Result<Option<Self>, PemError> {
        let validity = certificates(pem)?.first().and_then(|certificate| validity(certificate));
        Ok(validity.map(|validity| Self { path, validity }))
    }
}

/// From when to when; `None` where the certificate is none.
fn validity(certificate: &[u8]) -> Option<Validity> {
    let (to_be_signed, _) = expect(only(certificate, SEQUENCE)?, SEQUENCE)?;
    let rest = expect(to_be_signed, VERSION).map_or(to_be_signed, |(_, rest)| rest);
    let (_, rest) = expect(rest, INTEGER)?;
    // The algorithm of the signature, and who issued it.
    let (_, rest) = expect(rest, SEQUENCE)?;
    let (_, rest) = expect(rest, SEQUENCE)?;
    let (validity, _) = expect(rest, SEQUENCE)?;
    let mut times = DerFields(validity).map(|time| time.and_then(|(tag, text)| moment(tag, text)));
    match (times.next()??, times.next()??, times.next()) {
        (not_before, not_after, None) => Some(Validity { not_before, not_after }),
        _ => None,
    }
}

/// `YYMMDDHHMMSSZ`, or with four digits for the year. RFC 5280 allows no other forms.
fn moment(tag: u8, text: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok()?;
    let digits = text.strip_suffix('Z').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    let (century, digits) = match (tag, digits.len()) {
        (UTC_TIME, 12) => (if digits < "50" { "20" } else { "19" }, digits),
        (GENERALIZED_TIME, 14) => digits.split_at(2),
        _ => return None,
    };
    let [year, month, day, hour, minute, second] = [0, 2, 4, 6, 8, 10].map(|at| digits.get(at..at + 2));
    let (year, month, day) = (year?, month?, day?);
    let (hour, minute, second) = (hour?, minute?, second?);
    Timestamp::from_rfc3339(&format!("{century}{year}-{month}-{day}T{hour}:{minute}:{second}Z"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    fn certificate(years: [i32; 2]) -> rcgen::Certificate {
        let mut params = CertificateParams::default();
        params.not_before = date_time_ymd(years[0], 2, 28);
        params.not_after = date_time_ymd(years[1], 12, 31);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap()
    }

    fn text(validity: Validity) -> [String; 2] {
        [validity.not_before, validity.not_after].map(Timestamp::rfc3339)
    }

    #[test]
    fn both_forms_of_a_time() {
        for (years, expected) in [
            ([2024, 2026], ["2024-02-28T00:00:00.000Z", "2026-12-31T00:00:00.000Z"]),
            ([1999, 2049], ["1999-02-28T00:00:00.000Z", "2049-12-31T00:00:00.000Z"]),
            ([1960, 2050], ["1970-01-01T00:00:00.000Z", "2050-12-31T00:00:00.000Z"]),
            ([2000, 9999], ["2000-02-28T00:00:00.000Z", "9999-12-31T00:00:00.000Z"]),
        ] {
            assert_eq!(text(validity(certificate(years).der()).unwrap()), expected, "{years:?}");
        }
        for (tag, broken) in [
            (UTC_TIME, "260101000000"),
            (UTC_TIME, "20260101000000Z"),
            (GENERALIZED_TIME, "260101000000Z"),
            (UTC_TIME, "261301000000Z"),
            (UTC_TIME, "26-1-1000000Z"),
        ] {
            assert_eq!(moment(tag, broken.as_bytes()), None, "{broken}");
        }
    }

    #[test]
    fn the_first_certificate_of_a_file_counts() {
        let pem = certificate([2024, 2026]).pem() + &certificate([2020, 2040]).pem();
        let path = PathBuf::from("/etc/a.crt");
        let own = OwnCertificate::of(path.clone(), &PemText::inline("cert", &pem)).unwrap().unwrap();
        assert_eq!((own.path, text(own.validity)[1].as_str()), (path.clone(), "2026-12-31T00:00:00.000Z"));
        assert!(OwnCertificate::of(path, &PemText::inline("cert", "no certificate")).is_err());
    }

    #[test]
    fn a_certificate_that_is_cut_off_anywhere_is_valid_never() {
        let der = certificate([2024, 2026]).der().to_vec();
        for end in 0..der.len() {
            assert_eq!(validity(&der[..end]), None, "{end}");
        }
        // Whatever a byte becomes, it does not panic.
        for at in 0..der.len() {
            for bit in 0..8 {
                let mut other = der.clone();
                other[at] ^= 1 << bit;
                let _ = validity(&other);
            }
        }
    }
}
