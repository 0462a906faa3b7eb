//! The path of the page, as parsed.

use std::str::FromStr;

use super::ConfigError;

/// The path that the page is served on: `/metrics` by default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TelemetryPath(String);

impl TelemetryPath {
    /// The path, beginning with `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for TelemetryPath {
    fn default() -> Self {
        Self("/metrics".to_owned())
    }
}

impl FromStr for TelemetryPath {
    type Err = ConfigError;

    fn from_str(value: &str) -> Result<Self, ConfigError> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@%/".contains(&byte);
        // A link to `//name` would lead to another host; below `/-/` are the health checks, the others are the details'.
        let taken = ["//", "/-/", "/api/v1/", "/allocations", "/sessions"];
        let is_taken = value == "/-" || taken.iter().any(|prefix| value.starts_with(prefix));
        if value.starts_with('/') && !is_taken && value.bytes().all(is_plain) {
            Ok(Self(value.to_owned()))
        } else {
            Err(ConfigError::TelemetryPath { value: value.to_owned() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_plain_and_leave_the_health_checks_alone() {
        for good in ["/", "/metrics", "/a/b-c_d.e~f", "/%20", "/-x"] {
            assert_eq!(good.parse::<TelemetryPath>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            "metrics",
            "/a b",
            "/a?b",
            "/a#b",
            "/\n",
            "/é",
            "//evil.example",
            "/\"",
            "/a\\b",
            "/-",
            "/-/",
            "/-/ready",
            "/api/v1/sessions",
            "/allocations",
            "/allocations.js",
            "/sessions",
        ] {
            let error = bad.parse::<TelemetryPath>().unwrap_err();
            assert!(matches!(error, ConfigError::TelemetryPath { .. }), "{bad}: {error}");
        }
    }
}
