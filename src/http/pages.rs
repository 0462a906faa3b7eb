//! Has the page rendered: off the async workers, so many at a time, and without letting a panic through.
//!
//! Knows neither requests nor responses.

use super::gzip::{Coding, coded};
use crate::metrics::{Audience, Render};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Semaphore;

/// Why there is no page.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PageError {
    /// As many renderings as allowed are under way.
    #[error("{0} pages are being rendered, which is the limit: try again later")]
    Busy(usize),
    /// The renderer said so.
    #[error("{0}")]
    Failed(String),
    /// The renderer panicked; the panic hook has shown where.
    #[error("rendering the page crashed: the exporter's log has the details")]
    Panicked,
}

/// A page as it goes out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) body: Vec<u8>,
    pub(super) coding: Coding,
}

/// The page and the places in its queue.
pub(super) struct Pages {
    page: Arc<dyn Render>,
    places: Arc<Semaphore>,
    limit: usize,
    failing: AtomicBool,
}

impl Pages {
    /// At most `limit` renderings at a time; 0 means no limit.
    pub(super) fn new(page: Arc<dyn Render>, limit: usize) -> Self {
        let places = if limit == 0 { Semaphore::MAX_PERMITS } else { limit.min(Semaphore::MAX_PERMITS) };
        Self { page, places: Arc::new(Semaphore::new(places)), limit, failing: AtomicBool::new(false) }
    }

    pub(super) fn content_type(&self) -> &'static str {
        self.page.content_type()
    }

    /// Renders the page, in that coding if it is worth it; refuses at once when too many are under way.
    ///
    /// A rendering cannot be stopped: when the caller goes away it still ends and holds its place until then, so
    /// impatient clients cannot pile up more than the limit.
    pub(super) async fn render(&self, audience: Audience, coding: Coding) -> Result<Page, PageError> {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return Err(PageError::Busy(self.limit));
        };
        let page = Arc::clone(&self.page);
        let rendered = tokio::task::spawn_blocking(move || {
            let _place = place;
            let body = page.render(audience)?;
            let (body, coding) = coded(body, coding).map_err(|error| format!("gzip: {error}"))?;
            Ok(Page { body, coding })
        });
        let result = match rendered.await {
            Ok(result) => result.map_err(PageError::Failed),
            Err(_) => Err(PageError::Panicked),
        };
        self.note(result.as_ref().err());
        result
    }

    /// Logs the first failure of a row and its end, not each scrape.
    fn note(&self, error: Option<&PageError>) {
        let was = self.failing.swap(error.is_some(), Ordering::Relaxed);
        match (was, error) {
            (false, Some(error)) => tracing::error!(%error, "the page cannot be rendered"),
            (true, None) => tracing::info!("the page is rendered again"),
            _ => {}
        }
    }
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages").field("limit", &self.limit).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Duration;

    /// Renders what it is sent, when it is sent; a dropped or silent sender makes it panic.
    struct Scripted {
        entered: Mutex<Sender<()>>,
        script: Mutex<Receiver<Rendering>>,
    }

    impl Render for Scripted {
        fn content_type(&self) -> &'static str {
            "text/plain"
        }

        fn render(&self, _: Audience) -> Result<Vec<u8>, String> {
            self.entered.lock().unwrap().send(()).unwrap();
            // The lock is not held through the panic: the next rendering must fail by itself.
            let next = self.script.lock().unwrap().recv_timeout(PATIENCE);
            next.expect("a scripted rendering")
        }
    }

    /// Bounded, so that a rendering that should not have begun fails its test and does not hang it.
    const PATIENCE: Duration = Duration::from_secs(10);

    type Rendering = Result<Vec<u8>, String>;

    /// The pages, what tells that a rendering began, and what ends it.
    fn scripted(limit: usize) -> (Arc<Pages>, Receiver<()>, Sender<Rendering>) {
        let (entered, has_entered) = channel();
        let (send, script) = channel();
        let page = Scripted { entered: Mutex::new(entered), script: Mutex::new(script) };
        (Arc::new(Pages::new(Arc::new(page), limit)), has_entered, send)
    }

    async fn visit(pages: &Pages) -> Result<Page, PageError> {
        pages.render(Audience::Visitor, Coding::Identity).await
    }

    fn plain(body: &[u8]) -> Page {
        Page { body: body.to_vec(), coding: Coding::Identity }
    }

    #[tokio::test]
    async fn pages_errors_and_panics_come_back() {
        let (pages, _entered, script) = scripted(1);
        script.send(Ok(b"up 1\n".to_vec())).unwrap();
        assert_eq!(visit(&pages).await, Ok(plain(b"up 1\n")));
        script.send(Err("no table".to_owned())).unwrap();
        assert_eq!(visit(&pages).await, Err(PageError::Failed("no table".to_owned())));
        drop(script);
        assert_eq!(visit(&pages).await, Err(PageError::Panicked));
        assert_eq!(visit(&pages).await, Err(PageError::Panicked), "the place was given back");
    }

    #[tokio::test]
    async fn an_abandoned_rendering_keeps_its_place_until_it_ends() {
        let (pages, entered, script) = scripted(1);
        let first = tokio::spawn({
            let pages = Arc::clone(&pages);
            async move { visit(&pages).await }
        });
        let entered = tokio::task::spawn_blocking(move || {
            entered.recv().unwrap();
            entered
        });
        let _entered = entered.await.unwrap();
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        assert_eq!(visit(&pages).await, Err(PageError::Busy(1)));

        script.send(Ok(Vec::new())).unwrap();
        let _place = pages.places.acquire().await.unwrap();
    }

    #[tokio::test]
    async fn no_limit_refuses_nobody() {
        let (pages, _entered, script) = scripted(0);
        for _ in 0..3 {
            script.send(Ok(Vec::new())).unwrap();
        }
        let (a, b, c) = tokio::join!(visit(&pages), visit(&pages), visit(&pages));
        assert_eq!((a, b, c), (Ok(plain(b"")), Ok(plain(b"")), Ok(plain(b""))));
    }
}
