//! Has the page rendered: off the async workers, once for all who ask meanwhile, and without letting a panic through.
//!
//! Knows neither requests nor responses.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::HeaderMap;
use hyper::body::Bytes;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use super::WebLimits;
use super::accept;
use super::gzip::{Coding, coded};
use super::unsent::{Rendering, UnsentPages};
use crate::metrics::{Format, Render};

/// Why there is no page.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PageError {
    /// As many renderings as allowed are under way, and none of them ended in time.
    #[error("{0} pages are being rendered, which is the limit: try again later")]
    Busy(usize),
    /// Compressing it failed. Text, because one error answers all who share the rendering.
    #[error("cannot compress the page: {reason}")]
    Compression {
        /// What the library said.
        reason: String,
    },
    /// The renderer panicked; the panic hook has shown where.
    #[error("rendering the page crashed: the exporter's log has the details")]
    Panicked,
}

/// In which form a page is wanted: those who want equal ones share a rendering.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PageForm {
    pub(super) format: Format,
    pub(super) coding: Coding,
}

impl PageForm {
    /// What the request prefers.
    pub(super) fn preferred(headers: &HeaderMap) -> Self {
        Self { format: accept::format(headers), coding: accept::coding(headers) }
    }
}

/// A page as it goes out, to one or to many.
#[derive(Clone, Debug)]
pub(super) struct EncodedPage {
    pub(super) rendering: Arc<Rendering>,
    pub(super) coding: Coding,
}

/// The page, who waits for it, and the places in its queue.
pub(super) struct Pages {
    renderer: Arc<Renderer>,
}

struct Renderer {
    page: Arc<dyn Render>,
    places: Arc<Semaphore>,
    limit: usize,
    /// How long a rendering may wait for its place.
    wait: Duration,
    shared: Mutex<Vec<SharedRendering>>,
    unsent: UnsentPages,
    /// The length of the page that was rendered last, as a guess at the next.
    last_length: AtomicUsize,
    failing: AtomicBool,
}

/// What came of a rendering; `None` while it is under way.
type RenderingOutcome = Option<Result<EncodedPage, PageError>>;

/// A rendering under way, which all get who ask for the like.
struct SharedRendering {
    form: PageForm,
    outcome: watch::Receiver<RenderingOutcome>,
}

impl Pages {
    /// As many renderings at a time as `limits` allow; 0 means no limit.
    pub(super) fn new(page: Arc<dyn Render>, limits: &WebLimits) -> Self {
        let limit = limits.max_requests;
        let places = if limit == 0 { Semaphore::MAX_PERMITS } else { limit.min(Semaphore::MAX_PERMITS) };
        Self {
            renderer: Arc::new(Renderer {
                page,
                places: Arc::new(Semaphore::new(places)),
                limit,
                wait: limits.wait,
                shared: Mutex::default(),
                unsent: UnsentPages::new(limits.unsent),
                last_length: AtomicUsize::new(0),
                failing: AtomicBool::new(false),
            }),
        }
    }

    /// Counts an answer that is no page among what is unsent.
    pub(super) fn hold(&self, body: Bytes) -> Arc<Rendering> {
        self.renderer.unsent.hold(body)
    }

    /// The page in that form, packed if it is worth it: the one that is being rendered, or else a new one.
    ///
    /// A rendering goes on when those go away who wait for it, the first of them included, and holds its place until it
    /// ends: impatient clients can neither take it from the others nor pile up more than the limit.
    pub(super) async fn render(&self, form: PageForm) -> Result<EncodedPage, PageError> {
        let mut outcome = self.join(form);
        let found = match outcome.wait_for(Option::is_some).await {
            Ok(found) => found.clone(),
            // Its task is gone without a word.
            Err(_) => None,
        };
        found.unwrap_or(Err(PageError::Panicked))
    }

    fn join(&self, form: PageForm) -> watch::Receiver<RenderingOutcome> {
        let mut shared = self.renderer.shared();
        // Of a task that is gone nothing comes.
        shared.retain(|rendering| rendering.outcome.has_changed().is_ok());
        if let Some(rendering) = shared.iter().find(|rendering| rendering.form == form) {
            return rendering.outcome.clone();
        }
        let (to_all, outcome) = watch::channel(None);
        shared.push(SharedRendering { form, outcome: outcome.clone() });
        drop(shared);
        let renderer = Arc::clone(&self.renderer);
        tokio::spawn(async move {
            let result = Arc::clone(&renderer).render(form).await;
            renderer.note(result.as_ref().err());
            // Before anybody has the page: who asks from now on gets a newer one.
            renderer.shared().retain(|other| other.form != form);
            to_all.send_replace(Some(result));
        });
        outcome
    }
}

impl Renderer {
    fn shared(&self) -> MutexGuard<'_, Vec<SharedRendering>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn render(self: Arc<Self>, form: PageForm) -> Result<EncodedPage, PageError> {
        let place = timeout(self.wait, Arc::clone(&self.places).acquire_owned()).await;
        let Ok(Ok(place)) = place else { return Err(PageError::Busy(self.limit)) };
        let rendered = tokio::task::spawn_blocking(move || {
            let _place = place;
            self.unsent.make_room(self.last_length.load(Ordering::Relaxed));
            let body = self.page.render(form.format);
            let (mut body, coding) = coded(body, form.coding)
                .map_err(|error| PageError::Compression { reason: error.to_string() })?;
            body.shrink_to_fit();
            self.last_length.store(body.len(), Ordering::Relaxed);
            Ok(EncodedPage { rendering: self.unsent.hold(body), coding })
        });
        rendered.await.unwrap_or(Err(PageError::Panicked))
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
        f.debug_struct("Pages").field("limit", &self.renderer.limit).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::progress::ConnectionProgress;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use tokio::task::JoinHandle;

    /// Renders what it is sent, when it is sent; a dropped or silent sender makes it panic.
    struct Scripted {
        entered: Mutex<Sender<()>>,
        script: Mutex<Receiver<Scripting>>,
    }

    impl Render for Scripted {
        fn render(&self, _: Format) -> Vec<u8> {
            self.entered.lock().unwrap().send(()).unwrap();
            // The lock is not held through the panic: the next rendering must fail by itself.
            let next = self.script.lock().unwrap().recv_timeout(PATIENCE);
            next.expect("a scripted rendering")
        }
    }

    /// Bounded, so that a rendering that should not have begun fails its test and does not hang it.
    const PATIENCE: Duration = Duration::from_secs(10);

    type Scripting = Vec<u8>;

    const PACKED: PageForm = PageForm { format: Format::Text, coding: Coding::Gzip };

    /// The pages, what reports that a rendering began, and what ends it.
    fn scripted(max_requests: usize, wait: Duration) -> (Arc<Pages>, Receiver<()>, Sender<Scripting>) {
        let (entered, has_entered) = channel();
        let (send, script) = channel();
        let page = Scripted { entered: Mutex::new(entered), script: Mutex::new(script) };
        let limits = WebLimits { max_requests, wait, ..WebLimits::default() };
        (Arc::new(Pages::new(Arc::new(page), &limits)), has_entered, send)
    }

    async fn ask(pages: &Pages, form: PageForm) -> Result<Vec<u8>, PageError> {
        let page = pages.render(form).await?;
        Ok(page.rendering.body_for(&ConnectionProgress::of("192.0.2.1")).to_vec())
    }

    async fn visit(pages: &Pages) -> Result<Vec<u8>, PageError> {
        ask(pages, PageForm::default()).await
    }

    fn visitor(pages: &Arc<Pages>) -> JoinHandle<Result<Vec<u8>, PageError>> {
        let pages = Arc::clone(pages);
        tokio::spawn(async move { visit(&pages).await })
    }

    /// Waits for a rendering to begin.
    async fn begun(entered: Receiver<()>) -> Receiver<()> {
        let waiting = tokio::task::spawn_blocking(move || {
            entered.recv_timeout(PATIENCE).unwrap();
            entered
        });
        waiting.await.unwrap()
    }

    /// Lets the tasks that were begun run until they wait: the runtime of these tests has one worker.
    async fn all_wait() {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn pages_and_panics_come_back() {
        let (pages, _entered, script) = scripted(1, PATIENCE);
        script.send(b"up 1\n".to_vec()).unwrap();
        assert_eq!(visit(&pages).await, Ok(b"up 1\n".to_vec()));
        drop(script);
        assert_eq!(visit(&pages).await, Err(PageError::Panicked));
        assert_eq!(visit(&pages).await, Err(PageError::Panicked), "the place was given back");
    }

    #[tokio::test]
    async fn one_rendering_is_for_all_who_ask_within_it_though_the_first_goes_away() {
        let (pages, entered, script) = scripted(0, PATIENCE);
        let first = visitor(&pages);
        let entered = begun(entered).await;
        let others = [visitor(&pages), visitor(&pages), visitor(&pages)];
        all_wait().await;
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        script.send(b"one".to_vec()).unwrap();
        for other in others {
            assert_eq!(other.await.unwrap(), Ok(b"one".to_vec()));
        }
        assert!(entered.try_recv().is_err(), "it was rendered once");
        script.send(b"two".to_vec()).unwrap();
        assert_eq!(visit(&pages).await, Ok(b"two".to_vec()), "who asks later gets a later page");
    }

    #[tokio::test]
    async fn a_panic_reaches_all_who_wait() {
        let (pages, entered, script) = scripted(0, PATIENCE);
        let first = visitor(&pages);
        let _entered = begun(entered).await;
        let second = visitor(&pages);
        all_wait().await;
        drop(script);
        assert_eq!(first.await.unwrap(), Err(PageError::Panicked));
        assert_eq!(second.await.unwrap(), Err(PageError::Panicked));
    }

    #[tokio::test]
    async fn a_scraper_waits_for_a_place_and_not_for_ever() {
        let (pages, entered, script) = scripted(1, PATIENCE);
        let first = visitor(&pages);
        let _entered = begun(entered).await;
        let second = tokio::spawn({
            let pages = Arc::clone(&pages);
            async move { ask(&pages, PACKED).await }
        });
        all_wait().await;
        // Meanwhile another runs out of a shorter time.
        let (others, entered, other_script) = scripted(1, Duration::from_millis(50));
        let other = visitor(&others);
        let _other_entered = begun(entered).await;
        assert_eq!(ask(&others, PACKED).await, Err(PageError::Busy(1)));
        other_script.send(Vec::new()).unwrap();
        other.await.unwrap().unwrap();

        script.send(b"one".to_vec()).unwrap();
        script.send(b"two".to_vec()).unwrap();
        assert_eq!(first.await.unwrap(), Ok(b"one".to_vec()));
        assert_eq!(second.await.unwrap(), Ok(b"two".to_vec()));
    }

    #[tokio::test]
    async fn an_abandoned_rendering_keeps_its_place_until_it_ends() {
        let (pages, entered, script) = scripted(1, Duration::from_millis(1));
        let first = visitor(&pages);
        let _entered = begun(entered).await;
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        assert_eq!(ask(&pages, PACKED).await, Err(PageError::Busy(1)));

        script.send(Vec::new()).unwrap();
        let _place = pages.renderer.places.acquire().await.unwrap();
    }

    #[tokio::test]
    async fn no_limit_refuses_nobody() {
        let (pages, _entered, script) = scripted(0, Duration::ZERO);
        for _ in 0..2 {
            script.send(Vec::new()).unwrap();
        }
        let (a, b) = tokio::join!(visit(&pages), ask(&pages, PACKED));
        assert_eq!((a, b), (Ok(Vec::new()), Ok(Vec::new())));
    }
}
