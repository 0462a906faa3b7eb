//! A Redis to watch, from its URL. Text in, values out: it connects to nothing and knows no client library.

use std::fmt::{self, Write as _};
use std::path::PathBuf;
use std::str::FromStr;

use super::Secret;

/// The port of a Redis that names none.
const DEFAULT_PORT: u16 = 6379;

/// Where a Redis answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisAddress {
    /// Over TCP.
    Tcp {
        /// Host name or address; an IPv6 address without brackets.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// Over a unix socket.
    Unix {
        /// The socket.
        path: PathBuf,
    },
}

/// One Redis to watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisSource {
    /// The value of the `source` label: the URL in its full form without user and password,
    /// `redis://127.0.0.1:6379/0` or `unix:///run/redis.sock` (with `?db=1` where the db is not 0).
    pub name: String,
    /// Where it answers.
    pub address: RedisAddress,
    /// The db that holds coturn's keys (events come from all of them).
    pub db: u32,
    /// The ACL user; `None` is Redis' default user.
    pub username: Option<String>,
    /// The password, from the URL or from a file.
    pub password: Option<Secret>,
}

/// Why a text is not the URL of a Redis. The URLs in it have lost their user and password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedisUrlError {
    /// Another scheme, or none.
    #[error(
        "{url:?} is not a Redis URL; write redis://[user:password@]host[:port][/db] or unix:///path/to/socket[?db=1]"
    )]
    Scheme {
        /// The URL.
        url: String,
    },
    /// A connection with TLS.
    #[error(
        "{url:?} asks for TLS, which this build cannot do; use redis:// or unix://, or a TLS tunnel on this host"
    )]
    Tls {
        /// The URL.
        url: String,
    },
    /// No host, or a malformed one.
    #[error("{url:?} names no valid host; write redis://host[:port][/db], IPv6 addresses in brackets")]
    Host {
        /// The URL.
        url: String,
    },
    /// A port that is none.
    #[error(
        "{url:?} has a bad port; it must be a number from 1 to 65535, as in redis://[user:password@]host[:port][/db]"
    )]
    Port {
        /// The URL.
        url: String,
    },
    /// A db that is none.
    #[error(
        "{url:?} has a bad db; it must be a whole number, for example redis://host/2 or unix:///path?db=2"
    )]
    Db {
        /// The URL.
        url: String,
    },
    /// A socket path that is not absolute, or a host beside it.
    #[error("{url:?} names no socket by its absolute path; write unix:///path/to/socket")]
    Socket {
        /// The URL.
        url: String,
    },
    /// A parameter nobody knows.
    #[error("{url:?} has a part after ? or # that is not known; only unix:// takes any: db, user and pass")]
    Parameter {
        /// The URL.
        url: String,
    },
    /// A broken percent sign.
    #[error(
        "{url:?} has a % that is not followed by two hex digits, or makes no UTF-8; write %25 for a % itself"
    )]
    Percent {
        /// The URL.
        url: String,
    },
}

impl FromStr for RedisSource {
    type Err = RedisUrlError;

    fn from_str(url: &str) -> Result<Self, RedisUrlError> {
        let shown = without_credentials(url);
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(RedisUrlError::Scheme { url: shown });
        };
        match scheme.to_ascii_lowercase().as_str() {
            "redis" => tcp(rest, shown),
            "unix" | "redis+unix" => unix(rest, shown),
            "rediss" => Err(RedisUrlError::Tls { url: shown }),
            _ => Err(RedisUrlError::Scheme { url: shown }),
        }
    }
}

fn tcp(rest: &str, url: String) -> Result<RedisSource, RedisUrlError> {
    // The last @ ends the credentials, so that a password may hold / ? # and @ as they are.
    let (credentials, place) = match rest.rsplit_once('@') {
        Some((credentials, place)) => (Some(credentials), place),
        None => (None, rest),
    };
    if place.contains(['?', '#']) {
        return Err(RedisUrlError::Parameter { url });
    }
    let (authority, path) = place.split_once('/').unwrap_or((place, ""));
    let (host, port) = match authority.strip_prefix('[') {
        Some(bracketed) => match bracketed.split_once(']') {
            Some((host, port)) if host.parse::<std::net::Ipv6Addr>().is_ok() => (host, port),
            _ => return Err(RedisUrlError::Host { url }),
        },
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let port = match port.strip_prefix(':') {
        Some(digits) => {
            number(digits).filter(|port| *port != 0).ok_or(RedisUrlError::Port { url: url.clone() })?
        }
        None if port.is_empty() => DEFAULT_PORT,
        None => return Err(RedisUrlError::Port { url }),
    };
    let host = host.to_ascii_lowercase();
    if host.is_empty() || !host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte)) {
        return Err(RedisUrlError::Host { url });
    }
    let db = match path {
        "" => 0,
        digits => number(digits).ok_or(RedisUrlError::Db { url: url.clone() })?,
    };
    let (username, password) = credentials.map_or(Ok((None, None)), |text| login(text, &url))?;
    let brackets = if host.contains(':') { ("[", "]") } else { ("", "") };
    let name = format!("redis://{}{host}{}:{port}/{db}", brackets.0, brackets.1);
    Ok(RedisSource { name, address: RedisAddress::Tcp { host, port }, db, username, password })
}

fn unix(rest: &str, url: String) -> Result<RedisSource, RedisUrlError> {
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (credentials, raw_path) = place.split_at(place.find('/').unwrap_or(place.len()));
    let (mut username, mut password) = match credentials.strip_suffix('@') {
        Some(text) => login(text, &url)?,
        None if credentials.is_empty() => (None, None),
        None => return Err(RedisUrlError::Socket { url }),
    };
    let percent = || RedisUrlError::Percent { url: url.clone() };
    let path = decode(raw_path).ok_or_else(percent)?;
    if path.len() < 2 || path.contains('\0') {
        return Err(RedisUrlError::Socket { url });
    }
    let mut db = 0;
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match key {
            "db" => db = number(value).ok_or(RedisUrlError::Db { url: url.clone() })?,
            "user" => username = filled(decode(value).ok_or_else(percent)?),
            "pass" => password = filled(decode(value).ok_or_else(percent)?).map(Secret::new),
            _ => return Err(RedisUrlError::Parameter { url }),
        }
    }
    let mut name = format!("unix://{raw_path}");
    if db != 0 {
        // Writing to a string cannot fail.
        let _ = write!(name, "?db={db}");
    }
    Ok(RedisSource { name, address: RedisAddress::Unix { path: path.into() }, db, username, password })
}

/// User and password of `user:password`, either of which may be missing.
fn login(text: &str, url: &str) -> Result<(Option<String>, Option<Secret>), RedisUrlError> {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    let decoded = |part| decode(part).ok_or_else(|| RedisUrlError::Percent { url: url.to_owned() });
    Ok((filled(decoded(user)?), filled(decoded(password)?).map(Secret::new)))
}

fn filled(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// A number of digits only: `FromStr` would take a plus sign too.
fn number<T: FromStr>(digits: &str) -> Option<T> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

/// `%41` becomes `A`; `None` for half an escape or for what is not UTF-8 then.
fn decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(if byte == b'%' { hex(bytes.next()?)? * 16 + hex(bytes.next()?)? } else { byte });
    }
    String::from_utf8(decoded).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// `text` with all that may be a user or password in its URL replaced by `***`, for messages.
///
/// Errs on the side of hiding: from `://` to the last `@`, what stands in the place of a port but is none (the host may
/// have been forgotten), and parameters that name a user or password.
pub fn without_credentials(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    if let Some((_, place)) = rest.rsplit_once('@') {
        return format!("{scheme}://***@{}", without_login_parameters(place));
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') && number::<u64>(port).is_none() => {
            format!("{scheme}://{host}:***")
        }
        _ => format!("{scheme}://{}", without_login_parameters(rest)),
    }
}

fn without_login_parameters(place: &str) -> String {
    match place.split_once('?') {
        Some((place, query)) if query.contains("pass") || query.contains("user") => format!("{place}?***"),
        _ => place.to_owned(),
    }
}

impl fmt::Display for RedisSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> RedisSource {
        url.parse().unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    #[test]
    fn tcp_urls_in_every_form() {
        for (url, name, host, port, db) in [
            ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0", "127.0.0.1", 6379, 0),
            ("redis://Redis.example", "redis://redis.example:6379/0", "redis.example", 6379, 0),
            ("REDIS://h:7/", "redis://h:7/0", "h", 7, 0),
            ("redis://[::1]:7/13", "redis://[::1]:7/13", "::1", 7, 13),
            ("redis://[::1]", "redis://[::1]:6379/0", "::1", 6379, 0),
            ("redis://u:p@h/2", "redis://h:6379/2", "h", 6379, 2),
        ] {
            let source = parse(url);
            assert_eq!(source.name, name, "{url}");
            assert_eq!(source.address, RedisAddress::Tcp { host: host.to_owned(), port }, "{url}");
            assert_eq!(source.db, db, "{url}");
        }
    }

    #[test]
    fn unix_urls_in_every_form() {
        let source = parse("unix:///run/redis.sock");
        assert_eq!(source.name, "unix:///run/redis.sock");
        assert_eq!(source.address, RedisAddress::Unix { path: "/run/redis.sock".into() });
        let source = parse("redis+unix://u:p%20w@/run/a%20b?db=3");
        assert_eq!((source.name.as_str(), source.db), ("unix:///run/a%20b?db=3", 3));
        assert_eq!(source.address, RedisAddress::Unix { path: "/run/a b".into() });
        assert_eq!((source.username.as_deref(), source.password), (Some("u"), Some(Secret::new("p w"))));
        let source = parse("unix:///s?user=u&pass=a%26b&db=0");
        assert_eq!(source.name, "unix:///s");
        assert_eq!((source.username.as_deref(), source.password), (Some("u"), Some(Secret::new("a&b"))));
    }

    #[test]
    fn user_and_password_may_be_odd_or_missing() {
        for (url, user, password) in [
            ("redis://h", None, None),
            ("redis://:pw@h", None, Some("pw")),
            ("redis://user@h", Some("user"), None),
            ("redis://us%3Aer:p%40w%2F@h", Some("us:er"), Some("p@w/")),
            ("redis://u:p@w/x?y#z:1@h:1/2", Some("u"), Some("p@w/x?y#z:1")),
        ] {
            let source = parse(url);
            assert_eq!(source.username.as_deref(), user, "{url}");
            assert_eq!(source.password.as_ref().map(Secret::expose), password, "{url}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        use RedisUrlError as E;
        let error = |url: &str| url.parse::<RedisSource>().unwrap_err();
        assert!(matches!(error(""), E::Scheme { .. }));
        assert!(matches!(error("127.0.0.1:6379"), E::Scheme { .. }));
        assert!(matches!(error("http://h"), E::Scheme { .. }));
        assert!(matches!(error("rediss://h"), E::Tls { .. }));
        for url in [
            "redis://",
            "redis:///0",
            "redis://:6379",
            "redis://a b",
            "redis://[::1",
            "redis://[x]:1",
            "redis://h\n",
        ] {
            assert!(matches!(error(url), E::Host { .. }), "{url}: {}", error(url));
        }
        for url in [
            "redis://h:",
            "redis://h:x",
            "redis://h:0",
            "redis://h:65536",
            "redis://h:+1",
            "redis://::1",
            "redis://[::1]x",
        ] {
            assert!(matches!(error(url), E::Port { .. }), "{url}: {}", error(url));
        }
        for url in ["redis://h/x", "redis://h/-1", "redis://h/1/2", "redis://h/99999999999", "unix:///s?db=x"]
        {
            assert!(matches!(error(url), E::Db { .. }), "{url}: {}", error(url));
        }
        for url in ["unix://", "unix:///", "unix://run/redis.sock", "unix:///a%00b"] {
            assert!(matches!(error(url), E::Socket { .. }), "{url}: {}", error(url));
        }
        for url in ["redis://h?db=1", "redis://h#x", "redis://h/0?protocol=resp3", "unix:///s?x=1"] {
            assert!(matches!(error(url), E::Parameter { .. }), "{url}: {}", error(url));
        }
        for url in ["redis://:%@h", "redis://:%4@h", "redis://:%zz@h", "redis://:%ff@h", "unix:///%"] {
            assert!(matches!(error(url), E::Percent { .. }), "{url}: {}", error(url));
        }
    }

    #[test]
    fn no_message_and_no_debug_print_shows_a_password() {
        for url in [
            "rediss://user:geheim@h",
            "http://user:geheim@h",
            "redis://user:geheim@h:x",
            "redis://user:geheim@h/x",
            "redis://user:geheim%@h",
            "redis://user:gehe/geheim@:1",
            "unix://user:geheim@/s?x=1",
            "unix:///s?pass=geheim&x=1",
            "unix:///s?pass=geheim%",
            "redis://:geheim",
            "redis://h:geheim/1",
            "redis://:x/geheim",
        ] {
            let error = url.parse::<RedisSource>().unwrap_err();
            assert!(!format!("{error} {error:?}").contains("gehe"), "{error}");
        }
        let source = parse("redis://user:geheim@h");
        assert!(!format!("{source} {source:?}").contains("geheim"));
    }
}
