//! What a request prefers: the format of the page by `Accept`, its coding by `Accept-Encoding`. Lists as RFC 9110 has them:
//! elements with parameters, some of them quoted, and weights.

use std::borrow::Cow;

use hyper::HeaderMap;
use hyper::header::{ACCEPT, ACCEPT_ENCODING, HeaderName};

use super::gzip::Coding;
use crate::metrics::{Escaping, Format};

/// One of a list: `text/plain; version=0.0.4; q=0.3`.
#[derive(Debug)]
struct Preference<'a> {
    name: &'a str,
    parameters: Vec<(&'a str, Cow<'a, str>)>,
    /// From 0, which means never, to 1.
    weight: f32,
}

impl<'a> Preference<'a> {
    /// `None` where it is not understood.
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = split(text, b';').map(str::trim);
        let name = parts.next()?;
        let (mut parameters, mut weight) = (Vec::new(), 1.0);
        for part in parts.filter(|part| !part.is_empty()) {
            let (key, value) = part.split_once('=')?;
            let (key, value) = (key.trim(), unquoted(value.trim())?);
            if key.eq_ignore_ascii_case("q") {
                weight = value.parse().ok().filter(|weight| (0.0..=1.0).contains(weight))?;
            } else {
                parameters.push((key, value));
            }
        }
        Some(Self { name, parameters, weight })
    }

    fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        let mut all = self.parameters.iter();
        all.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
    }

    /// The format that it names.
    fn format(&self) -> Option<Format> {
        let (version, escaping) = (self.parameter("version"), self.parameter("escaping"));
        let escaping = escaping.and_then(Escaping::named);
        if self.is("text/plain") {
            match version {
                None | Some("0.0.4") => Some(Format::Text),
                Some("1.0.0") => Some(Format::Text1(escaping.unwrap_or(Escaping::Underscores))),
                Some(_) => None,
            }
        } else if self.is("application/openmetrics-text") {
            match version {
                Some("1.0.0") => Some(Format::OpenMetrics(escaping)),
                None | Some("0.0.1") => Some(Format::OpenMetrics0),
                Some(_) => None,
            }
        } else {
            let is_ours = self.is("application/vnd.google.protobuf")
                && self.parameter("proto") == Some("io.prometheus.client.MetricFamily")
                && self.parameter("encoding") == Some("delimited");
            is_ours.then_some(Format::Protobuf(escaping))
        }
    }
}

/// The format that the request prefers: the one with the highest weight, of several the first of [`rank`]. Text 0.0.4 where
/// none is preferred by its name.
pub(crate) fn format(headers: &HeaderMap) -> Format {
    let lists = lists(headers, ACCEPT);
    let ranges: Vec<Preference<'_>> = lists.iter().flat_map(|list| preferences(list)).collect();
    let mut wanted: Vec<(Format, f32)> =
        ranges.iter().filter_map(|range| Some((range.format()?, range.weight))).collect();
    if wanted.iter().all(|&(format, _)| format != Format::Text) {
        let any = ["text/*", "*/*"].into_iter().find_map(|any| ranges.iter().find(|range| range.is(any)));
        wanted.extend(any.map(|range| (Format::Text, range.weight)));
    }
    let allowed = wanted.into_iter().filter(|&(_, weight)| weight > 0.0);
    let best = allowed.max_by(|&(one, of_one), &(other, of_other)| {
        of_one.total_cmp(&of_other).then_with(|| rank(other).cmp(&rank(one)))
    });
    best.map(|(format, _)| format).unwrap_or_default()
}

/// Which goes out where several are preferred alike.
const fn rank(format: Format) -> u8 {
    match format {
        Format::Text => 0,
        Format::Text1(_) => 1,
        Format::OpenMetrics(_) => 2,
        Format::OpenMetrics0 => 3,
        Format::Protobuf(_) => 4,
    }
}

/// The coding that the request prefers. gzip must be named; `identity` named with an equal weight wins.
pub(crate) fn coding(headers: &HeaderMap) -> Coding {
    let (mut gzip, mut identity) = (0.0, 0.0);
    let lists = lists(headers, ACCEPT_ENCODING);
    let codings = lists.iter().flat_map(|list| preferences(list));
    // Codings have no parameters.
    for coding in codings.filter(|coding| coding.parameters.is_empty()) {
        if coding.is("gzip") || coding.is("x-gzip") {
            gzip = coding.weight;
        } else if coding.is("identity") {
            identity = coding.weight;
        }
    }
    if gzip > identity { Coding::Gzip } else { Coding::Identity }
}

/// The values of a header that may be there several times.
fn lists(headers: &HeaderMap, name: HeaderName) -> Vec<&str> {
    headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect()
}

fn preferences(list: &str) -> impl Iterator<Item = Preference<'_>> {
    split(list, b',').filter_map(Preference::parse)
}

/// The parts between separators that are not within quotes.
fn split(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.split(move |character: char| {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            _ => return !is_quoted && character == char::from(separator),
        }
        false
    })
}

/// A value without its quotes, if it has any. `None` where they do not match.
fn unquoted(value: &str) -> Option<Cow<'_, str>> {
    let Some(rest) = value.strip_prefix('"') else {
        return (!value.contains('"')).then_some(Cow::Borrowed(value));
    };
    let inner = rest.strip_suffix('"')?;
    let (mut text, mut characters) = (String::new(), inner.chars());
    while let Some(character) = characters.next() {
        text.push(if character == '\\' { characters.next()? } else { character });
    }
    Some(Cow::Owned(text))
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn headers(name: &HeaderName, values: &[&str]) -> HeaderMap {
        let value = |value: &&str| (name.clone(), HeaderValue::from_str(value).unwrap());
        values.iter().map(value).collect()
    }

    #[test]
    fn the_format_is_that_with_the_highest_weight() {
        const PROTOBUF: &str =
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
        // What Prometheus 2.42 sends, without and with native histograms, and Prometheus 3.
        let text_first = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                          text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let protobuf_first = format!("{PROTOBUF},{};q=0.8", "application/openmetrics-text;version=1.0.0");
        let prometheus_3 = format!(
            "{PROTOBUF};escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;\
             q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;\
             q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
        );
        let utf_8 = Some(Escaping::AllowUtf8);
        for (accept, expected) in [
            (&[text_first][..], Format::OpenMetrics(None)),
            (&[&protobuf_first], Format::Protobuf(None)),
            (&[&prometheus_3], Format::Protobuf(utf_8)),
            (&[], Format::Text),
            (&["*/*"], Format::Text),
            (&["text/*;q=0.1"], Format::Text),
            (&["text/html, application/xhtml+xml, */*;q=0.8"], Format::Text),
            (&["text/plain"], Format::Text),
            (&["TEXT/Plain ; Version = 0.0.4"], Format::Text),
            (&["text/plain;version=1.0.0"], Format::Text1(Escaping::Underscores)),
            (&["text/plain;version=1.0.0;escaping=dots"], Format::Text1(Escaping::Dots)),
            (&["text/plain;version=\"1.0.0\"; escaping=\"val\\ues\""], Format::Text1(Escaping::Values)),
            (&["text/plain;version=1.0.0;escaping=none"], Format::Text1(Escaping::Underscores)),
            (&["application/openmetrics-text"], Format::OpenMetrics0),
            (&["application/openmetrics-text; version=1.0.0; charset=utf-8"], Format::OpenMetrics(None)),
            (
                &["text/plain;q=0.5", "application/openmetrics-text;version=1.0.0;q=0.6"],
                Format::OpenMetrics(None),
            ),
            // Preferred alike.
            (&["application/openmetrics-text;version=1.0.0, text/plain"], Format::Text),
            (
                &[&format!("{PROTOBUF}, application/openmetrics-text;version=1.0.0")],
                Format::OpenMetrics(None),
            ),
            // A range is for the default only, and never in the place of what is named.
            (&["*/*, application/openmetrics-text;version=1.0.0;q=0.9"], Format::Text),
            (
                &["*/*, text/plain;q=0.1, application/openmetrics-text;version=1.0.0;q=0.2"],
                Format::OpenMetrics(None),
            ),
            (
                &["text/*;q=0.1, */*, application/openmetrics-text;version=1.0.0;q=0.2"],
                Format::OpenMetrics(None),
            ),
            // Never.
            (
                &["text/plain;q=0, application/openmetrics-text;version=1.0.0;q=0.001"],
                Format::OpenMetrics(None),
            ),
            (&["application/openmetrics-text;version=1.0.0;q=0, */*;q=0"], Format::Text),
            // Not understood, or not made here.
            (&["application/openmetrics-text;version=2.0.0, text/plain;q=0.1"], Format::Text),
            (&["application/openmetrics-text;version=1.0.0;q=high"], Format::Text),
            (&["application/openmetrics-text;version=1.0.0;q=1.1"], Format::Text),
            (&["application/openmetrics-text;version=\"1.0.0"], Format::Text),
            (&["application/vnd.google.protobuf"], Format::Text),
            (
                &["application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text"],
                Format::Text,
            ),
            (&["application/vnd.google.protobuf;proto=other;encoding=delimited"], Format::Text),
            (&["text/plain;a=\"b, application/openmetrics-text;version=1.0.0\""], Format::Text),
            (&["", ",", ";", ";q=1", "=", "\"", "text/plain;;"], Format::Text),
        ] {
            assert_eq!(format(&headers(&ACCEPT, accept)), expected, "{accept:?}");
        }
    }

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
            let expected = if gzip { Coding::Gzip } else { Coding::Identity };
            assert_eq!(coding(&headers(&ACCEPT_ENCODING, asked)), expected, "{asked:?}");
        }
        let mut headers = HeaderMap::new();
        headers.append(ACCEPT_ENCODING, HeaderValue::from_bytes(b"gzip\xff").unwrap());
        assert_eq!(coding(&headers), Coding::Identity);
    }
}
