//! One connection: hyper's HTTP/1 machine, a time limit for each stage, and the end at a shutdown.
//!
//! Opens nothing and renders nothing. hyper's own header timer is not used because it also runs while a kept-alive
//! connection is idle, where scrapers rightly stay for a minute; nor does hyper limit how long a client takes to read.

use super::WebLimits;
use super::progress::{ConnectionProgress, ConnectionStage};
use crate::metrics::WebRefusal;
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
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::sleep;

/// The most a request's head may take, in bytes; beyond it the answer is 431. Room for any proxy's headers.
const MAX_HEAD: usize = 16 * 1024;

/// Serves the connection until it ends, a limit is passed, it must end, or `stop` resolved and the request in flight is
/// answered. Gives the reason if the client did not get all that it asked for.
pub(super) async fn serve<A, F>(
    stream: TcpStream,
    progress: &Arc<ConnectionProgress>,
    limits: &WebLimits,
    stop: impl Future<Output = ()>,
    answer: A,
) -> Option<WebRefusal>
where
    A: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<Bytes>>,
{
    // A page is written at once; waiting for more to send only delays its end. Failure costs a delay.
    let _ = stream.set_nodelay(true);
    let io = TokioIo::new(Watched { stream, progress: Arc::clone(progress) });
    let service = service_fn(|request| {
        progress.begin(ConnectionStage::Answer { handed: false });
        let answer = answer(request);
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
    let mut must_end = pin!(progress.ended());
    let mut seen = progress.get();
    let mut time_left = pin!(sleep(limits.head));
    let end = poll_fn(|cx| {
        if let Poll::Ready(why) = must_end.as_mut().poll(cx) {
            return Poll::Ready(End::Cut(Some(why)));
        }
        if !stopping && stop.as_mut().poll(cx).is_ready() {
            stopping = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        // How it ended is the client's affair: garbage was answered with 400, a reset is nobody's fault.
        if Pin::new(&mut connection).poll(cx).is_ready() {
            return Poll::Ready(End::Over);
        }
        let now = progress.get();
        if now.1 != seen.1 {
            seen = now;
            time_left.set(sleep(time_for(now.0, limits)));
        }
        time_left.as_mut().poll(cx).map(|()| End::Cut(missed_by(now.0)))
    })
    .await;

    let End::Cut(why) = end else { return None };
    // Without this the kernel would go on offering what was written to a client that does not read.
    let _ = connection.into_parts().io.inner().stream.set_zero_linger();
    why
}

/// How long a connection may be in this stage.
const fn time_for(stage: ConnectionStage, limits: &WebLimits) -> Duration {
    match stage {
        ConnectionStage::Head => limits.head,
        ConnectionStage::Answer { .. } => limits.answer,
        ConnectionStage::Idle => limits.idle,
    }
}

/// What a client did not get whose connection is closed in this stage.
const fn missed_by(stage: ConnectionStage) -> Option<WebRefusal> {
    match stage {
        ConnectionStage::Head => Some(WebRefusal::HeadTimeout),
        ConnectionStage::Answer { .. } => Some(WebRefusal::AnswerTimeout),
        // It has got all that it asked for.
        ConnectionStage::Idle => None,
    }
}

/// How a connection ended.
enum End {
    /// By itself.
    Over,
    /// By us, for this reason if the client is to blame or has something to miss.
    Cut(Option<WebRefusal>),
}

/// A stream that notes what passes.
#[derive(Debug)]
struct Watched<S> {
    stream: S,
    progress: Arc<ConnectionProgress>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.progress.bytes_came();
        }
        polled
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
