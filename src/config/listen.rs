//! Where the exporter listens, as parsed. It resolves and binds nothing.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use super::ConfigError;

/// The port of the exporter's own pages, where no other is said.
pub const WEB_PORT: u16 = 10641;

/// The port at which coturn reports to the exporter, in all examples; there is no default.
pub const STATSDB_PORT: u16 = 6390;

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// All addresses of the machine, IPv6 and IPv4 (`:10641`).
    Any {
        /// TCP port; 0 lets the system choose.
        port: u16,
    },
    /// One address (`127.0.0.1:10641`, `[::1]:10641`).
    Socket(SocketAddr),
    /// A host name, resolved when it is bound (`localhost:10641`).
    Name {
        /// The name, ASCII.
        host: String,
        /// TCP port; 0 lets the system choose.
        port: u16,
    },
}

impl FromStr for ListenAddress {
    type Err = ConfigError;

    fn from_str(value: &str) -> Result<Self, ConfigError> {
        Self::parse(value, WEB_PORT)
    }
}

impl ListenAddress {
    /// The address in `value`; `usual` is the port that an error shows in its examples.
    ///
    /// # Errors
    ///
    /// [`ConfigError::ListenAddress`].
    pub fn parse(value: &str, usual: u16) -> Result<Self, ConfigError> {
        let wrong = || ConfigError::ListenAddress { value: value.to_owned(), usual };
        if let Ok(address) = value.parse() {
            return Ok(Self::Socket(address));
        }
        let (host, port) = value.rsplit_once(':').ok_or_else(wrong)?;
        // `u16::from_str` takes a plus sign too.
        if !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong());
        }
        let port = port.parse().map_err(|_| wrong())?;
        if host.is_empty() {
            return Ok(Self::Any { port });
        }
        // Names of digits and dots only are mistyped addresses.
        let name = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
            && host.bytes().any(|byte| byte.is_ascii_alphabetic());
        if name { Ok(Self::Name { host: host.to_owned(), port }) } else { Err(wrong()) }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any { port } => write!(f, ":{port}"),
            Self::Socket(address) => address.fmt(f),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_forms_are_understood_and_shown_as_typed() {
        assert_eq!(":10641".parse::<ListenAddress>().unwrap(), ListenAddress::Any { port: 10641 });
        for typed in
            [":0", "0.0.0.0:80", "127.0.0.1:10641", "[::]:1", "[::1]:10641", "localhost:10641", "a-b.c_d:1"]
        {
            assert_eq!(typed.parse::<ListenAddress>().unwrap().to_string(), typed);
        }
    }

    #[test]
    fn anything_else_is_refused_with_an_example() {
        for typed in [
            "",
            "10641",
            ":",
            ":x",
            ":65536",
            ":+1",
            "::1:10641",
            "1.2.3:1",
            "a b:1",
            "localhost",
            "http://x:1",
        ] {
            let error = typed.parse::<ListenAddress>().unwrap_err().to_string();
            assert!(error.contains(&format!("{typed:?}")) && error.contains("127.0.0.1:10641"), "{error}");
            let error = ListenAddress::parse(typed, STATSDB_PORT).unwrap_err().to_string();
            assert!(error.contains("127.0.0.1:6390") && !error.contains("10641,"), "{error}");
        }
    }
}
