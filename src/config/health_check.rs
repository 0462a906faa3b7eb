//! What `healthcheck` asks: the web server of an exporter on this host, and for how long.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use super::web_file::WebFile;
use super::{ConfigError, ListenAddress};

/// A question to the web server of an exporter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// Whether it speaks TLS.
    pub is_tls: bool,
    /// A name or an address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// What is asked for; begins with `/`.
    pub path: String,
    /// How long all of it may take.
    pub timeout: Duration,
}

impl HealthCheck {
    /// By a URL; `probe` is the path of one that has none.
    ///
    /// # Errors
    ///
    /// [`ConfigError::HealthUrl`].
    pub fn of_url(url: &str, probe: &str, timeout: Duration) -> Result<Self, ConfigError> {
        let wrong = || ConfigError::HealthUrl;
        let (is_tls, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Err(wrong()),
        };
        let (address, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let visible = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if !visible(rest) || rest.contains(['@', '?', '#']) {
            return Err(wrong());
        }
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                let port = port.parse().ok().filter(|&port: &u16| port != 0);
                (host, port.ok_or_else(wrong)?)
            }
            _ => (address, if is_tls { 443 } else { 80 }),
        };
        let host = match host.strip_prefix('[') {
            Some(host) => {
                let host = host.strip_suffix(']').ok_or_else(wrong)?;
                host.parse::<Ipv6Addr>().map_err(|_| wrong())?.to_string()
            }
            None if host.is_empty() || host.contains(':') => return Err(wrong()),
            None => host.to_owned(),
        };
        let path = if path.len() > 1 { path } else { probe };
        Ok(Self { is_tls, host, port, path: path.to_owned(), timeout })
    }

    /// Of an exporter that listens there; one that listens on all addresses is asked over loopback.
    pub fn of_listener(address: &ListenAddress, is_tls: bool, probe: &str, timeout: Duration) -> Self {
        let (host, port) = match address {
            ListenAddress::Any { port } => (Ipv4Addr::LOCALHOST.to_string(), *port),
            ListenAddress::Name { host, port } => (host.clone(), *port),
            ListenAddress::Socket(socket) => (reachable(socket).to_string(), socket.port()),
        };
        Self { is_tls, host, port, path: probe.to_owned(), timeout }
    }
}

fn reachable(socket: &SocketAddr) -> IpAddr {
    match socket.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    }
}

impl fmt::Display for HealthCheck {
    /// The URL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{scheme}://{open}{}{close}:{}{}", self.host, self.port, self.path)
    }
}

/// Whether a web config file asks for TLS.
///
/// # Errors
///
/// [`ConfigError::WebConfigFile`]: it cannot be read, or is none.
pub fn asks_for_tls(path: &Path) -> Result<bool, ConfigError> {
    let wrong = |problem| ConfigError::WebConfigFile { path: path.to_owned(), problem };
    let text = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    WebFile::parse(&text).map(|file| file.tls.is_some()).map_err(|error| wrong(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(3);

    #[test]
    fn a_url_without_a_path_gets_that_of_the_probe() {
        for (url, shown) in [
            ("http://127.0.0.1:10641", "http://127.0.0.1:10641/-/healthy"),
            ("http://localhost/", "http://localhost:80/-/healthy"),
            ("https://[::1]:1/-/ready", "https://[::1]:1/-/ready"),
            ("https://turn.example", "https://turn.example:443/-/healthy"),
            ("https://[0:0::1]", "https://[::1]:443/-/healthy"),
        ] {
            let check = HealthCheck::of_url(url, "/-/healthy", TIMEOUT).unwrap();
            assert_eq!(check.to_string(), shown, "{url}");
        }
    }

    #[test]
    fn what_is_no_url_of_a_web_server_is_refused() {
        for url in [
            "",
            "127.0.0.1:10641",
            "ftp://a",
            "http://",
            "http://:1",
            "http://a:0",
            "http://a:x",
            "http://::1:80",
            "http://[::1",
            "http://[a]:1",
            "http://u:p@a",
            "http://a/b c",
            "http://a/?q",
        ] {
            assert!(HealthCheck::of_url(url, "/-/healthy", TIMEOUT).is_err(), "{url}");
        }
    }

    #[test]
    fn a_listener_on_all_addresses_is_asked_over_loopback() {
        for (listen, shown) in [
            (":10641", "http://127.0.0.1:10641/-/ready"),
            ("0.0.0.0:1", "http://127.0.0.1:1/-/ready"),
            ("[::]:1", "http://[::1]:1/-/ready"),
            ("10.0.0.5:2", "http://10.0.0.5:2/-/ready"),
            ("turn.example:3", "http://turn.example:3/-/ready"),
        ] {
            let address = listen.parse().unwrap();
            let check = HealthCheck::of_listener(&address, false, "/-/ready", TIMEOUT);
            assert_eq!(check.to_string(), shown, "{listen}");
        }
    }
}
