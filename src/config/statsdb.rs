//! The listener that coturn reports to straight away, without a Redis. Values only: it binds nothing.

use std::path::PathBuf;

use super::{ConfigError, ListenAddress, Password, RedisSource};

/// Where coturn reports to, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statsdb {
    /// The value of the `source` label: `statsdb://` and the address.
    pub name: String,
    /// Where to listen.
    pub listen: ListenAddress,
    /// Take the socket from systemd, which listens there.
    pub systemd_socket: bool,
    /// What coturn must say first, if anything.
    pub password: Option<Password>,
    /// TLS, if it is to be spoken.
    pub tls: Option<ServerCertificate>,
    /// Connections open at one time; at least 1.
    pub max_connections: usize,
    /// Something on the way may close connections of a coturn that lives: a closed one says nothing about it.
    pub is_behind_proxy: bool,
    /// A Redis that gets all of it too.
    pub forward: Option<RedisSource>,
}

/// What we show to clients. The files are read again when they change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerCertificate {
    /// The certificate, then those of the CAs between it and the root, if any.
    pub cert_file: PathBuf,
    /// Its key, not encrypted.
    pub key_file: PathBuf,
}

impl Statsdb {
    /// Whether it may be listened like that: for others than this host only with a password, or `open` to all by will.
    ///
    /// # Errors
    ///
    /// [`ConfigError::StatsdbOpen`].
    pub fn checked(self, open: bool) -> Result<Self, ConfigError> {
        let is_local = match &self.listen {
            ListenAddress::Any { .. } => false,
            ListenAddress::Socket(address) => address.ip().is_loopback(),
            ListenAddress::Name { host, .. } => host == "localhost",
        };
        if is_local || self.password.is_some() || open {
            Ok(self)
        } else {
            Err(ConfigError::StatsdbOpen { address: self.listen.to_string() })
        }
    }
}

/// The certificate, if both of its files are given, or none.
///
/// # Errors
///
/// [`ConfigError::StatsdbPair`].
pub fn server_certificate(
    cert_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
) -> Result<Option<ServerCertificate>, ConfigError> {
    match (cert_file, key_file) {
        (Some(cert_file), Some(key_file)) => Ok(Some(ServerCertificate { cert_file, key_file })),
        (None, None) => Ok(None),
        _ => Err(ConfigError::StatsdbPair),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    #[test]
    fn others_than_this_host_need_a_password_or_our_will() {
        let statsdb = |listen: &str, password: Option<&str>| Statsdb {
            name: String::new(),
            listen: listen.parse().unwrap(),
            systemd_socket: false,
            password: password.map(|password| Secret::new(password).into()),
            tls: None,
            max_connections: 1,
            is_behind_proxy: false,
            forward: None,
        };
        for listen in ["127.0.0.1:6390", "[::1]:6390", "127.9.9.9:6390", "localhost:6390"] {
            assert!(statsdb(listen, None).checked(false).is_ok(), "{listen}");
        }
        for listen in ["0.0.0.0:6390", ":6390", "192.0.2.1:6390", "[::]:6390", "turn.example:6390"] {
            let refused = statsdb(listen, None).checked(false).unwrap_err();
            assert!(matches!(refused, ConfigError::StatsdbOpen { .. }), "{listen}");
            assert!(statsdb(listen, Some("secret")).checked(false).is_ok(), "{listen}");
            assert!(statsdb(listen, None).checked(true).is_ok(), "{listen}");
        }
    }

    #[test]
    fn a_certificate_and_its_key_come_together() {
        let file = |name: &str| Some(PathBuf::from(name));
        assert!(server_certificate(file("c"), file("k")).unwrap().is_some());
        assert!(server_certificate(None, None).unwrap().is_none());
        assert!(matches!(server_certificate(file("c"), None), Err(ConfigError::StatsdbPair)));
        assert!(matches!(server_certificate(None, file("k")), Err(ConfigError::StatsdbPair)));
    }
}
