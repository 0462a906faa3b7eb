//! Serves the details: off the async workers, few at a time, and by trusted host names only.
//!
//! Knows neither rows nor queries.

use std::fmt;
use std::sync::Arc;

use hyper::body::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::Semaphore;

use super::host;
use super::page_guard::guarded;
use super::routes::{response, try_again};
use crate::details::{self, Answer, Detail, Inspect};

/// Walks through the table at one time. Whoever comes next waits: each keeps a page of rows, and there are two cores.
const AT_ONE_TIME: usize = 2;

const NOT_BY_THIS_NAME: &str = "details are not served by this host name: ask by the address or as localhost, or name \
                                the host with --web.details-host";

/// The details, the host names that they are served by, and the places in their queue.
pub(super) struct Details {
    inspect: Arc<dyn Inspect>,
    hosts: Vec<String>,
    places: Arc<Semaphore>,
}

impl Details {
    /// Served by addresses, by `localhost`, and by `hosts`.
    pub(super) fn new(inspect: Arc<dyn Inspect>, hosts: &[String]) -> Self {
        let hosts = hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
        Self { inspect, hosts, places: Arc::new(Semaphore::new(AT_ONE_TIME)) }
    }

    /// The answer to a request for one of them. Its body is complete before its head is sent. Status 403 is for a host name
    /// by which they are not served, and for nothing else. `not_yet` says why there is nothing to show yet, if so.
    pub(super) async fn answer<B>(
        &self,
        request: &Request<B>,
        detail: Detail,
        not_yet: Option<String>,
    ) -> Response<Bytes> {
        let method = request.method();
        if !host::is_trusted(request, &self.hosts) {
            return refuse(detail, StatusCode::FORBIDDEN, NOT_BY_THIS_NAME);
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut refused =
                refuse(detail, StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are allowed here");
            refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        if let Some(reason) = not_yet {
            return try_again(refuse(detail, StatusCode::SERVICE_UNAVAILABLE, &reason));
        }
        // Closed by nobody; and who goes away while waiting gives the place up.
        let Ok(place) = Arc::clone(&self.places).acquire_owned().await else {
            return refuse(detail, StatusCode::SERVICE_UNAVAILABLE, "the exporter is shutting down");
        };
        let (inspect, query) =
            (Arc::clone(&self.inspect), request.uri().query().unwrap_or_default().to_owned());
        let answered = tokio::task::spawn_blocking(move || {
            let _place = place;
            details::answer(&*inspect, detail, &query)
        });
        match answered.await {
            Ok(Answer { ok: true, body }) => answer(detail, StatusCode::OK, body),
            Ok(Answer { ok: false, body }) => answer(detail, StatusCode::BAD_REQUEST, body),
            Err(_) => {
                let sentence = "making the answer crashed: the exporter's log has the details";
                refuse(detail, StatusCode::INTERNAL_SERVER_ERROR, sentence)
            }
        }
    }
}

impl fmt::Debug for Details {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Details").finish_non_exhaustive()
    }
}

fn refuse(detail: Detail, status: StatusCode, sentence: &str) -> Response<Bytes> {
    answer(detail, status, details::refusal(detail, sentence))
}

fn answer(detail: Detail, status: StatusCode, body: Vec<u8>) -> Response<Bytes> {
    guarded(response(status, detail.content_type(), body.into()))
}
