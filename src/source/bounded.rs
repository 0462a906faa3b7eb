//! A connection to a Redis or a sentinel whose replies are bounded before the client library has them: it keeps each as a
//! whole, however long it is.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::resp::{ReplyBounds, ReplyLimits, ReplyTooLong};

/// The longest replies that are asked for: INFO, CLIENT LIST of ten thousand clients, a step of SCAN, of which some
/// thousand keys are 1 MiB. coturn's keys are shorter than 1 KiB.
const LIMITS: ReplyLimits = ReplyLimits { bytes: 8 << 20, values: 100_000, inner: 2048 };

/// Bytes that are read at once.
const PIECE: usize = 16 << 10;

/// A stream whose replies are bounded.
pub(super) struct Bounded<S> {
    stream: S,
    bounds: ReplyBounds,
    piece: Box<[u8]>,
    /// What has been read and may go on, from `given` on.
    out: Vec<u8>,
    given: usize,
    ended: Option<ReplyTooLong>,
}

impl<S> Bounded<S> {
    pub(super) fn new(stream: S) -> Self {
        let (bounds, piece) = (ReplyBounds::new(LIMITS), vec![0; PIECE].into());
        Self { stream, bounds, piece, out: Vec::new(), given: 0, ended: None }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if let Some(rest @ [_, ..]) = this.out.get(this.given..) {
                let many = rest.len().min(buffer.remaining());
                buffer.put_slice(rest.get(..many).unwrap_or_default());
                this.given += many;
                return Poll::Ready(Ok(()));
            }
            if let Some(too_long) = this.ended {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, too_long)));
            }
            this.out.clear();
            this.given = 0;
            let mut piece = ReadBuf::new(&mut this.piece);
            ready!(Pin::new(&mut this.stream).poll_read(context, &mut piece))?;
            if piece.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.ended = this.bounds.pass(piece.filled(), &mut this.out).err();
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
