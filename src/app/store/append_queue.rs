//! Batches on their way into the journal: put in by whoever holds the table, written by one thread, waited for by pages.
//!
//! Nobody but that thread touches the disk, so that one that hangs holds nobody else. When a batch cannot be written, or
//! takes too long, the queue has *failed*: what is in it goes, nothing more is taken, until [`AppendQueue::go_on`].

use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::store::journal::{Boundary, Journal, Moments};

/// More than so much does not wait for a disk.
const MOST_WAITING: usize = 64 << 20;

/// Buffers that are kept for the next batches.
const SPARES: usize = 2;

/// A buffer that has grown larger is not kept.
const LARGEST_SPARE: usize = 1 << 20;

/// What the thread writes to.
pub(super) trait BatchFile: Send + 'static {
    /// A place between two batches.
    type Boundary: Send + 'static;

    /// Appends a batch.
    fn append(&mut self, batch: &[u8], at: Moments) -> io::Result<()>;

    /// Begins the next segment.
    fn roll(&mut self, at: Moments) -> io::Result<Self::Boundary>;

    /// Gives up what could not be written, and begins a segment behind that gap.
    fn leave_gap(&mut self, at: Moments) -> io::Result<Self::Boundary>;

    /// Ends it, behind a gap if there is one.
    fn close(self, at: Moments, has_gap: bool) -> Self::Boundary;
}

impl BatchFile for Journal {
    type Boundary = Boundary;

    fn append(&mut self, batch: &[u8], at: Moments) -> io::Result<()> {
        Self::append(self, batch, at)
    }

    fn roll(&mut self, at: Moments) -> io::Result<Boundary> {
        Self::roll(self, at)
    }

    fn leave_gap(&mut self, at: Moments) -> io::Result<Boundary> {
        self.leave_out();
        Self::roll(self, at)
    }

    fn close(mut self, at: Moments, has_gap: bool) -> Boundary {
        if has_gap {
            self.leave_out();
        }
        Self::close(self, at)
    }
}

/// All that was put in before it was given.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    number: u64,
    failures: u64,
}

/// The way to the thread that writes. Clones share it; `B` is a boundary of the file.
#[derive(Debug)]
pub(super) struct AppendQueue<B> {
    shared: Arc<QueueParts<B>>,
}

impl<B> Clone for AppendQueue<B> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

#[derive(Debug)]
struct QueueParts<B> {
    state: Mutex<AppendState<B>>,
    for_writer: Condvar,
    for_waiting: Condvar,
}

#[derive(Debug)]
struct AppendState<B> {
    jobs: VecDeque<Job<B>>,
    /// Of the batches that wait.
    bytes: usize,
    /// Batches that were put in, ever.
    put: u64,
    /// The last that was written.
    written: u64,
    failures: u64,
    /// Why it takes nothing.
    failed: Option<String>,
    spares: Vec<Vec<u8>>,
}

#[derive(Debug)]
enum Job<B> {
    Append { number: u64, batch: Vec<u8>, at: Moments },
    Roll { at: Moments, reply: SyncSender<io::Result<B>> },
    LeaveGap { at: Moments, reply: SyncSender<io::Result<B>> },
    Close { at: Moments, reply: SyncSender<B> },
}

impl<B: Send + 'static> AppendQueue<B> {
    /// An empty queue; one that has failed if there is a reason for that.
    pub(super) fn new(failed: Option<String>) -> Self {
        let state = AppendState {
            jobs: VecDeque::new(),
            bytes: 0,
            put: 0,
            written: 0,
            failures: u64::from(failed.is_some()),
            failed,
            spares: Vec::new(),
        };
        let parts =
            QueueParts { state: Mutex::new(state), for_writer: Condvar::new(), for_waiting: Condvar::new() };
        Self { shared: Arc::new(parts) }
    }

    /// An empty buffer for the next batch.
    pub(super) fn spare(&self) -> Vec<u8> {
        self.state().spares.pop().unwrap_or_default()
    }

    /// Puts a batch in; one that is empty only asks for a ticket. `None` if the queue has failed: the batch is lost. Must be
    /// called in the order of the batches, so by whoever holds the table.
    pub(super) fn put(&self, batch: Vec<u8>, at: Moments) -> Option<Ticket> {
        let mut state = self.state();
        if state.failed.is_some() {
            return None;
        }
        if !batch.is_empty() {
            state.put += 1;
            state.bytes += batch.len();
            let number = state.put;
            state.jobs.push_back(Job::Append { number, batch, at });
            self.shared.for_writer.notify_one();
        }
        if state.bytes > MOST_WAITING {
            self.fail(&mut state, "the disk is slower than what is to be written".to_owned());
            return None;
        }
        Some(Ticket { number: state.put, failures: state.failures })
    }

    /// Waits until all that the ticket stands for is written; for longer than `patience` it is a failure of the queue. False
    /// if it is not written.
    pub(super) fn wait(&self, ticket: Ticket, patience: Duration) -> bool {
        let is_pending =
            |state: &mut AppendState<B>| state.failures == ticket.failures && state.written < ticket.number;
        let waited = self.shared.for_waiting.wait_timeout_while(self.state(), patience, is_pending);
        let (mut state, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() && state.failures == ticket.failures {
            self.fail(&mut state, "writing takes too long".to_owned());
        }
        state.failures == ticket.failures
    }

    /// Whether all that the ticket stands for is written, or lost.
    pub(super) fn is_over(&self, ticket: Ticket) -> bool {
        let state = self.state();
        state.failures != ticket.failures || state.written >= ticket.number
    }

    /// Asks for a boundary behind all that was put in. Nothing comes from the receiver if the queue fails before; without
    /// room for a boundary it has not failed, as long as batches can be written.
    pub(super) fn roll(&self, at: Moments) -> Receiver<io::Result<B>> {
        let (reply, boundary) = sync_channel(1);
        let mut state = self.state();
        if state.failed.is_none() {
            state.jobs.push_back(Job::Roll { at, reply });
            self.shared.for_writer.notify_one();
        }
        boundary
    }

    /// Asks for a boundary behind what was lost. The queue stays failed.
    pub(super) fn leave_gap(&self, at: Moments) -> Receiver<io::Result<B>> {
        let (reply, boundary) = sync_channel(1);
        self.state().jobs.push_back(Job::LeaveGap { at, reply });
        self.shared.for_writer.notify_one();
        boundary
    }

    /// Takes batches again, behind the boundary of [`Self::leave_gap`].
    pub(super) fn go_on(&self) {
        let mut state = self.state();
        state.failed = None;
        // What was lost is in the snapshot.
        state.written = state.put;
    }

    /// Ends the file behind all that was put in, and the thread.
    pub(super) fn close(&self, at: Moments) -> Receiver<B> {
        let (reply, boundary) = sync_channel(1);
        self.state().jobs.push_back(Job::Close { at, reply });
        self.shared.for_writer.notify_one();
        boundary
    }

    /// How often it has failed.
    pub(super) fn failures(&self) -> u64 {
        self.state().failures
    }

    /// Why it takes nothing, if so.
    pub(super) fn failed(&self) -> Option<String> {
        self.state().failed.clone()
    }

    /// Writes what is put in, until it is closed. Blocks.
    pub(super) fn work<F: BatchFile<Boundary = B>>(&self, mut file: F) {
        loop {
            let (job, failures) = self.next_job();
            match job {
                Job::Append { number, batch, at } => {
                    let result = file.append(&batch, at);
                    self.appended(number, batch, failures, result);
                }
                // Whoever asked may be gone.
                Job::Roll { at, reply } => drop(reply.send(file.roll(at))),
                Job::LeaveGap { at, reply } => drop(reply.send(file.leave_gap(at))),
                Job::Close { at, reply } => {
                    let has_gap = self.state().failed.is_some();
                    drop(reply.send(file.close(at, has_gap)));
                    return;
                }
            }
        }
    }

    fn next_job(&self) -> (Job<B>, u64) {
        let mut state = self.state();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                return (job, state.failures);
            }
            state = self.shared.for_writer.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn appended(&self, number: u64, mut batch: Vec<u8>, failures: u64, result: io::Result<()>) {
        let mut state = self.state();
        // It has failed meanwhile: this one comes too late.
        if state.failures != failures {
            return;
        }
        match result {
            Ok(()) => {
                state.written = number;
                state.bytes = state.bytes.saturating_sub(batch.len());
                if state.spares.len() < SPARES && batch.capacity() <= LARGEST_SPARE {
                    batch.clear();
                    state.spares.push(batch);
                }
                self.shared.for_waiting.notify_all();
            }
            Err(error) => self.fail(&mut state, error.to_string()),
        }
    }

    fn fail(&self, state: &mut AppendState<B>, reason: String) {
        state.failed = Some(reason);
        state.failures += 1;
        state.jobs.retain(|job| matches!(job, Job::Close { .. }));
        state.bytes = 0;
        self.shared.for_waiting.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, AppendState<B>> {
        // Nothing in here panics.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Sender, channel};

    const PATIENCE: Duration = Duration::from_secs(60);

    /// What becomes of each batch comes over a channel; the boundaries are how many were written.
    struct Scripted {
        script: Receiver<io::Result<()>>,
        written: usize,
        gaps: usize,
    }

    impl BatchFile for Scripted {
        type Boundary = (usize, usize);

        fn append(&mut self, _: &[u8], _: Moments) -> io::Result<()> {
            self.script.recv().unwrap()?;
            self.written += 1;
            Ok(())
        }

        fn roll(&mut self, _: Moments) -> io::Result<(usize, usize)> {
            Ok((self.written, self.gaps))
        }

        fn leave_gap(&mut self, _: Moments) -> io::Result<(usize, usize)> {
            self.gaps += 1;
            Ok((self.written, self.gaps))
        }

        fn close(self, _: Moments, has_gap: bool) -> (usize, usize) {
            (self.written, self.gaps + usize::from(has_gap))
        }
    }

    type Script = Sender<io::Result<()>>;

    fn scripted() -> (AppendQueue<(usize, usize)>, Script) {
        let queue = AppendQueue::new(None);
        let (send, script) = channel();
        let writer = queue.clone();
        std::thread::spawn(move || writer.work(Scripted { script, written: 0, gaps: 0 }));
        (queue, send)
    }

    fn at() -> Moments {
        Moments::default()
    }

    #[test]
    fn a_ticket_stands_for_all_that_was_put_in_before() {
        let (queue, script) = scripted();
        let first = queue.put(vec![1], at()).unwrap();
        queue.put(vec![2], at()).unwrap();
        let all = queue.put(Vec::new(), at()).unwrap();
        script.send(Ok(())).unwrap();
        assert!(queue.wait(first, PATIENCE));
        assert_eq!(queue.state().written, 1, "the second is not written yet");
        script.send(Ok(())).unwrap();
        assert!(queue.wait(all, PATIENCE));
        assert_eq!(queue.roll(at()).recv().unwrap().unwrap(), (2, 0));
        assert_eq!(queue.close(at()).recv().unwrap(), (2, 0));
    }

    #[test]
    fn what_cannot_be_written_fails_all_who_wait_until_it_goes_on() {
        let (queue, script) = scripted();
        let first = queue.put(vec![1], at()).unwrap();
        let second = queue.put(vec![2], at()).unwrap();
        let boundary = queue.roll(at());
        script.send(Err(io::ErrorKind::StorageFull.into())).unwrap();
        assert!(!queue.wait(first, PATIENCE) && !queue.wait(second, PATIENCE));
        assert!(boundary.recv().is_err(), "no boundary behind what was lost");
        assert!(queue.put(vec![3], at()).is_none() && queue.failed().is_some());
        assert_eq!(queue.leave_gap(at()).recv().unwrap().unwrap(), (0, 1));
        assert!(queue.put(vec![4], at()).is_none(), "not before it is told to");
        queue.go_on();
        let ticket = queue.put(vec![5], at()).unwrap();
        script.send(Ok(())).unwrap();
        assert!(queue.wait(ticket, PATIENCE) && !queue.wait(first, PATIENCE));
        assert_eq!((queue.failures(), queue.failed()), (1, None));
    }

    #[test]
    fn a_disk_that_hangs_holds_nobody_and_what_it_writes_later_does_not_count() {
        let (queue, script) = scripted();
        let ticket = queue.put(vec![1], at()).unwrap();
        // Until the thread is at it: what it has not begun would be dropped.
        while !queue.state().jobs.is_empty() {
            std::thread::yield_now();
        }
        assert!(!queue.wait(ticket, Duration::from_millis(1)));
        let gap = queue.leave_gap(at());
        script.send(Ok(())).unwrap();
        assert_eq!(gap.recv().unwrap().unwrap(), (1, 1));
        assert_eq!(queue.state().written, 0);
        assert_eq!(queue.close(at()).recv().unwrap(), (1, 2), "it is still failed");
    }

    #[test]
    fn what_waits_for_a_disk_is_bounded() {
        let (queue, _script) = scripted();
        assert!(queue.put(vec![0; MOST_WAITING], at()).is_some());
        assert!(queue.put(vec![0; 2], at()).is_none());
        assert_eq!(queue.state().bytes, 0);
    }
}
