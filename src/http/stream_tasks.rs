//! The streams of a connection of HTTP/2, polled by the task of the connection: they end with it, and a panic in one ends no
//! other connection.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hyper::rt::Executor;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

type StreamTask<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Where hyper hands over a stream. As many as may be open at one time are in the channel at most.
#[derive(Clone)]
pub(super) struct StreamSpawner<'a> {
    new: UnboundedSender<StreamTask<'a>>,
}

/// The streams.
pub(super) struct StreamTasks<'a> {
    new: UnboundedReceiver<StreamTask<'a>>,
    running: FuturesUnordered<StreamTask<'a>>,
}

/// Both ends.
pub(super) fn stream_tasks<'a>() -> (StreamSpawner<'a>, StreamTasks<'a>) {
    let (sender, receiver) = unbounded_channel();
    (StreamSpawner { new: sender }, StreamTasks { new: receiver, running: FuturesUnordered::new() })
}

impl<'a, F: Future<Output = ()> + Send + 'a> Executor<F> for StreamSpawner<'a> {
    fn execute(&self, stream: F) {
        // The other end is there as long as the connection is polled.
        let _ = self.new.send(Box::pin(stream));
    }
}

impl StreamTasks<'_> {
    /// Lets each stream go on that can.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) {
        loop {
            while let Poll::Ready(Some(stream)) = self.new.poll_recv(cx) {
                self.running.push(stream);
            }
            if !matches!(self.running.poll_next_unpin(cx), Poll::Ready(Some(()))) {
                return;
            }
        }
    }
}
