//! The headers that a web config file may set, and the values that they may have.

use super::WebFileError;

/// A header that may be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebHeader {
    /// What a page may load and who may show it in a frame.
    ContentSecurityPolicy,
    /// Who may show it in a frame, for older browsers.
    XFrameOptions,
    /// Whether a browser may guess what an answer is.
    XContentTypeOptions,
    /// A filter that browsers had.
    XXssProtection,
    /// Only TLS from now on.
    StrictTransportSecurity,
}

impl WebHeader {
    /// All of them, for people.
    pub(super) const NAMES: &'static str = "Content-Security-Policy, X-Frame-Options, X-Content-Type-Options, \
                                            X-XSS-Protection and Strict-Transport-Security";

    const ALL: [Self; 5] = [
        Self::ContentSecurityPolicy,
        Self::XFrameOptions,
        Self::XContentTypeOptions,
        Self::XXssProtection,
        Self::StrictTransportSecurity,
    ];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ContentSecurityPolicy => "Content-Security-Policy",
            Self::XFrameOptions => "X-Frame-Options",
            Self::XContentTypeOptions => "X-Content-Type-Options",
            Self::XXssProtection => "X-XSS-Protection",
            Self::StrictTransportSecurity => "Strict-Transport-Security",
        }
    }

    /// The header of that name, written as the others of the toolkit want it.
    pub(super) fn named(name: &str) -> Result<Self, WebFileError> {
        let found = Self::ALL.into_iter().find(|header| header.as_str() == name);
        found.ok_or_else(|| WebFileError::Header { name: name.to_owned() })
    }

    /// Whether it may have that value.
    pub(super) fn check(self, value: &str) -> Result<(), WebFileError> {
        let lower = value.to_ascii_lowercase();
        let (is_right, accepted) = match self {
            Self::XFrameOptions => (matches!(&*lower, "deny" | "sameorigin"), "write deny or sameorigin"),
            Self::XContentTypeOptions => (lower == "nosniff", "write nosniff"),
            _ => (true, ""),
        };
        let is_text = value.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte));
        if is_right && is_text {
            return Ok(());
        }
        let accepted = if is_right { "it must be one line of printable ASCII" } else { accepted };
        Err(WebFileError::HeaderValue { name: self.as_str(), value: value.to_owned(), accepted })
    }
}
