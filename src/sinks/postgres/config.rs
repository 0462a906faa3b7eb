//! Which database, from its URL. Text in, values out.

use std::fmt;
use std::path::PathBuf;

use crate::config::{Endpoint, Password, PostgresSettings, Secret};
use crate::percent;

/// The port of a server that names none.
const DEFAULT_PORT: u16 = 5432;

/// Which database, who asks, and how it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresConfig {
    pub(super) place: Place,
    pub(super) user: String,
    pub(super) password: Option<Password>,
    pub(super) database: String,
    /// `None`: without TLS.
    pub(super) tls: Option<TlsWanted>,
}

/// Where the server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Tcp(Endpoint),
    /// The folder of its Unix sockets, and its port, which is in the socket's name.
    Unix(PathBuf, u16),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(endpoint) => endpoint.fmt(f),
            Self::Unix(folder, port) => write!(f, "{}", socket(folder, *port).display()),
        }
    }
}

/// The socket of a server in a folder.
pub(super) fn socket(folder: &std::path::Path, port: u16) -> PathBuf {
    folder.join(format!(".s.PGSQL.{port}"))
}

/// What a certificate must show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verification {
    /// A CA that is trusted, and the name of the host.
    Full,
    /// A CA that is trusted.
    Ca,
    /// Nothing: whoever is in between can read along.
    None,
}

/// TLS as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TlsWanted {
    pub(super) verification: Verification,
    /// CAs that may have signed the server's certificate; `None`: those that the system trusts.
    pub(super) root_cert: Option<PathBuf>,
    /// Our certificate and its key.
    pub(super) client: Option<(PathBuf, PathBuf)>,
}

/// Why a text is no URL of a database that can be used. It shows nothing of the URL that may be a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PostgresUrlError {
    /// Another scheme, or none.
    #[error("this is no URL of a PostgreSQL; write postgres://user@host[:port]/database")]
    Scheme,
    /// Characters that end the part with the password.
    #[error(
        "user and password end before the last @ of the URL; write %40 for @, %2F for /, %3F for ? and %23 for # in each part"
    )]
    Credentials,
    /// Nobody to log in as.
    #[error("the URL of the PostgreSQL names no user; write postgres://user@host[:port]/database")]
    User,
    /// No host, or several.
    #[error(
        "the URL of the PostgreSQL names no host that can be used; write one name or address (IPv6 in brackets), or \
         ?host=/folder/of/the/socket"
    )]
    Host,
    /// A port that is none.
    #[error("the URL of the PostgreSQL has a bad port; it must be a number from 1 to 65535")]
    Port,
    /// A % that stands for nothing.
    #[error(
        "the URL of the PostgreSQL has a % without two hex digits of UTF-8 behind it; write %25 for the sign itself"
    )]
    Percent,
    /// Something behind a #.
    #[error(
        "the URL of the PostgreSQL has a #, which means nothing there; write %23 if it belongs to a name or a password"
    )]
    Fragment,
    /// A parameter that is not known.
    #[error(
        "the parameter {name} of the URL of the PostgreSQL is not known; known are host, port, sslmode, sslrootcert, sslcert \
         and sslkey"
    )]
    Parameter {
        /// Its name, if that can be shown.
        name: String,
    },
    /// A value that is not known.
    #[error("sslmode of the PostgreSQL must be verify-full, verify-ca, require or disable")]
    SslMode,
    /// One of two files.
    #[error("sslcert and sslkey of the PostgreSQL come together; give both")]
    Pair,
    /// TLS where there is none.
    #[error(
        "{name} has no effect on a connection without TLS (a Unix socket, sslmode=disable); leave it out"
    )]
    NoTls {
        /// The parameter.
        name: &'static str,
    },
    /// Two passwords.
    #[error("the URL of the PostgreSQL has a password, and so has the file; give one of them")]
    TwoPasswords,
}

/// The parameters behind the `?`.
#[derive(Default)]
struct Parameters {
    host: Option<String>,
    port: Option<u16>,
    ssl_mode: Option<String>,
    root_cert: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl PostgresConfig {
    /// Reads the URL; connects to nothing.
    ///
    /// # Errors
    ///
    /// [`PostgresUrlError`].
    pub fn new(settings: &PostgresSettings) -> Result<Self, PostgresUrlError> {
        let url = settings.url.expose();
        let (scheme, rest) = url.split_once("://").ok_or(PostgresUrlError::Scheme)?;
        if !["postgres", "postgresql"].contains(&scheme.to_ascii_lowercase().as_str()) {
            return Err(PostgresUrlError::Scheme);
        }
        let (authority, behind) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        // A password with one of these in it, or a host that is a part of one.
        if behind.contains('@') {
            return Err(PostgresUrlError::Credentials);
        }
        if behind.contains('#') {
            return Err(PostgresUrlError::Fragment);
        }
        let (login, host) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = login.split_once(':').map_or((login, None), |(user, word)| (user, Some(word)));
        let user = decoded(user)?;
        if user.is_empty() {
            return Err(PostgresUrlError::User);
        }
        let given = password.map(decoded).transpose()?.map(|word| Password::from(Secret::new(word)));
        let password = match (given, &settings.password) {
            (Some(_), Some(_)) => return Err(PostgresUrlError::TwoPasswords),
            (given, file) => given.or_else(|| file.clone()),
        };
        let (path, query) = behind.split_once('?').unwrap_or((behind, ""));
        let database = decoded(path.trim_start_matches('/'))?;
        let database = if database.is_empty() { user.clone() } else { database };
        let parameters = parameters(query)?;
        let place = place(host, &parameters)?;
        let tls = tls(&place, parameters)?;
        Ok(Self { place, user, password, database, tls })
    }
}

fn decoded(text: &str) -> Result<String, PostgresUrlError> {
    let text = percent::decode(text).and_then(|bytes| String::from_utf8(bytes).ok());
    text.filter(|text| !text.contains('\0')).ok_or(PostgresUrlError::Percent)
}

fn parameters(query: &str) -> Result<Parameters, PostgresUrlError> {
    let mut found = Parameters::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decoded(value)?;
        match name {
            "host" => found.host = Some(value),
            "port" => found.port = Some(port(&value)?),
            "sslmode" => found.ssl_mode = Some(value),
            "sslrootcert" => found.root_cert = Some(value).filter(|file| file != "system").map(PathBuf::from),
            "sslcert" => found.cert = Some(value.into()),
            "sslkey" => found.key = Some(value.into()),
            _ => {
                let is_word =
                    name.len() <= 32 && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
                let name = if is_word { name } else { "that is no plain word" };
                return Err(PostgresUrlError::Parameter { name: name.to_owned() });
            }
        }
    }
    Ok(found)
}

fn port(text: &str) -> Result<u16, PostgresUrlError> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = is_number.then(|| text.parse().ok()).flatten().filter(|port| *port != 0);
    port.ok_or(PostgresUrlError::Port)
}

fn place(authority: &str, parameters: &Parameters) -> Result<Place, PostgresUrlError> {
    let (host, after) = if let Some(rest) = authority.strip_prefix('[') {
        let (address, after) = rest.split_once(']').ok_or(PostgresUrlError::Host)?;
        address.parse::<std::net::Ipv6Addr>().map_err(|_| PostgresUrlError::Host)?;
        (address.to_owned(), after)
    } else {
        let (host, after) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
        (decoded(host)?, after)
    };
    let in_authority = match after.strip_prefix(':') {
        Some("") | None if after.len() <= 1 => None,
        Some(digits) => Some(port(digits)?),
        None => return Err(PostgresUrlError::Host),
    };
    let port = parameters.port.or(in_authority).unwrap_or(DEFAULT_PORT);
    let host = match &parameters.host {
        Some(_) if !host.is_empty() => return Err(PostgresUrlError::Host),
        Some(other) => other.clone(),
        None => host,
    };
    if host.starts_with('/') {
        return Ok(Place::Unix(host.into(), port));
    }
    let is_odd = |c: char| c.is_whitespace() || c.is_control() || ",/[]".contains(c);
    if host.is_empty() || host.contains(is_odd) {
        return Err(PostgresUrlError::Host);
    }
    Ok(Place::Tcp(Endpoint { host, port }))
}

fn tls(place: &Place, parameters: Parameters) -> Result<Option<TlsWanted>, PostgresUrlError> {
    let Parameters { ssl_mode, root_cert, cert, key, .. } = parameters;
    let verification = match (ssl_mode.as_deref(), place) {
        (Some("disable"), _) | (None, Place::Unix(..)) => None,
        (Some(_), Place::Unix(..)) => return Err(PostgresUrlError::NoTls { name: "sslmode" }),
        (Some("verify-full") | None, Place::Tcp(_)) => Some(Verification::Full),
        (Some("verify-ca"), _) => Some(Verification::Ca),
        // As libpq has it: who names a CA means it.
        (Some("require"), _) if root_cert.is_some() => Some(Verification::Ca),
        (Some("require"), _) => Some(Verification::None),
        _ => return Err(PostgresUrlError::SslMode),
    };
    let client = match (cert, key) {
        (Some(cert), Some(key)) => Some((cert, key)),
        (None, None) => None,
        _ => return Err(PostgresUrlError::Pair),
    };
    match verification {
        Some(verification) => Ok(Some(TlsWanted { verification, root_cert, client })),
        None if root_cert.is_some() => Err(PostgresUrlError::NoTls { name: "sslrootcert" }),
        None if client.is_some() => Err(PostgresUrlError::NoTls { name: "sslcert" }),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<PostgresConfig, PostgresUrlError> {
        PostgresConfig::new(&PostgresSettings { url: Secret::new(url), password: None })
    }

    #[test]
    fn what_a_url_says_is_found() {
        let full = TlsWanted { verification: Verification::Full, root_cert: None, client: None };
        let config = parse("postgres://me:p%40w@db.example:6000/led%20ger").unwrap();
        assert_eq!(config.place.to_string(), "db.example:6000");
        assert_eq!((config.user.as_str(), config.database.as_str()), ("me", "led ger"));
        assert_eq!(config.password.unwrap().current().expose(), "p@w");
        assert_eq!(config.tls, Some(full.clone()));
        for (url, place, database) in [
            ("postgresql://me@[::1]", "[::1]:5432", "me"),
            ("POSTGRES://me@h/", "h:5432", "me"),
            ("postgres://me@/db?host=/run/postgresql", "/run/postgresql/.s.PGSQL.5432", "db"),
            ("postgres://me@%2Frun%2Fpg:6000/db", "/run/pg/.s.PGSQL.6000", "db"),
            ("postgres://me@?host=h&port=7", "h:7", "me"),
        ] {
            let config = parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
            assert_eq!(
                (config.place.to_string().as_str(), config.database.as_str()),
                (place, database),
                "{url}"
            );
            assert_eq!(config.tls.is_some(), matches!(config.place, Place::Tcp(_)), "{url}");
        }
        let tls = |query: &str| parse(&format!("postgres://me@h/db?{query}")).unwrap().tls;
        assert_eq!(tls("sslmode=disable"), None);
        assert_eq!(tls("sslrootcert=system"), Some(full.clone()));
        let verification = |query| tls(query).unwrap().verification;
        assert_eq!(verification("sslmode=require"), Verification::None);
        assert_eq!(verification("sslmode=require&sslrootcert=/ca"), Verification::Ca);
        assert_eq!(verification("sslmode=verify-ca"), Verification::Ca);
        let client = Some(("/c".into(), "/k".into()));
        assert_eq!(
            tls("sslmode=verify-full&sslrootcert=/ca&sslcert=/c&sslkey=/k"),
            Some(TlsWanted { root_cert: Some("/ca".into()), client, ..full })
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        use PostgresUrlError as E;
        for (url, error) in [
            ("", E::Scheme),
            ("mysql://me@h", E::Scheme),
            ("postgres://h/db", E::User),
            ("postgres://me@", E::Host),
            ("postgres://me@a,b/db", E::Host),
            ("postgres://me@[::1", E::Host),
            ("postgres://me@a?host=/run", E::Host),
            ("postgres://me@h:0", E::Port),
            ("postgres://me@h:+1", E::Port),
            ("postgres://me@h:65536", E::Port),
            ("postgres://me@h?port=x", E::Port),
            ("postgres://me:%@h", E::Percent),
            ("postgres://me@h/d%00", E::Percent),
            ("postgres://me@h/d#x", E::Fragment),
            ("postgres://me@h?sslmode=prefer", E::SslMode),
            ("postgres://me@h?sslcert=/c", E::Pair),
            ("postgres://me@?host=/run&sslmode=require", E::NoTls { name: "sslmode" }),
            ("postgres://me@h?sslmode=disable&sslrootcert=/c", E::NoTls { name: "sslrootcert" }),
            (
                "postgres://me@h?target_session_attrs=any",
                E::Parameter { name: "target_session_attrs".to_owned() },
            ),
        ] {
            assert_eq!(parse(url).unwrap_err(), error, "{url}");
        }
        let both = PostgresSettings {
            url: Secret::new("postgres://me:a@h"),
            password: Some(Secret::new("b").into()),
        };
        assert_eq!(PostgresConfig::new(&both).unwrap_err(), E::TwoPasswords);
    }

    #[test]
    fn no_message_and_no_debug_print_shows_a_password() {
        for url in [
            "postgres://me:geheim@h?x=geheim",
            "postgres://me:ge/heim@h",
            "postgres://me:ge?heim@h",
            "postgres://me:ge#heim@h",
            "postgres://me:geheim",
            "postgres://me:geheim%@h",
            "postgres://me:x@geheim/heim@h",
            "postgres://:geheim@h",
            "postgres://me:geheim@h:x",
            "postgres://me@h?Geheim%40",
            "postgres://me@h?pass-geheim=1",
            "geheim://x",
        ] {
            let error = parse(url).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("heim"), "{url}: {error}");
        }
        let config = parse("postgres://me:geheim@h").unwrap();
        assert!(!format!("{config:?}").contains("geheim"));
    }
}
