//! What a request says beside its path: the query of the details, which formats and codings are taken, the host that was asked for; and
//! the file that says how all of it is served.

use hyper::HeaderMap;
use hyper::Request;
use hyper::header::{ACCEPT, ACCEPT_ENCODING, HOST, HeaderName, HeaderValue};

use crate::clock::Timestamp;
use crate::config::web_file::WebFile;
use crate::details::{self, Detail, Inspect, Listing};
use crate::http::{is_host_trusted, preferred_coding, preferred_format};
use crate::metrics::Format;
use crate::state::rows::{AllocationRow, Matched, RowPage, RowQuery, SessionRow};

/// A table without rows.
struct NoRows;

impl NoRows {
    fn listing<R>(wanted: &RowQuery) -> Listing<R> {
        assert!((1..=1000).contains(&wanted.limit), "a page of {} rows", wanted.limit);
        let matched = Matched::default();
        Listing {
            found: RowPage {
                now: Timestamp::ZERO,
                rows: Vec::new(),
                start: 0,
                previous: None,
                next: None,
                matched,
            },
            wall: Timestamp::ZERO,
        }
    }
}

impl Inspect for NoRows {
    fn allocations(&self, wanted: RowQuery) -> Listing<AllocationRow> {
        Self::listing(&wanted)
    }

    fn sessions(&self, wanted: RowQuery) -> Listing<SessionRow> {
        Self::listing(&wanted)
    }
}

/// A query of the details. What is in the answer cannot leave the place it is put at.
pub(super) fn run_query(bytes: &[u8]) {
    // hyper hands on what a URL can hold.
    let Ok(query) = std::str::from_utf8(bytes) else { return };
    for detail in Detail::ALL {
        let answer = details::answer(&NoRows, detail, query);
        let text = std::str::from_utf8(&answer.body).expect("text");
        let (is_page, is_csv) =
            (detail.content_type().starts_with("text/html"), detail.content_type().starts_with("text/csv"));
        let is_plain = |letter: char| !letter.is_control() || letter == '\n' || is_csv && letter == '\r';
        // The form has a name as it was typed, to send it again.
        let has_form = is_page && answer.ok;
        assert!(has_form || text.chars().all(is_plain), "control characters in the answer");
        // Each byte of a query is shown in the form, in the link that takes its filter away, and in the links that keep it.
        assert!(text.len() <= (16 << 10) + 100 * query.len(), "{} bytes for {}", text.len(), query.len());
        if is_page {
            only_known_tags(text);
        } else if is_csv {
            assert_eq!(text.starts_with("error\r\n"), !answer.ok);
        } else {
            let json: serde_json::Value = serde_json::from_str(text).expect("JSON");
            assert_eq!(json.get("error").is_some(), !answer.ok);
        }
    }
}

/// The tags that a page without rows has.
const TAGS: [&str; 36] = [
    "!doctype", "a", "body", "button", "dd", "details", "div", "dl", "dt", "form", "h1", "head", "header",
    "html", "input", "label", "link", "main", "meta", "nav", "noscript", "option", "p", "script", "select",
    "span", "strong", "style", "summary", "table", "tbody", "td", "th", "thead", "time", "title",
];

/// No text of a query is a tag, and there is one script.
fn only_known_tags(page: &str) {
    for part in page.split('<').skip(1) {
        let name = part.trim_start_matches('/');
        let end = name.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '!');
        let name = &name[..end.unwrap_or(name.len())];
        assert!(TAGS.contains(&name.to_ascii_lowercase().as_str()), "a tag {name:?}: {page}");
    }
    assert!(page.matches("<script").count() <= 1, "{page}");
}

/// The headers that these lines make, each a value of that name.
fn headers(name: &HeaderName, lines: &[Vec<u8>]) -> Option<HeaderMap> {
    let value = |line: &Vec<u8>| Some((name.clone(), HeaderValue::from_bytes(line).ok()?));
    lines.iter().map(value).collect()
}

/// Whether several lines are one list: they are where nothing is quoted and each can be read.
fn is_one_list(lines: &[Vec<u8>]) -> bool {
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t') && *byte != b'"';
    lines.iter().flatten().all(is_plain)
}

/// The lines of `Accept-Encoding`.
pub(super) fn run_accept_encoding(bytes: &[u8]) {
    let lines: Vec<Vec<u8>> = bytes.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
    let of = |lines: &[Vec<u8>]| headers(&ACCEPT_ENCODING, lines).map(|headers| preferred_coding(&headers));
    let Some(preferred) = of(&lines) else { return };
    // A coding that nobody knows changes nothing, nor does the case of letters.
    let mut more = lines.clone();
    more.push(b"none-of-ours;q=1.0".to_vec());
    assert_eq!(of(&more), Some(preferred));
    let upper = lines.iter().map(|line| line.to_ascii_uppercase()).collect::<Vec<_>>();
    assert_eq!(of(&upper), Some(preferred));
    if is_one_list(&lines) {
        assert_eq!(of(&[lines.join(&b","[..])]), Some(preferred));
    }
    let is_named = String::from_utf8_lossy(bytes).to_ascii_lowercase().contains("gzip");
    assert!(is_named || format!("{preferred:?}") == "Identity");
}

/// The lines of `Accept`.
pub(super) fn run_accept(bytes: &[u8]) {
    let lines: Vec<Vec<u8>> = bytes.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
    let of = |lines: &[Vec<u8>]| headers(&ACCEPT, lines).map(|headers| preferred_format(&headers));
    let Some(preferred) = of(&lines) else { return };
    // A type that nobody knows changes nothing, nor does who says all twice.
    let mut more = lines.clone();
    more.push(b"none/of-ours;q=1.0;version=1.0.0".to_vec());
    assert_eq!(of(&more), Some(preferred));
    assert_eq!(of(&[lines.clone(), lines.clone()].concat()), Some(preferred));
    if is_one_list(&lines) {
        assert_eq!(of(&[lines.join(&b","[..])]), Some(preferred));
    }
    // The type of the answer, as a preference, gives that answer; and what is not the default was named.
    let content_type = preferred.to_string();
    assert_eq!(of(&[content_type.clone().into_bytes()]), Some(preferred));
    let name = content_type.split(';').next().unwrap_or_default();
    let is_named = String::from_utf8_lossy(bytes).to_ascii_lowercase().contains(name);
    assert!(is_named || preferred == Format::Text, "{content_type} for one who did not name it");
}

/// A host, and behind a newline the address of the request.
pub(super) fn run_host(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |&byte| byte == b'\n');
    let (host, uri) = (parts.next().unwrap_or_default(), parts.next().unwrap_or(b"/"));
    let names = ["turn.example".to_owned()];
    let request = |host: &[u8], uri: &[u8]| {
        let host = HeaderValue::from_bytes(host).ok()?;
        Request::builder().uri(uri).header(HOST, host).body(()).ok()
    };
    let Some(asked) = request(host, uri) else { return };
    if !is_host_trusted(&asked, &names) {
        return;
    }
    // It is an address, localhost or the name: nothing else may come before the port.
    let text = std::str::from_utf8(host).expect("what is trusted is text");
    let port = text.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    let is_whole_address = text.ends_with(']');
    let name = if is_whole_address { text } else { port.map_or(text, |(name, _)| name) };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let is_address = bare.parse::<std::net::IpAddr>().is_ok();
    let plain = name.strip_suffix('.').unwrap_or(name);
    let is_address = is_address || plain.parse::<std::net::Ipv4Addr>().is_ok();
    let is_known = plain.eq_ignore_ascii_case("localhost") || plain.eq_ignore_ascii_case("turn.example");
    assert!(is_address || is_known, "{text:?} is trusted");
    // And so is what the address of the request names.
    let target = asked.uri().authority().map(|authority| authority.as_str().to_owned());
    if let Some(target) = target {
        let again = request(target.as_bytes(), b"/").map(|request| is_host_trusted(&request, &names));
        assert_eq!(again, Some(true), "{target:?} is trusted beside a host");
    }
}

/// What a web config file holds beside a user whose hash nobody may see.
const HASH: &str = "Zq7SecretHashOfUser";

/// A web config file: it is refused by an error of one line, or what it asks for goes together.
pub(super) fn run_web_config(bytes: &[u8]) {
    if let Ok(file) = WebFile::parse(bytes) {
        for user in file.users.keys() {
            assert!(!user.contains(':') && !user.contains(char::is_control), "a user {user:?}");
        }
        for (header, value) in &file.headers {
            let is_one_line = HeaderValue::from_str(value).is_ok() && !value.is_empty();
            assert!(is_one_line, "{header:?}: {value:?}");
        }
        assert!(file.rate_limit.is_none_or(|limit| limit.burst > 0 && !limit.interval.is_zero()));
        if let Some(tls) = &file.tls {
            assert!(tls.min_version <= tls.max_version);
        }
    }
    let with_hash = [format!("basic_auth_users: {{u: {HASH}}}\n").as_bytes(), bytes].concat();
    // An input may have it where anybody may see it.
    if bytes.windows(HASH.len()).any(|window| window == HASH.as_bytes()) {
        return;
    }
    for text in [bytes, &with_hash] {
        match WebFile::parse(text) {
            Ok(file) => assert!(!format!("{file:?}").contains(HASH), "a hash is shown"),
            Err(error) => {
                let error = error.to_string();
                assert!(!error.contains('\n') && error.len() < 2000 + 8 * text.len(), "{error:?}");
                assert!(!error.contains(HASH), "a hash is shown: {error}");
            }
        }
    }
}
