//! The host names by which the details may be asked for. A hostile web page can let its own name resolve to this machine (DNS
//! rebinding) and then read the answers as its own; but the browser still sends the name that it asked for.

use std::net::{Ipv4Addr, Ipv6Addr};

use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Version};

/// Whether the request names this server by an address, as `localhost`, or by one of `names` (in lower case).
pub(crate) fn is_trusted<B>(request: &Request<B>, names: &[String]) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = hosts.next().map(HeaderValue::as_bytes);
    // Where the address of the request names a host as well, as for a proxy, that one counts too. In HTTP/2 it is the only
    // one.
    let target = request.uri().authority().map(|authority| authority.as_str().as_bytes());
    let is_named = host.is_some() || (request.version() == Version::HTTP_2 && target.is_some());
    let mut all = [host, target].into_iter().flatten();
    is_named && hosts.next().is_none() && all.all(|host| is_ours(host, names))
}

fn is_ours(host: &[u8], names: &[String]) -> bool {
    let Some(name) = std::str::from_utf8(host).ok().and_then(without_port) else { return false };
    if let Some(address) = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<Ipv6Addr>().is_ok();
    }
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name.parse::<Ipv4Addr>().is_ok() || name == "localhost" || names.contains(&name)
}

/// `None` where what follows the name is no port.
fn without_port(host: &str) -> Option<&str> {
    let end = host.find(']').map_or(0, |end| end + 1);
    let (name, rest) = host.split_at_checked(end)?;
    match rest.split_once(':') {
        None => Some(host),
        Some((before, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            host.get(..name.len() + before.len())
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(uri: &str, hosts: &[&str]) -> Request<()> {
        let request = Request::builder().uri(uri);
        hosts.iter().fold(request, |request, host| request.header(HOST, *host)).body(()).unwrap()
    }

    #[test]
    fn addresses_localhost_and_names_that_were_given() {
        let names = ["turn.example".to_owned()];
        for (host, trusted) in [
            ("127.0.0.1", true),
            ("127.0.0.1:10641", true),
            ("192.0.2.7:80", true),
            ("[::1]", true),
            ("[2001:db8::1]:10641", true),
            ("localhost", true),
            ("LocalHost:10641", true),
            ("localhost.", true),
            ("turn.example", true),
            ("Turn.Example.:10641", true),
            ("evil.example", false),
            ("evil.example:10641", false),
            ("turn.example.evil.example", false),
            ("xturn.example", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("2130706433", false),
            ("[evil.example]", false),
            ("[::1", false),
            ("[::1]x", false),
            ("localhost:80:evil", false),
            ("localhost:evil.example", false),
            ("::1", false),
            ("", false),
        ] {
            assert_eq!(is_trusted(&request("/allocations", &[host]), &names), trusted, "{host}");
        }
    }

    #[test]
    fn one_name_and_the_same_everywhere() {
        for (uri, hosts, trusted) in [
            ("/", &[][..], false),
            ("/", &["localhost", "localhost"], false),
            ("http://localhost/", &["localhost"], true),
            ("http://evil.example/", &["localhost"], false),
            ("http://localhost/", &["evil.example"], false),
        ] {
            assert_eq!(is_trusted(&request(uri, hosts), &[]), trusted, "{uri} {hosts:?}");
        }
        let broken = Request::builder().header(HOST, &b"localhost\xff"[..]).body(()).unwrap();
        assert!(!is_trusted(&broken, &[]));
    }
}
