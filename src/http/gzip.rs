//! gzip: whether a request asks for it, and the packing.

use hyper::HeaderMap;
use hyper::header::{ACCEPT_ENCODING, HeaderValue};
use std::io::Write;

/// Shorter bodies fit a packet or two as they are.
const WORTH_IT: usize = 1024;

/// How a body is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Identity,
    Gzip,
}

/// What the request prefers. gzip must be named; `identity` named with the same weight wins.
pub(super) fn preferred(headers: &HeaderMap) -> Coding {
    let (mut gzip, mut identity) = (0.0, 0.0);
    let lines = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value: &HeaderValue| value.to_str().ok());
    for (name, weight) in lines.flat_map(|line| line.split(',')).filter_map(weighed) {
        if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") {
            gzip = weight;
        } else if name.eq_ignore_ascii_case("identity") {
            identity = weight;
        }
    }
    if gzip > identity { Coding::Gzip } else { Coding::Identity }
}

/// One of the list, `gzip` or `gzip;q=0.5`: name and weight. `None` where it is not understood.
fn weighed(item: &str) -> Option<(&str, f32)> {
    let (name, weight) = item.split_once(';').map_or((item, None), |(name, weight)| (name, Some(weight)));
    let weight = match weight {
        None => 1.0,
        Some(weight) => {
            let (key, value) = weight.split_once('=')?;
            let value = value.trim().parse().ok().filter(|weight| (0.0..=1.0).contains(weight))?;
            key.trim().eq_ignore_ascii_case("q").then_some(value)?
        }
    };
    Some((name.trim(), weight))
}

/// The body in that coding, and the one that it is in now: short ones stay as they are.
pub(super) fn coded(body: Vec<u8>, coding: Coding) -> std::io::Result<(Vec<u8>, Coding)> {
    if coding == Coding::Identity || body.len() < WORTH_IT {
        return Ok((body, Coding::Identity));
    }
    // A page shrinks tenfold at the fastest level; the others take longer than the network saves.
    let room = Vec::with_capacity(body.len() / 8);
    let mut packed = flate2::write::GzEncoder::new(room, flate2::Compression::fast());
    packed.write_all(&body)?;
    Ok((packed.finish()?, Coding::Gzip))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn gzip_goes_only_to_those_who_prefer_it() {
        for (asked, gzip) in [
            (&["gzip"][..], true),
            (&["GZip"], true),
            (&["x-gzip"], true),
            (&["gzip;q=0.001"], true),
            (&["gzip ; Q = 0.5"], true),
            (&["deflate, gzip;q=1.0, *;q=0.5"], true),
            (&["zstd;q=1, br", "gzip"], true),
            (&["gzip;q=1.0, identity; q=0.5, *;q=0"], true),
            (&["gzip, identity;q=0"], true),
            (&[], false),
            (&[""], false),
            (&["identity"], false),
            (&["gzip, identity"], false),
            (&["gzip;q=0.5, identity"], false),
            (&["gzip;q=0"], false),
            (&["gzip;q=0.000"], false),
            (&["gzip", "gzip;q=0"], false),
            (&["*"], false),
            (&["deflate, br"], false),
            (&["gzippy"], false),
            (&["gzip;q=2"], false),
            (&["gzip;q=-1"], false),
            (&["gzip;q=NaN"], false),
            (&["gzip;q"], false),
            (&["gzip;level=9"], false),
        ] {
            let mut headers = HeaderMap::new();
            for value in asked {
                headers.append(ACCEPT_ENCODING, HeaderValue::from_static(value));
            }
            let expected = if gzip { Coding::Gzip } else { Coding::Identity };
            assert_eq!(preferred(&headers), expected, "{asked:?}");
        }
        let mut headers = HeaderMap::new();
        headers.append(ACCEPT_ENCODING, HeaderValue::from_bytes(b"gzip\xff").unwrap());
        assert_eq!(preferred(&headers), Coding::Identity);
    }

    #[test]
    fn what_is_packed_comes_out_again() {
        let body = b"coturn_up 1\n".repeat(1000);
        let (packed, coding) = coded(body.clone(), Coding::Gzip).unwrap();
        assert_eq!(coding, Coding::Gzip);
        assert!(packed.len() < body.len() / 10, "{}", packed.len());
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, body);

        for (length, coding) in
            [(WORTH_IT, Coding::Identity), (WORTH_IT - 1, Coding::Gzip), (0, Coding::Gzip)]
        {
            let body = vec![b'a'; length];
            assert_eq!(coded(body.clone(), coding).unwrap(), (body, Coding::Identity));
        }
    }
}
