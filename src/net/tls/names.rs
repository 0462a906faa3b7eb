//! The alternative names in a certificate: walks the DER as far as they need, and fails where it is not as it should be.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::der::{DerFields, SEQUENCE, expect, only};

/// `id-ce-subjectAltName`, 2.5.29.17.
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];

const EXTENSIONS: u8 = 0xa3;
const OBJECT_IDENTIFIER: u8 = 0x06;
const BOOLEAN: u8 = 0x01;
const OCTETS: u8 = 0x04;
const EMAIL: u8 = 0x81;
const DNS: u8 = 0x82;
const URI: u8 = 0x86;
const ADDRESS: u8 = 0x87;

/// DNS names, e-mail addresses, URIs and addresses, as text; `None` where the certificate is none.
pub(super) fn alternative_names(certificate: &[u8]) -> Option<Vec<String>> {
    let certificate = only(certificate, SEQUENCE)?;
    let (to_be_signed, _) = expect(certificate, SEQUENCE)?;
    for field in DerFields(to_be_signed) {
        let (tag, content) = field?;
        if tag == EXTENSIONS {
            return names_among(only(content, SEQUENCE)?);
        }
    }
    Some(Vec::new())
}

fn names_among(extensions: &[u8]) -> Option<Vec<String>> {
    for extension in DerFields(extensions) {
        let (tag, extension) = extension?;
        let (id, rest) = expect(extension, OBJECT_IDENTIFIER)?;
        if tag != SEQUENCE || id != ALTERNATIVE_NAMES {
            continue;
        }
        // Whether it is critical.
        let rest = expect(rest, BOOLEAN).map_or(rest, |(_, rest)| rest);
        let names = only(only(rest, OCTETS)?, SEQUENCE)?;
        let mut found = Vec::new();
        for name in DerFields(names) {
            let (tag, name) = name?;
            found.extend(text_of(tag, name)?);
        }
        return Some(found);
    }
    Some(Vec::new())
}

/// A name as text: `Some(None)` for those of a kind that nobody can allow.
#[expect(clippy::option_option, reason = "a name that is broken is not one that is passed over")]
fn text_of(tag: u8, name: &[u8]) -> Option<Option<String>> {
    match tag {
        EMAIL | DNS | URI => Some(Some(std::str::from_utf8(name).ok()?.to_owned())),
        ADDRESS => {
            let v4 = <[u8; 4]>::try_from(name).map(|octets| Ipv4Addr::from(octets).to_string());
            let v6 = || <[u8; 16]>::try_from(name).map(|octets| Ipv6Addr::from(octets).to_string());
            v4.or_else(|_| v6()).ok().map(Some)
        }
        _ => Some(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, SanType, string::Ia5String};

    fn certificate(names: Vec<SanType>) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn names_of_each_kind() {
        let text = |text: &str| Ia5String::try_from(text).unwrap();
        let der = certificate(vec![
            SanType::DnsName(text("prometheus.example")),
            SanType::IpAddress("192.0.2.1".parse().unwrap()),
            SanType::IpAddress("2001:db8::1".parse().unwrap()),
            SanType::Rfc822Name(text("ops@example")),
            SanType::URI(text("spiffe://example/prometheus")),
        ]);
        let expected =
            ["prometheus.example", "192.0.2.1", "2001:db8::1", "ops@example", "spiffe://example/prometheus"];
        assert_eq!(alternative_names(&der).unwrap(), expected);
        assert_eq!(alternative_names(&certificate(vec![])).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_certificate_that_is_cut_off_anywhere_has_no_names() {
        let der = certificate(vec![SanType::DnsName(Ia5String::try_from("a.example").unwrap())]);
        for end in 0..der.len() {
            assert_eq!(alternative_names(&der[..end]), None, "{end}");
        }
        // Whatever a byte becomes, it does not panic.
        for at in 0..der.len() {
            for bit in 0..8 {
                let mut other = der.clone();
                other[at] ^= 1 << bit;
                let _ = alternative_names(&other);
            }
        }
    }
}
