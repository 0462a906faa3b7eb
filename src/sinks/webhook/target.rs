//! The URL of a web hook, taken apart. Its path and its login may be secrets: neither is shown by `Debug` or in an error.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Uri;
use hyper::header::HeaderValue;

use super::error::WebhookError;
use crate::percent;

/// Where events go.
pub(super) struct Target {
    pub(super) is_tls: bool,
    /// A name or an address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// The header `Host`.
    pub(super) authority: HeaderValue,
    /// Path and query.
    pub(super) path: Uri,
    /// The header `Authorization`, where the URL has a login.
    pub(super) authorization: Option<HeaderValue>,
}

impl Target {
    /// Takes a URL apart.
    ///
    /// # Errors
    ///
    /// [`WebhookError::Url`], without what may be secret.
    pub(super) fn parse(url: &str) -> Result<Self, WebhookError> {
        let wrong = |what: &'static str| WebhookError::Url { what };
        let scheme = wrong("it begins with neither http:// nor https://");
        let (is_tls, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Err(scheme),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (login, address) = match authority.rsplit_once('@') {
            Some((login, address)) => (Some(login), address),
            None => (None, authority),
        };
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                let port = port.parse().ok().filter(|&port: &u16| port != 0);
                (host, port.ok_or_else(|| wrong("its port is not a number from 1 to 65535"))?)
            }
            _ => (address, if is_tls { 443 } else { 80 }),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() {
            return Err(wrong("it has no host"));
        }
        let path = path.split('#').next().unwrap_or_default();
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self {
            is_tls,
            host: host.to_ascii_lowercase(),
            port,
            authority: HeaderValue::from_str(address).map_err(|_| wrong("its host is not a name"))?,
            path: path.parse().map_err(|_| wrong("its path has characters that must be percent-encoded"))?,
            authorization: login.map(basic).transpose()?,
        })
    }
}

fn basic(login: &str) -> Result<HeaderValue, WebhookError> {
    let wrong = || WebhookError::Url { what: "a % in its login is not followed by two hexadecimal digits" };
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let mut plain = percent::decode(user).ok_or_else(wrong)?;
    plain.push(b':');
    plain.extend(percent::decode(password).ok_or_else(wrong)?);
    let text = format!("Basic {}", STANDARD.encode(plain));
    let mut header = HeaderValue::from_str(&text).map_err(|_| wrong())?;
    header.set_sensitive(true);
    Ok(header)
}

impl fmt::Display for Target {
    /// Host and port.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_url() {
        for (url, shown, is_tls, path, authority) in [
            ("http://a", "a:80", false, "/", "a"),
            ("https://A.example/", "a.example:443", true, "/", "A.example"),
            ("https://a:8443/x/y?k=v#f", "a:8443", true, "/x/y?k=v", "a:8443"),
            ("http://a?k=v", "a:80", false, "/?k=v", "a"),
            ("http://[::1]:9/z", "[::1]:9", false, "/z", "[::1]:9"),
            ("https://[fe80::1]", "[fe80::1]:443", true, "/", "[fe80::1]"),
        ] {
            let target = Target::parse(url).unwrap();
            assert_eq!(target.to_string(), shown, "{url}");
            assert_eq!(target.is_tls, is_tls, "{url}");
            assert_eq!(target.path.to_string(), path, "{url}");
            assert_eq!(target.authority, authority, "{url}");
            assert_eq!(target.authorization, None, "{url}");
        }
    }

    #[test]
    fn a_login_becomes_basic_authentication_and_is_not_shown() {
        let target = Target::parse("http://us%40er:p%3Ass@host:1/secret").unwrap();
        // `us@er:p:ss`
        assert_eq!(target.authorization.as_ref().unwrap(), "Basic dXNAZXI6cDpzcw==");
        assert_eq!(format!("{target:?} {target}"), "Target(host:1) host:1");
        assert_eq!(target.authority, "host:1");
    }

    #[test]
    fn what_is_no_url_is_refused_without_being_shown() {
        for url in [
            "ftp://geheim/",
            "geheim",
            "http://",
            "http://user:geheim@/",
            "http://host:0/geheim",
            "http://host:70000/geheim",
            "http://host/geheim here",
            "http://%zz:geheim@host/",
        ] {
            let error = Target::parse(url).unwrap_err().to_string();
            assert!(error.contains("--events.url") && !error.contains("geheim"), "{url}: {error}");
        }
    }
}
