//! One connection: hyper's HTTP/1 machine, a time limit for each stage, and the end when told to stop.
//!
//! Opens nothing and renders nothing. hyper's own header timer is not used because it also runs while a kept-alive
//! connection is idle, where scrapers rightly stay for a minute; nor does hyper limit how long a client takes to read.

use super::Limits;
use super::long_url::RequestLine;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::sleep;

/// The most a request's head may take, in bytes; beyond it the answer is 431. Room for any proxy's headers.
const MAX_HEAD: usize = 16 * 1024;

/// What the connection is doing, as far as time limits are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// A request's head is awaited: the connection is new, or the first bytes of the head have come.
    Head,
    /// A request is being answered; `handed` over to hyper means only writing is left.
    Answer { handed: bool },
    /// The answer is out, nothing of the next request has come.
    Idle,
}

/// The stage, and how often one began: a stage that begins anew gets its full time.
#[derive(Debug)]
struct Progress(Mutex<(Stage, u64)>);

impl Progress {
    fn new() -> Self {
        Self(Mutex::new((Stage::Head, 0)))
    }

    fn get(&self) -> (Stage, u64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, stage: Stage) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *now = (stage, now.1.wrapping_add(1));
    }

    /// hyper has taken the response: writing goes on within the time that answering has.
    fn handed(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0 = Stage::Answer { handed: true };
    }

    /// Whether they begin a request.
    fn bytes_came(&self) -> bool {
        let was_idle = self.get().0 == Stage::Idle;
        if was_idle {
            self.begin(Stage::Head);
        }
        was_idle
    }

    fn writes(&self) {
        // hyper flushed earlier answers before it took up this one (pipelining).
        if self.get().0 == Stage::Idle {
            self.begin(Stage::Answer { handed: true });
        }
    }

    fn flushed(&self) {
        // hyper also flushes while the answer is still being made.
        if self.get().0 == (Stage::Answer { handed: true }) {
            self.begin(Stage::Idle);
        }
    }
}

/// Serves the connection until it ends, a limit is passed, or `stop` resolved and the request in flight is answered.
pub(super) async fn serve<A, F>(stream: TcpStream, limits: &Limits, stop: impl Future<Output = ()>, answer: A)
where
    A: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<Bytes>>,
{
    // A page is written at once; waiting for more to send only delays its end. Failure costs a delay.
    let _ = stream.set_nodelay(true);
    let progress = Arc::new(Progress::new());
    let io = TokioIo::new(Watched { stream, progress: Arc::clone(&progress), line: RequestLine::begin() });
    let service = service_fn(|request| {
        progress.begin(Stage::Answer { handed: false });
        let answer = answer(request);
        let progress = &progress;
        async move {
            let response = answer.await.map(Full::new);
            progress.handed();
            Ok::<_, Infallible>(response)
        }
    });
    let mut connection = http1::Builder::new()
        .header_read_timeout(None)
        // A client that has said all it wants to say (`nc -N`) still waits for the answer.
        .half_close(true)
        .max_buf_size(MAX_HEAD)
        .serve_connection(io, service);

    let mut stop = pin!(stop);
    let mut stopping = false;
    let mut seen = progress.get();
    let mut time_left = pin!(sleep(limits.head));
    let in_time = poll_fn(|cx| {
        if !stopping && stop.as_mut().poll(cx).is_ready() {
            stopping = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        // How it ended is the client's affair: garbage was answered with 400, a reset is nobody's fault.
        if Pin::new(&mut connection).poll(cx).is_ready() {
            return Poll::Ready(true);
        }
        let now = progress.get();
        if now.1 != seen.1 {
            seen = now;
            time_left.set(sleep(match now.0 {
                Stage::Head => limits.head,
                Stage::Answer { .. } => limits.answer,
                Stage::Idle => limits.idle,
            }));
        }
        time_left.as_mut().poll(cx).map(|()| false)
    })
    .await;

    if !in_time {
        // Without this the kernel would go on offering what was written to a client that does not read.
        let _ = connection.into_parts().io.inner().stream.set_zero_linger();
    }
}

/// A stream that notes what passes.
#[derive(Debug)]
struct Watched<S> {
    stream: S,
    progress: Arc<Progress>,
    line: RequestLine,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        loop {
            let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
            let Some(came) = buf.filled_mut().get_mut(before..).filter(|came| !came.is_empty()) else {
                return polled;
            };
            if self.progress.bytes_came() {
                self.line = RequestLine::begin();
            }
            let left = self.line.shorten(came);
            buf.set_filled(before + left);
            // To read nothing would mean the end of the stream.
            if left > 0 {
                return polled;
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.progress.writes();
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.progress.writes();
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper comes here only when it has written everything it held.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        if matches!(polled, Poll::Ready(Ok(()))) {
            self.progress.flushed();
        }
        polled
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stages_of_two_requests() {
        let progress = Progress::new();
        progress.bytes_came();
        progress.bytes_came();
        assert_eq!(progress.get(), (Stage::Head, 0), "a dripping head gets no new time");
        progress.begin(Stage::Answer { handed: false });
        progress.flushed();
        assert_eq!(progress.get(), (Stage::Answer { handed: false }, 1), "nothing was written yet");
        progress.handed();
        progress.writes();
        progress.writes();
        assert_eq!(
            progress.get(),
            (Stage::Answer { handed: true }, 1),
            "writing shares the time of answering"
        );
        progress.flushed();
        progress.flushed();
        assert_eq!(progress.get(), (Stage::Idle, 2));
        progress.bytes_came();
        assert_eq!(progress.get(), (Stage::Head, 3), "the next head has its own time");
    }

    #[test]
    fn an_answer_held_back_by_pipelining_is_still_limited() {
        let progress = Progress::new();
        progress.begin(Stage::Answer { handed: true });
        progress.flushed();
        progress.writes();
        assert_eq!(progress.get(), (Stage::Answer { handed: true }, 3));
    }
}
