//! The value of `redis-statsdb`: words `key=value` with one blank between them. The keys of TLS are those of coturn from 4.14 on;
//! an older one refuses a line that has them.

use std::path::PathBuf;

use super::line::number;
use crate::config::error::StatsdbLineError;
use crate::config::{ClientCertificate, Secret, Tls};

/// Where coturn reports to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatsdbTarget {
    /// `ip`, which may be a name; 127.0.0.1 where it is missing.
    pub host: String,
    /// `port`; 6379 where it is missing.
    pub port: u16,
    /// `dbname`; 0 where it is missing.
    pub db: u32,
    /// `username`. coturn up to 4.6 at least logs in as the default user all the same.
    pub username: Option<String>,
    /// `password`, without which coturn does not log in.
    pub password: Option<Secret>,
    /// `connect_timeout` in seconds; 0 where coturn waits as long as the system does.
    pub connect_timeout: u64,
    /// `tls`, with the files that belong to it.
    pub tls: Option<Tls>,
}

/// The keys of TLS as far as they were read.
#[derive(Default)]
struct TlsWords {
    is_on: bool,
    ca_file: Option<PathBuf>,
    cert_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
}

impl TlsWords {
    /// Takes a word in; whether it is about TLS.
    fn take(&mut self, key: &str, value: &str) -> bool {
        let file = || (!value.is_empty()).then(|| PathBuf::from(value));
        match key {
            "tls" | "ssl" => self.is_on = matches!(value, "1" | "true" | "on" | "yes"),
            "tls-ca" | "ca" | "cacert" => self.ca_file = file(),
            "tls-cert" | "cert" => self.cert_file = file(),
            "tls-key" | "clientkey" => self.key_file = file(),
            // Of no use here: a certificate is always checked, against the host as it is written.
            "tls-capath" | "capath" | "tls-sni" | "sni" | "servername" | "tls-verify" | "verify" => {}
            _ => return false,
        }
        true
    }

    fn tls(self) -> Option<Tls> {
        let Self { is_on, ca_file, cert_file, key_file } = self;
        let client = cert_file.zip(key_file);
        let client = client.map(|(cert_file, key_file)| ClientCertificate { cert_file, key_file });
        is_on.then_some(Tls { ca_file, client })
    }
}

impl StatsdbTarget {
    pub(super) fn parse(value: &str) -> Result<Self, StatsdbLineError> {
        let host = "127.0.0.1".to_owned();
        let (username, password) = (None, None);
        let mut target = Self { host, port: 6379, db: 0, username, password, connect_timeout: 0, tls: None };
        let mut tls = TlsWords::default();
        if value.starts_with('\'') {
            return Err(StatsdbLineError::SingleQuotes);
        }
        let mut rest = value;
        let mut is_behind_password = false;
        while !rest.is_empty() {
            let (word, next) =
                rest.trim_start_matches(' ').split_once(' ').unwrap_or((rest.trim_start_matches(' '), ""));
            let Some((key, value)) = word.split_once('=') else {
                return Err(match word {
                    "" => StatsdbLineError::BlanksAtTheEnd,
                    _ if is_behind_password => StatsdbLineError::BlankInPassword,
                    _ => StatsdbLineError::Word { word: word.to_owned() },
                });
            };
            is_behind_password = false;
            match key {
                "ip" | "host" | "addr" | "ipaddr" | "hostaddr" => value.clone_into(&mut target.host),
                "dbname" | "db" | "database" => target.db = u32::try_from(number(value)).unwrap_or(0),
                "password" | "pwd" | "passwd" | "secret" => {
                    target.password = (!value.is_empty()).then(|| Secret::new(value));
                    is_behind_password = true;
                }
                "port" | "p" => {
                    target.port = u16::try_from(number(value)).ok().filter(|port| *port != 0).unwrap_or(6379);
                }
                "connect_timeout" | "timeout" => {
                    target.connect_timeout = u64::try_from(number(value)).unwrap_or(0);
                }
                "user" | "uname" | "name" | "username" => {
                    target.username = (!value.is_empty()).then(|| value.to_owned());
                }
                _ if tls.take(key, value) => {}
                _ => return Err(StatsdbLineError::Key { key: key.to_owned() }),
            }
            rest = next;
        }
        target.tls = tls.tls();
        Ok(target)
    }

    /// Its URL, without the password.
    pub fn url(&self) -> String {
        let Self { host, port, db, tls, .. } = self;
        let scheme = if tls.is_some() { "rediss" } else { "redis" };
        if host.contains(':') {
            format!("{scheme}://[{host}]:{port}/{db}")
        } else {
            format!("{scheme}://{host}:{port}/{db}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_in_any_order_and_defaults() {
        let target = StatsdbTarget::parse("host=r.example db=3 pwd=x p=6380 timeout=30").unwrap();
        let expected = StatsdbTarget {
            host: "r.example".to_owned(),
            port: 6380,
            db: 3,
            username: None,
            password: Some(Secret::new("x")),
            connect_timeout: 30,
            tls: None,
        };
        assert_eq!(target, expected);
        assert_eq!(StatsdbTarget::parse("").unwrap().url(), "redis://127.0.0.1:6379/0");
        assert_eq!(
            StatsdbTarget::parse("port=0 user=u username=v ").unwrap().port,
            6379,
            "one blank at the end is none too many"
        );
        assert_eq!(StatsdbTarget::parse("uname=u").unwrap().username.as_deref(), Some("u"));
        let shown = format!("{target:?}");
        assert!(shown.contains("***") && !shown.contains("\"x\""), "{shown}");
    }

    #[test]
    fn the_keys_of_tls_are_those_of_a_newer_coturn() {
        let tls = |value: &str| StatsdbTarget::parse(value).unwrap().tls;
        assert_eq!(tls("ip=a ca=/ca.pem"), None, "it is off");
        assert_eq!(tls("ip=a tls=0 ca=/ca.pem"), None);
        for on in ["tls=1", "ssl=yes"] {
            let files =
                format!("ip=a {on} cacert=/ca.pem tls-cert=/c.pem clientkey=/k.pem verify=peer sni=b");
            let client = ClientCertificate { cert_file: "/c.pem".into(), key_file: "/k.pem".into() };
            assert_eq!(tls(&files), Some(Tls { ca_file: Some("/ca.pem".into()), client: Some(client) }));
        }
        assert_eq!(tls("tls=1 cert=/c.pem"), Some(Tls::default()), "a certificate without its key");
        assert_eq!(StatsdbTarget::parse("ip=a tls=1").unwrap().url(), "rediss://a:6379/0");
    }

    #[test]
    fn what_coturn_refuses_is_refused() {
        let error = |value: &str| StatsdbTarget::parse(value).unwrap_err();
        assert_eq!(error("ip=a password=my secret port=1"), StatsdbLineError::BlankInPassword);
        assert_eq!(error("ip=a port=1  "), StatsdbLineError::BlanksAtTheEnd);
        assert_eq!(error("'ip=a port=1'"), StatsdbLineError::SingleQuotes);
        assert_eq!(error("127.0.0.1:6379"), StatsdbLineError::Word { word: "127.0.0.1:6379".to_owned() });
        assert_eq!(error("ip=a sssl=1"), StatsdbLineError::Key { key: "sssl".to_owned() });
        assert_eq!(error("ip=a usr=1"), StatsdbLineError::Key { key: "usr".to_owned() });
    }
}
