//! Serves the live page and the files that pages are made with. Neither asks the table: the page is the same for all until
//! the next look at it.

use hyper::body::Bytes;
use hyper::{Response, StatusCode};

use super::page_guard::guarded;
use super::routes::response;
use crate::live::{ShowLive, SiteFacts};
use crate::markup::PageFile;

const HTML: &str = "text/html; charset=utf-8";

/// The live page. `not_yet` says why there is nothing to show yet, if so.
pub(super) fn page(live: &dyn ShowLive, site: &SiteFacts<'_>, not_yet: Option<&str>) -> Response<Bytes> {
    let body = Bytes::from_owner(live.page(site, not_yet));
    guarded(response(StatusCode::OK, HTML, body))
}

/// A file that pages are made with.
pub(super) fn file(file: PageFile) -> Response<Bytes> {
    let body = Bytes::from_static(file.text().as_bytes());
    guarded(response(StatusCode::OK, file.content_type(), body))
}
