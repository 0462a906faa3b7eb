//! The headers of Standard Webhooks: an id, a moment, and a signature over both and the body.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use ring::hmac;

use super::error::WebhookError;

/// Base64 with or without its padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The keys in the lines of a secret file: `whsec_` and base64, or the key itself as text.
///
/// # Errors
///
/// [`WebhookError::Secret`] with the number of a line that begins with `whsec_` and does not go on in base64.
pub(super) fn keys(lines: &str) -> Result<Vec<hmac::Key>, WebhookError> {
    let numbered = (1..).zip(lines.lines().map(str::trim)).filter(|(_, line)| !line.is_empty());
    let key = |(number, line): (usize, &str)| match line.strip_prefix("whsec_") {
        None => Ok(hmac::Key::new(hmac::HMAC_SHA256, line.as_bytes())),
        Some(encoded) => match LENIENT.decode(encoded) {
            Ok(key) if !key.is_empty() => Ok(hmac::Key::new(hmac::HMAC_SHA256, &key)),
            _ => Err(WebhookError::Secret { line: number }),
        },
    };
    numbered.map(key).collect()
}

/// The header `webhook-signature`: one signature of each key, so that a receiver may have any of them.
pub(super) fn sign(keys: &[hmac::Key], id: &str, seconds: u64, body: &[u8]) -> String {
    let mut signed = format!("{id}.{seconds}.").into_bytes();
    signed.extend_from_slice(body);
    let signature = |key| format!("v1,{}", STANDARD.encode(hmac::sign(key, &signed)));
    keys.iter().map(signature).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published example of the specification, and of its reference libraries.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    #[test]
    fn the_example_of_the_specification() {
        assert_eq!(sign(&keys(SECRET).unwrap(), ID, 1_614_265_330, BODY), SIGNATURE);
    }

    #[test]
    fn each_line_signs_and_blank_ones_do_not() {
        let both = sign(&keys(&format!("\n {SECRET} \r\n\nplain text\n")).unwrap(), ID, 1_614_265_330, BODY);
        let (first, second) = both.split_once(' ').unwrap();
        assert_eq!(first, SIGNATURE);
        assert_eq!(second, sign(&keys("plain text").unwrap(), ID, 1_614_265_330, BODY));
        assert_ne!(first, second);
    }

    #[test]
    fn padding_may_be_left_out_and_other_characters_may_not_be_there() {
        assert_eq!(keys("whsec_YWI=\nwhsec_YWI").unwrap().len(), 2);
        for (lines, wrong) in [("a\nwhsec_!!", 2), ("whsec_", 1)] {
            let error = keys(lines).unwrap_err();
            assert!(matches!(error, WebhookError::Secret { line } if line == wrong), "{error}");
            assert!(!error.to_string().contains("!!"), "{error}");
        }
    }
}
