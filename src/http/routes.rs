//! Request to response: what each path answers.
//!
//! Pure: no socket, no task, no clock. The page itself is not made here; a route only says that it is wanted.

use super::Readiness;
use super::gzip::Coding;
use super::pages::PageError;
use crate::config::TelemetryPath;
use crate::markup::{LIVE_PAGE, PageFile};
use crate::metrics::Format;
use hyper::body::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Response, StatusCode};

const HEALTHY: &str = "/-/healthy";
const READY: &str = "/-/ready";
/// Paths of probes, which say how the exporter is and nothing of what it knows.
pub const PROBES: [&str; 2] = [HEALTHY, READY];
const TEXT: &str = "text/plain; charset=utf-8";
/// Whatever a browser takes an answer for: it runs nothing, loads nothing and stands in no frame.
const POLICY: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
/// What a request gets.
#[derive(Debug)]
pub(super) enum RouteAnswer {
    /// This, now.
    Now(Response<Bytes>),
    /// The metrics; [`page`] makes a response of them.
    Page,
    /// The live page.
    Live,
    /// A file that pages are made with.
    File(PageFile),
}

/// The answer to a request for `path` (query already cut off).
///
/// The body of a response to HEAD is the body a GET would get; [`for_method`] takes it away.
pub(super) fn answer(
    method: &Method,
    path: &str,
    telemetry_path: &TelemetryPath,
    readiness: &Readiness,
    stopping: bool,
) -> RouteAnswer {
    let telemetry = path == telemetry_path.as_str();
    let file = PageFile::at(path);
    if !telemetry && file.is_none() && !matches!(path, LIVE_PAGE | HEALTHY | READY) {
        return RouteAnswer::Now(text(StatusCode::NOT_FOUND, "404 page not found"));
    }
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut refusal = text(StatusCode::METHOD_NOT_ALLOWED, "405 method not allowed: use GET or HEAD");
        refusal.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return RouteAnswer::Now(refusal);
    }
    match path {
        _ if telemetry => RouteAnswer::Page,
        HEALTHY => RouteAnswer::Now(probe(Ok("healthy"))),
        READY if stopping => RouteAnswer::Now(probe(Err("shutting down"))),
        READY => RouteAnswer::Now(match readiness.get() {
            Ok(()) => probe(Ok("ready")),
            Err(reason) => probe(Err(&reason)),
        }),
        _ => file.map_or(RouteAnswer::Live, RouteAnswer::File),
    }
}

/// The response that carries a page, or says why there is none.
pub(super) fn page(format: Format, page: Result<(Bytes, Coding), PageError>) -> Response<Bytes> {
    match page {
        Ok((body, coding)) => {
            let mut response = response(StatusCode::OK, &format.to_string(), body);
            let headers = response.headers_mut();
            headers.insert(header::VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
            if coding == Coding::Gzip {
                headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            }
            response
        }
        Err(error @ PageError::Busy(_)) => text(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// To who has waited in vain for the first page; how far it is.
pub(super) fn no_page_yet(progress: &str) -> Response<Bytes> {
    try_again(text(StatusCode::SERVICE_UNAVAILABLE, progress))
}

/// The response as it goes out: HEAD gets the same headers without the body (hyper would drop it too, at the socket).
pub(super) fn for_method(method: &Method, response: Response<Bytes>) -> Response<Bytes> {
    if method == Method::HEAD { response.map(|_| Bytes::new()) } else { response }
}

/// The same, to be asked for again soon.
pub(super) fn try_again(mut response: Response<Bytes>) -> Response<Bytes> {
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
    response
}

/// Whether it is one of the paths of probes.
pub(super) fn is_probe(path: &str) -> bool {
    PROBES.contains(&path)
}

/// To who has no login, or a wrong one.
pub(super) fn unauthorized() -> Response<Bytes> {
    let mut response = text(StatusCode::UNAUTHORIZED, "401 unauthorized");
    let headers = response.headers_mut();
    headers.insert(
        header::WWW_AUTHENTICATE,
        HeaderValue::from_static("Basic realm=\"coturn-exporter\", charset=\"UTF-8\""),
    );
    response
}

/// To who must come later.
pub(super) fn too_many(reason: &str) -> Response<Bytes> {
    try_again(text(StatusCode::TOO_MANY_REQUESTS, &format!("429 too many requests: {reason}")))
}

fn probe(state: Result<&str, &str>) -> Response<Bytes> {
    match state {
        Ok(line) => text(StatusCode::OK, line),
        Err(reason) => text(StatusCode::SERVICE_UNAVAILABLE, reason),
    }
}

fn text(status: StatusCode, line: &str) -> Response<Bytes> {
    response(status, TEXT, format!("{line}\n").into())
}

pub(super) fn response(status: StatusCode, content_type: &str, body: Bytes) -> Response<Bytes> {
    let length = body.len();
    let content_type = HeaderValue::from_str(content_type).unwrap_or(HeaderValue::from_static(TEXT));
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type);
    // Set here and not left to hyper, which cannot know it for HEAD.
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    // Each is of its moment, and a proxy that keeps it would show it to those without a login.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Asked {
        telemetry_path: TelemetryPath,
        readiness: Readiness,
        stopping: bool,
    }

    impl Asked {
        fn new() -> Self {
            let readiness = Readiness::default();
            readiness.ready();
            Self { telemetry_path: TelemetryPath::default(), readiness, stopping: false }
        }

        fn answer(&self, method: &Method, path: &str) -> RouteAnswer {
            answer(method, path, &self.telemetry_path, &self.readiness, self.stopping)
        }

        #[track_caller]
        fn now(&self, method: &Method, path: &str) -> Response<Bytes> {
            match self.answer(method, path) {
                RouteAnswer::Now(response) => response,
                other => panic!("{method} {path} gets {other:?}"),
            }
        }
    }

    fn header_of<'a>(response: &'a Response<Bytes>, name: &str) -> Option<&'a str> {
        response.headers().get(name).map(|value| value.to_str().unwrap())
    }

    #[test]
    fn each_path_has_its_answer() {
        let asked = Asked::new();
        for (method, path, status, content_type) in [
            (Method::GET, "/-/healthy", 200, TEXT),
            (Method::GET, "/-/ready", 200, TEXT),
            (Method::GET, "/metrics/", 404, TEXT),
            (Method::GET, "/-/", 404, TEXT),
            (Method::GET, "*", 404, TEXT),
            (Method::GET, "", 404, TEXT),
            (Method::POST, "/nowhere", 404, TEXT),
            (Method::POST, "/", 405, TEXT),
            (Method::POST, "/-/page.js", 405, TEXT),
            (Method::DELETE, "/metrics", 405, TEXT),
            (Method::PUT, "/-/ready", 405, TEXT),
            (Method::OPTIONS, "/-/healthy", 405, TEXT),
        ] {
            let response = asked.now(&method, path);
            assert_eq!(response.status(), status, "{method} {path}");
            assert_eq!(header_of(&response, "content-type"), Some(content_type), "{method} {path}");
            assert_eq!(header_of(&response, "x-content-type-options"), Some("nosniff"), "{method} {path}");
            let policy = header_of(&response, "content-security-policy").unwrap_or_default();
            let is_strict =
                policy.starts_with("default-src 'none';") && policy.ends_with("frame-ancestors 'none'");
            assert!(is_strict, "{method} {path}: {policy}");
            let length = response.body().len().to_string();
            assert_eq!(header_of(&response, "content-length"), Some(&*length), "{method} {path}");
            let allow = (status == 405).then_some("GET, HEAD");
            assert_eq!(header_of(&response, "allow"), allow, "{method} {path}");
            assert_eq!(header_of(&response, "cache-control"), Some("no-store"), "{method} {path}");
        }
    }

    #[test]
    fn the_page_lies_where_it_was_put() {
        let mut asked = Asked::new();
        assert!(matches!(asked.answer(&Method::GET, "/metrics"), RouteAnswer::Page));
        assert!(matches!(asked.answer(&Method::HEAD, "/metrics"), RouteAnswer::Page));
        assert!(matches!(asked.answer(&Method::GET, "/"), RouteAnswer::Live));
        assert!(matches!(asked.answer(&Method::GET, "/-/page.js"), RouteAnswer::File(PageFile::Script)));

        asked.telemetry_path = "/".parse().unwrap();
        assert!(matches!(asked.answer(&Method::GET, "/"), RouteAnswer::Page), "no live page in the way");
        assert_eq!(asked.now(&Method::GET, "/metrics").status(), 404);
    }

    #[test]
    fn ready_follows_the_note_and_the_end() {
        let mut asked = Asked::new();
        assert_eq!(asked.now(&Method::GET, READY).body(), "ready\n");

        asked.readiness.not_ready("redis://a: link down");
        let response = asked.now(&Method::GET, READY);
        assert_eq!(response.status(), 503);
        assert_eq!(response.body(), "redis://a: link down\n");
        assert_eq!(header_of(&response, "cache-control"), Some("no-store"));
        assert_eq!(asked.now(&Method::GET, HEALTHY).status(), 200, "health does not hang on it");

        asked.readiness.ready();
        asked.stopping = true;
        let response = asked.now(&Method::GET, READY);
        assert_eq!((response.status().as_u16(), &**response.body()), (503, &b"shutting down\n"[..]));
        assert_eq!(asked.now(&Method::GET, HEALTHY).status(), 200);
    }

    #[test]
    fn before_there_is_a_page_it_is_said_how_far_that_is() {
        let asked = Asked::new();
        let reason = "loading the store: 41 % of 152 MB";
        asked.readiness.loading(reason);
        assert!(matches!(asked.answer(&Method::GET, "/metrics"), RouteAnswer::Page), "it may come soon");
        let ready = asked.now(&Method::GET, READY);
        for (response, retry_after) in [(no_page_yet(reason), Some("2")), (ready, None)] {
            assert_eq!(response.status(), 503);
            assert_eq!(header_of(&response, "retry-after"), retry_after);
            assert_eq!(response.body(), &format!("{reason}\n"));
        }
        assert_eq!(asked.now(&Method::GET, HEALTHY).status(), 200);
        assert_eq!(asked.now(&Method::POST, "/metrics").status(), 405);
    }

    #[test]
    fn head_keeps_the_headers_and_loses_the_body() {
        let get = Asked::new().now(&Method::GET, READY);
        let head = for_method(&Method::HEAD, Asked::new().now(&Method::HEAD, READY));
        assert_eq!(head.headers(), get.headers());
        assert!(!get.body().is_empty() && head.body().is_empty());
        assert_eq!(for_method(&Method::GET, get.clone()).body(), get.body());
    }

    #[test]
    fn a_page_that_cannot_be_made_says_why() {
        for (result, status, body) in [
            (Ok((Bytes::from("up 1\n"), Coding::Identity)), 200, "up 1\n"),
            (Err(PageError::Panicked), 500, "crashed"),
            (Err(PageError::Busy(40)), 503, "40"),
        ] {
            let response = page(Format::OpenMetrics(None), result);
            let got = String::from_utf8(response.body().to_vec()).unwrap();
            assert_eq!(response.status(), status, "{got}");
            assert!(got.contains(body), "{got}");
            let content_type = Format::OpenMetrics(None).to_string();
            let content_type = if status == 200 { &content_type } else { TEXT };
            assert_eq!(header_of(&response, "content-type"), Some(content_type));
        }
    }

    #[test]
    fn a_page_says_how_it_is_coded_and_that_it_depends() {
        for (coding, header) in [(Coding::Identity, None), (Coding::Gzip, Some("gzip"))] {
            let response = page(Format::Text, Ok((Bytes::from("body"), coding)));
            assert_eq!(header_of(&response, "content-encoding"), header);
            assert_eq!(header_of(&response, "vary"), Some("Accept, Accept-Encoding"));
            assert_eq!(header_of(&response, "content-length"), Some("4"));
        }
    }
}
