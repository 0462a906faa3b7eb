//! A Redis to watch, from its URL. Text in, values out: it connects to nothing and knows no client library.

use std::fmt::Write as _;
use std::str::FromStr;

use super::error::RedisUrlError;
use super::redis_source::{Endpoint, RedisAddress, RedisSource, Sentinels, Tls};
use super::secret::{Password, Secret};
use crate::percent;

/// The port of a Redis that names none.
const DEFAULT_PORT: u16 = 6379;

/// The port of a sentinel that names none.
const SENTINEL_PORT: u16 = 26379;

impl FromStr for RedisSource {
    type Err = RedisUrlError;

    fn from_str(url: &str) -> Result<Self, RedisUrlError> {
        let shown = without_credentials(url);
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(RedisUrlError::Scheme { url: shown });
        };
        // No URL has one, and in a message nothing shows where such a URL ends.
        if url.contains(|letter: char| letter.is_whitespace() || letter.is_control()) {
            return Err(RedisUrlError::Blank { url: shown });
        }
        match scheme.to_ascii_lowercase().as_str() {
            "redis" | "valkey" => tcp(rest, None, shown),
            "rediss" | "valkeys" => tcp(rest, Some(Tls::default()), shown),
            "unix" | "redis+unix" => unix(rest, shown),
            "redis+sentinel" => sentinel(rest, None, shown),
            "rediss+sentinel" => sentinel(rest, Some(Tls::default()), shown),
            _ => Err(RedisUrlError::Scheme { url: shown }),
        }
    }
}

fn tcp(rest: &str, tls: Option<Tls>, url: String) -> Result<RedisSource, RedisUrlError> {
    let (credentials, place) = cut_credentials(rest);
    if place.contains(['?', '#']) {
        return Err(RedisUrlError::Parameter { url });
    }
    let (authority, path) = place.split_once('/').unwrap_or((place, ""));
    let endpoint = endpoint(authority, DEFAULT_PORT, &url)?;
    let db = db(path, &url)?;
    let (username, password) = login(credentials, &url)?;
    let name = format!("{}://{endpoint}/{db}", if tls.is_some() { "rediss" } else { "redis" });
    Ok(RedisSource { name, address: RedisAddress::Tcp(endpoint), tls, db, username, password })
}

fn sentinel(rest: &str, tls: Option<Tls>, url: String) -> Result<RedisSource, RedisUrlError> {
    // The parameters first: a password among them may hold an @.
    let (rest, query) = match rest.split_once("?sentinel-") {
        Some((rest, query)) => (rest, format!("sentinel-{query}")),
        None => (rest, String::new()),
    };
    let (credentials, place) = cut_credentials(rest);
    if place.contains(['?', '#']) {
        return Err(RedisUrlError::Parameter { url });
    }
    let (hosts, path) = place.split_once('/').unwrap_or((place, ""));
    let endpoints = hosts.split(',').map(|host| endpoint(host, SENTINEL_PORT, &url));
    let endpoints = endpoints.collect::<Result<Vec<_>, _>>()?;
    let (master, path) = path.split_once('/').unwrap_or((path, ""));
    // The letters that a sentinel takes, too.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    if master.is_empty() || !master.bytes().all(is_plain) {
        return Err(RedisUrlError::Master { url });
    }
    let db = db(path, &url)?;
    let (username, password) = login(credentials, &url)?;
    let scheme = if tls.is_some() { "rediss+sentinel" } else { "redis+sentinel" };
    let hosts = endpoints.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let name = format!("{scheme}://{hosts}/{master}/{db}");
    let mut sentinels = Sentinels { endpoints, master: master.to_owned(), username: None, password: None };
    for (key, value) in parameters(&query) {
        let value = filled(decode(value).ok_or_else(|| RedisUrlError::Percent { url: url.clone() })?);
        match key {
            "sentinel-user" => sentinels.username = value,
            "sentinel-pass" => sentinels.password = value.map(fixed),
            _ => return Err(RedisUrlError::Parameter { url }),
        }
    }
    Ok(RedisSource { name, address: RedisAddress::Sentinel(sentinels), tls, db, username, password })
}

fn fixed(password: String) -> Password {
    Secret::new(password).into()
}

/// The last @ ends the credentials, so that a password may hold / ? # and @ as they are.
fn cut_credentials(rest: &str) -> (&str, &str) {
    rest.rsplit_once('@').unwrap_or(("", rest))
}

fn endpoint(text: &str, default_port: u16, url: &str) -> Result<Endpoint, RedisUrlError> {
    let bad_host = || RedisUrlError::Host { url: url.to_owned() };
    let bad_port = || RedisUrlError::Port { url: url.to_owned() };
    let (host, port) = match text.strip_prefix('[') {
        Some(bracketed) => match bracketed.split_once(']') {
            Some((host, port)) if host.parse::<std::net::Ipv6Addr>().is_ok() => (host, port),
            _ => return Err(bad_host()),
        },
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let port = match port.strip_prefix(':') {
        Some(digits) => number(digits).filter(|port| *port != 0).ok_or_else(bad_port)?,
        None if port.is_empty() => default_port,
        None => return Err(bad_port()),
    };
    let host = host.to_ascii_lowercase();
    if host.is_empty() || !host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte)) {
        return Err(bad_host());
    }
    Ok(Endpoint { host, port })
}

fn db(digits: &str, url: &str) -> Result<u32, RedisUrlError> {
    if digits.is_empty() {
        return Ok(0);
    }
    number(digits).ok_or_else(|| RedisUrlError::Db { url: url.to_owned() })
}

fn parameters(query: &str) -> impl Iterator<Item = (&str, &str)> {
    let given = query.split('&').filter(|parameter| !parameter.is_empty());
    given.map(|parameter| parameter.split_once('=').unwrap_or((parameter, "")))
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
    for (key, value) in parameters(query) {
        match key {
            "db" => db = number(value).ok_or(RedisUrlError::Db { url: url.clone() })?,
            "user" => username = filled(decode(value).ok_or_else(percent)?),
            "pass" => password = filled(decode(value).ok_or_else(percent)?).map(fixed),
            _ => return Err(RedisUrlError::Parameter { url }),
        }
    }
    let mut name = format!("unix://{raw_path}");
    if db != 0 {
        // Writing to a string cannot fail.
        let _ = write!(name, "?db={db}");
    }
    let address = RedisAddress::Unix { path: path.into() };
    Ok(RedisSource { name, address, tls: None, db, username, password })
}

/// User and password of `user:password`, either of which may be missing.
fn login(text: &str, url: &str) -> Result<(Option<String>, Option<Password>), RedisUrlError> {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    let decoded = |part| decode(part).ok_or_else(|| RedisUrlError::Percent { url: url.to_owned() });
    Ok((filled(decoded(user)?), filled(decoded(password)?).map(fixed)))
}

fn filled(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// A number of digits only: `FromStr` would take a plus sign too.
fn number<T: FromStr>(digits: &str) -> Option<T> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

/// `None` for half an escape or for what is not UTF-8 once it is decoded.
fn decode(text: &str) -> Option<String> {
    String::from_utf8(percent::decode(text)?).ok()
}

/// The URLs of a list, which commas separate; commas between sentinels are part of their URL.
pub fn split_list(list: &str) -> Vec<String> {
    let mut urls: Vec<String> = Vec::new();
    for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        match urls.last_mut() {
            Some(url) if url.contains("+sentinel://") && !part.contains("://") => {
                url.push(',');
                url.push_str(part);
            }
            _ => urls.push(part.to_owned()),
        }
    }
    urls
}

/// `text` with all that may be a user or password in its URL replaced by `***`, for messages.
///
/// Errs on the side of hiding: from `://`, which may be missing, to the last `@`, what stands in the place of a port but is
/// none (the host may have been forgotten), parameters that name a user or password, and all behind a `#`.
pub fn without_credentials(text: &str) -> String {
    let (scheme, rest) = text.split_once("://").map_or(("", text), |(scheme, rest)| (scheme, rest));
    let separator = if rest.len() < text.len() { "://" } else { "" };
    if let Some((before, place)) = rest.rsplit_once('@') {
        // An @ in a password among the parameters: what follows it is the rest of that password.
        let in_query = before.contains("pass=") || before.contains("user=");
        let place = if in_query { "" } else { place };
        return format!("{scheme}{separator}***@{}", without_login_parameters(place));
    }
    if separator.is_empty() {
        return without_login_parameters(text);
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let mut good = 0;
    for endpoint in authority.split(',') {
        match endpoint.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') && number::<u64>(port).is_none() => {
                let before = authority.get(..good).unwrap_or_default();
                return format!("{scheme}://{before}{host}:***");
            }
            _ => good += endpoint.len() + 1,
        }
    }
    format!("{scheme}://{}", without_login_parameters(rest))
}

/// `message` without the users and passwords of URLs, wherever they were typed: as the name of a file, for one.
pub fn message_without_credentials(message: &str) -> String {
    let words: Vec<&str> = message.split(' ').collect();
    let (mut shown, mut rest) = (Vec::new(), words.as_slice());
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(words_of_url(rest));
        shown.push(piece_without_credentials(&piece.join(" ")));
        rest = behind;
    }
    shown.join(" ")
}

/// How many of `words`, from the first one on, may be one URL, whose login has blanks in it: up to the last @ before the
/// next URL.
fn words_of_url(words: &[&str]) -> usize {
    let is_url = |word: &&str| word.contains("://");
    if !words.first().is_some_and(is_url) {
        return 1;
    }
    let others = words.iter().skip(1).take_while(|word| !is_url(word));
    let has_login = |(_, word): &(usize, &&str)| word.contains('@');
    others.enumerate().filter(has_login).last().map_or(1, |(place, _)| place + 2)
}

fn piece_without_credentials(piece: &str) -> String {
    // The forms that our own messages show, and nothing else beside them.
    let bare = piece.replace("[user:password@]", "").replace("[:port]", "");
    let has_more = bare.contains(['@', '?', '#']) || bare.matches(':').count() > 1;
    let is_form = bare.len() < piece.len() && !has_more;
    let has_login = piece.split_once('@').is_some_and(|(before, _)| before.contains(':'));
    let is_url = has_login || piece.contains("://") || login_parameters(piece).is_some();
    if is_form || !is_url {
        return piece.to_owned();
    }
    let url = piece.trim_end_matches(|end| ":;,.)'\"".contains(end));
    without_credentials(url) + piece.get(url.len()..).unwrap_or_default()
}

fn without_login_parameters(place: &str) -> String {
    if let Some((place, _)) = place.split_once('#') {
        return without_login_parameters(place) + "#***";
    }
    match login_parameters(place) {
        Some(at) => format!("{}***", place.get(..=at).unwrap_or_default()),
        None => place.to_owned(),
    }
}

/// Where the parameters of a URL begin, if some of them name a user or password. With a blank in the URL that may be in
/// the middle of them.
fn login_parameters(text: &str) -> Option<usize> {
    let at = text.find(['?', '&'])?;
    let parameters = text.get(at..).unwrap_or_default();
    (parameters.contains("pass") || parameters.contains("user")).then_some(at)
}

#[cfg(test)]
mod tests;
