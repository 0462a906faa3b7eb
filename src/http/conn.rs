//! One connection: hyper's machine of HTTP/1 or HTTP/2, a time limit for each stage, and the end at a shutdown.
//!
//! Opens nothing and renders nothing. hyper's own header timer is not used because it also runs while a kept-alive
//! connection is idle, where scrapers rightly stay for a minute; nor does hyper limit how long a client takes to read.

use super::WebLimits;
use super::head_frames::HeadFrames;
use super::progress::{ConnectionProgress, ConnectionStage};
use super::stream::ClientStream;
use super::stream_tasks::stream_tasks;
use crate::metrics::WebRefusal;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::{http1, http2};
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
use tokio::time::{sleep, sleep_until};

/// The most a request's head may take, in bytes; beyond it the answer is 431. Room for any proxy's headers.
const MAX_HEAD: u16 = 16 * 1024;

/// Requests that a connection of HTTP/2 may have at one time; scrapers have one. It is refused more.
const MAX_STREAMS: u32 = 16;

/// Bytes that are read from one connection before others have their turn: who sends without end, frames of HTTP/2 above
/// all, would keep a worker to itself for tenths of a second.
const TURN: usize = 4 * 1024;

/// Serves the connection until it ends, a limit is passed, it must end, or `stop` resolved and the requests in flight are
/// answered. Gives the reason if the client did not get all that it asked for.
pub(super) async fn serve<A, F>(
    stream: ClientStream,
    progress: &Arc<ConnectionProgress>,
    limits: &WebLimits,
    stop: impl Future<Output = ()>,
    answer: A,
) -> Option<WebRefusal>
where
    A: Fn(Request<Incoming>) -> F + Send,
    F: Future<Output = Response<Bytes>> + Send,
{
    if stream.is_http2() {
        serve_http2(stream, progress, limits, stop, answer).await
    } else {
        serve_http1(stream, progress, limits, stop, answer).await
    }
}

async fn serve_http1<A, F>(
    stream: ClientStream,
    progress: &Arc<ConnectionProgress>,
    limits: &WebLimits,
    stop: impl Future<Output = ()>,
    answer: A,
) -> Option<WebRefusal>
where
    A: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<Bytes>>,
{
    let io = Watched { stream, progress: Arc::clone(progress), heads: None, turn_left: TURN };
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
        .max_buf_size(MAX_HEAD.into())
        .serve_connection(TokioIo::new(io), service);
    let poll = |cx: &mut Context<'_>, stops: bool| {
        if stops {
            Pin::new(&mut connection).graceful_shutdown();
        }
        // How it ended is the client's affair: garbage was answered with 400, a reset is nobody's fault.
        Pin::new(&mut connection).poll(cx).map(drop)
    };
    within_limits(progress, limits, stop, poll).await
}

async fn serve_http2<A, F>(
    stream: ClientStream,
    progress: &Arc<ConnectionProgress>,
    limits: &WebLimits,
    stop: impl Future<Output = ()>,
    answer: A,
) -> Option<WebRefusal>
where
    A: Fn(Request<Incoming>) -> F + Send,
    F: Future<Output = Response<Bytes>> + Send,
{
    // Not each byte is of a request: a scraper asks by a PING whether we are there, and says how much it has read.
    let io =
        Watched { stream, progress: Arc::clone(progress), heads: Some(HeadFrames::new()), turn_left: TURN };
    let service = service_fn(|request| {
        let stream = progress.begin_stream(sleep(limits.answer).deadline());
        let answer = answer(request);
        async move { Ok::<_, Infallible>(answer.await.map(|body| Full::new(stream.hand(body)))) }
    });
    let (spawner, mut tasks) = stream_tasks();
    let connection = http2::Builder::new(spawner)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD.into())
        // Requests have no bodies.
        .initial_stream_window_size(u32::from(MAX_HEAD))
        .serve_connection(TokioIo::new(io), service);
    let mut connection = pin!(connection);
    let poll = |cx: &mut Context<'_>, stops: bool| {
        if stops {
            connection.as_mut().graceful_shutdown();
        }
        let ended = connection.as_mut().poll(cx).map(drop);
        tasks.poll(cx);
        ended
    };
    within_limits(progress, limits, stop, poll).await
}

/// Polls a connection until it has ended, or must end. `poll` gets `true` once, when it is to stop.
async fn within_limits(
    progress: &Arc<ConnectionProgress>,
    limits: &WebLimits,
    stop: impl Future<Output = ()>,
    mut poll: impl FnMut(&mut Context<'_>, bool) -> Poll<()>,
) -> Option<WebRefusal> {
    let mut stop = pin!(stop);
    let mut stopping = false;
    let mut must_end = pin!(progress.ended());
    let mut seen = progress.get();
    let mut time_left = pin!(sleep(limits.head));
    let end = poll_fn(|cx| {
        if let Poll::Ready(why) = must_end.as_mut().poll(cx) {
            return Poll::Ready(End::Cut(Some(why)));
        }
        let stops = !stopping && stop.as_mut().poll(cx).is_ready();
        stopping |= stops;
        // First as if nothing were: a request that is there already is answered.
        if poll(cx, false).is_ready() || (stops && poll(cx, true).is_ready()) {
            return Poll::Ready(End::Over);
        }
        let now = progress.get();
        if now.1 != seen.1 {
            seen = now;
            time_left.set(progress.due().map_or_else(|| sleep(time_for(now.0, limits)), sleep_until));
        }
        time_left.as_mut().poll(cx).map(|()| End::Cut(missed_by(now.0)))
    })
    .await;
    let End::Cut(why) = end else { return None };
    progress.cut();
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
struct Watched {
    stream: ClientStream,
    progress: Arc<ConnectionProgress>,
    /// Where heads are on HTTP/2. On HTTP/1 each byte says in which stage the connection is.
    heads: Option<HeadFrames>,
    /// Bytes that may be read in this turn.
    turn_left: usize,
}

impl Drop for Watched {
    fn drop(&mut self) {
        if self.progress.is_cut() {
            // Without this the kernel would go on offering what was written to a client that does not read.
            self.stream.forget_unsent();
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.turn_left == 0 {
            self.turn_left = TURN;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        let came = buf.filled().len().saturating_sub(before);
        self.turn_left = if polled.is_pending() { TURN } else { self.turn_left.saturating_sub(came) };
        let is_of_head = came > 0
            && match &mut self.heads {
                None => true,
                Some(heads) => heads.look(buf.filled().get(before..).unwrap_or_default()),
            };
        if is_of_head {
            self.progress.bytes_came();
        }
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.heads.is_none() {
            self.progress.writes();
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.heads.is_none() {
            self.progress.writes();
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper comes here only when it has written everything it held.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        if self.heads.is_none() && matches!(polled, Poll::Ready(Ok(()))) {
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
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    #[tokio::test]
    async fn a_request_that_came_before_the_end_is_answered() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n").await.unwrap();
        server.readable().await.unwrap();
        let (stream, progress) = (ClientStream::Plain(server), ConnectionProgress::of("192.0.2.1"));
        let answer = |_| async { Response::new(Bytes::from_static(b"well")) };
        let ended = serve(stream, &progress, &WebLimits::default(), async {}, answer).await;
        assert_eq!(ended, None);
        let mut got = String::new();
        client.read_to_string(&mut got).await.unwrap();
        assert!(got.starts_with("HTTP/1.1 200 OK\r\n") && got.ends_with("\r\n\r\nwell"), "{got:?}");
    }

    #[tokio::test]
    async fn who_sends_without_end_is_read_in_turns() {
        const ALL: usize = 8 * TURN;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        client.write_all(&vec![b'x'; ALL]).await.unwrap();
        let (stream, progress) = (ClientStream::Plain(server), ConnectionProgress::of("192.0.2.1"));
        let mut watched = Watched { stream, progress, heads: None, turn_left: TURN };
        let (mut read, mut turns) = (0, 0);
        while read < ALL {
            let before = read;
            poll_fn(|cx| {
                while read < ALL {
                    let mut bytes = [0; 1024];
                    let mut buf = ReadBuf::new(&mut bytes);
                    let Poll::Ready(done) = Pin::new(&mut watched).poll_read(cx, &mut buf) else { break };
                    done.unwrap();
                    read += buf.filled().len();
                }
                Poll::Ready(())
            })
            .await;
            assert!(read - before <= TURN, "{} bytes in one turn", read - before);
            turns += usize::from(read > before);
            tokio::task::yield_now().await;
        }
        assert!(turns >= ALL / TURN, "{turns} turns");
    }
}
