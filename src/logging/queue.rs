//! A bounded queue of log lines, and the thread that writes them: whoever logs never waits for whoever reads the log.
//!
//! Of our own, because `tracing-appender` bounds lines and not their bytes, does not say in the log how many it
//! dropped, drops the last error of the program when its queue is full, and then prints onto standard output, which
//! may be a capture.

use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Bytes of lines that may wait; more are dropped.
const LIMIT: usize = 1 << 20;

/// What a pipe takes as a whole or not at all (`PIPE_BUF` of Linux). Written in pieces of at most so much, no line is
/// cut by the end of the process, or by what another process writes into the same pipe.
const ATOMIC: usize = 4096;

/// How long to wait for an output that takes nothing at present and does not let us wait for it.
const RETRY: Duration = Duration::from_millis(50);

/// Lines on their way to the output.
#[derive(Debug)]
pub(super) struct LogQueue {
    state: Mutex<QueueState>,
    changed: Condvar,
    limit: usize,
    dropped: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct QueueState {
    /// Whole lines that nobody writes yet.
    lines: Vec<u8>,
    /// Bytes that the thread has taken and not yet written.
    in_flight: usize,
    /// Lines dropped since the thread last took some. While there are any, more are dropped: so that the log says it once
    /// for all of them, where they are missing.
    dropped: u64,
    /// No more lines will come.
    is_closed: bool,
    /// The thread has nothing more to do.
    is_done: bool,
}

/// What the thread writes at once.
struct LineBatch {
    lines: Vec<u8>,
    /// Lines missing behind these.
    dropped: u64,
}

impl LogQueue {
    pub(super) fn new() -> Self {
        Self::with_limit(LIMIT)
    }

    fn with_limit(limit: usize) -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), limit, dropped: Arc::default() }
    }

    /// The number of lines dropped so far.
    pub(super) fn dropped(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.dropped)
    }

    /// Adds a line, or drops it. Never waits for the output.
    pub(super) fn push(&self, line: &[u8]) {
        let mut state = self.lock();
        if state.dropped > 0 || state.lines.len() + state.in_flight + line.len() > self.limit {
            state.dropped += 1;
            self.dropped.fetch_add(1, Ordering::Relaxed);
        } else {
            state.lines.extend_from_slice(line);
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Adds a line even if the queue is full: the last one, which says why the program ends.
    pub(super) fn push_last(&self, line: &[u8]) {
        self.lock().lines.extend_from_slice(line);
        self.changed.notify_all();
    }

    /// Waits until all lines are written, but no longer than this.
    pub(super) fn finish(&self, limit: Duration) {
        let mut state = self.lock();
        state.is_closed = true;
        self.changed.notify_all();
        // Nothing can be done about what is not written now.
        drop(self.changed.wait_timeout_while(state, limit, |state| !state.is_done));
    }

    /// Writes lines onto `out` until the queue is closed and empty. `note` makes the line that says how many are missing.
    pub(super) fn write_onto(&self, mut out: impl Write, note: impl Fn(u64) -> String) {
        // Lines that could not be written, of which the log does not say so yet.
        let mut failed = 0;
        while let Some(batch) = self.take() {
            if failed > 0 && write(&mut out, note(failed).as_bytes()).is_ok() {
                failed = 0;
            }
            let mut rest = batch.lines.as_slice();
            while let Some((piece, more)) = rest.split_at_checked(whole_lines(rest))
                && !piece.is_empty()
            {
                if write(&mut out, piece).is_err() {
                    let lines = piece.split_inclusive(|&byte| byte == b'\n').count() as u64;
                    self.dropped.fetch_add(lines, Ordering::Relaxed);
                    failed += lines;
                }
                self.lock().in_flight -= piece.len();
                rest = more;
            }
            if batch.dropped > 0 && write(&mut out, note(batch.dropped).as_bytes()).is_err() {
                failed += batch.dropped;
            }
        }
    }

    /// Waits for lines; `None` once no more will come.
    fn take(&self) -> Option<LineBatch> {
        let idle = |state: &mut QueueState| state.lines.is_empty() && state.dropped == 0;
        let waiting = self.changed.wait_while(self.lock(), |state| idle(state) && !state.is_closed);
        let mut state = waiting.unwrap_or_else(PoisonError::into_inner);
        if idle(&mut state) {
            state.is_done = true;
            self.changed.notify_all();
            return None;
        }
        let lines = std::mem::take(&mut state.lines);
        state.in_flight = lines.len();
        Some(LineBatch { lines, dropped: std::mem::take(&mut state.dropped) })
    }

    /// Whether all is written, and the thread is at its end.
    #[cfg(test)]
    pub(super) fn is_done(&self) -> bool {
        self.lock().is_done
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The length of the first piece of `lines`: as many whole lines as fit, at least one.
fn whole_lines(lines: &[u8]) -> usize {
    if lines.len() <= ATOMIC {
        return lines.len();
    }
    let is_end = |&byte: &u8| byte == b'\n';
    let fits = lines.iter().take(ATOMIC).rposition(is_end);
    fits.or_else(|| lines.iter().position(is_end)).map_or(lines.len(), |end| end + 1)
}

fn write(out: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match out.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Somebody who has the other end made it so.
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(RETRY),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    const PATIENCE: Duration = Duration::from_secs(60);

    fn note(lines: u64) -> String {
        format!("{lines} missing\n")
    }

    /// An output that takes a piece when the test asks for it.
    struct Rendezvous(SyncSender<String>);

    impl Write for Rendezvous {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Once the test no longer asks, it is as a pipe without a reader.
            let sent = self.0.send(String::from_utf8(bytes.to_owned()).unwrap());
            sent.map(|()| bytes.len()).map_err(|_| ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A queue whose output is read piece by piece.
    fn queue(limit: usize) -> (Arc<LogQueue>, Receiver<String>) {
        let (sender, receiver) = sync_channel(0);
        let queue = Arc::new(LogQueue::with_limit(limit));
        let writing = Arc::clone(&queue);
        thread::spawn(move || writing.write_onto(Rendezvous(sender), note));
        (queue, receiver)
    }

    /// Waits until the thread has taken what there was.
    fn until_taken(queue: &LogQueue) {
        while !queue.lock().lines.is_empty() {
            thread::yield_now();
        }
    }

    fn next(output: &Receiver<String>) -> String {
        output.recv_timeout(PATIENCE).unwrap()
    }

    #[test]
    fn more_than_the_limit_is_dropped_counted_and_said_once_where_it_is_missing() {
        let (queue, output) = queue(12);
        let dropped = queue.dropped();
        queue.push(b"one\n");
        until_taken(&queue);
        // What the thread holds counts too.
        queue.push(b"two\n");
        queue.push(b"three\n");
        assert_eq!(dropped.load(Ordering::Relaxed), 1);
        // There would be room for this one; but what is missing is missing in one place.
        queue.push(b"333\n");
        assert_eq!(dropped.load(Ordering::Relaxed), 2);
        assert_eq!(next(&output), "one\n");
        assert_eq!(next(&output), "two\n");
        assert_eq!(next(&output), note(2));
        queue.push(b"four\n");
        assert_eq!(next(&output), "four\n");
        queue.finish(PATIENCE);
        assert_eq!(dropped.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_line_that_never_fits_is_dropped_and_said() {
        let (queue, output) = queue(4);
        queue.push(b"12345\n");
        assert_eq!(next(&output), note(1));
        queue.finish(PATIENCE);
        assert_eq!(queue.dropped().load(Ordering::Relaxed), 1);
    }

    #[test]
    fn the_last_line_is_written_however_full_the_queue_is() {
        let (queue, output) = queue(4);
        queue.push(b"one\n");
        queue.push(b"two\n");
        queue.push_last(b"why\n");
        let reading = thread::spawn(move || output.iter().collect::<String>());
        queue.finish(PATIENCE);
        assert!(queue.is_done());
        drop(queue);
        let written = reading.join().unwrap();
        assert!(written.contains("why\n") && written.contains(&note(1)), "{written}");
    }

    #[test]
    fn the_end_does_not_wait_for_a_reader_that_is_gone_for_good() {
        let (queue, output) = queue(100);
        queue.push(b"one\n");
        queue.finish(Duration::from_millis(1));
        assert!(!queue.is_done());
        assert_eq!(next(&output), "one\n");
    }

    #[test]
    fn what_cannot_be_written_is_counted_and_said_when_it_can_be_again() {
        /// Fails at first, in all the ways there are.
        struct Flaky(Vec<Option<ErrorKind>>, Vec<u8>);
        impl Write for Flaky {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                if let Some(kind) = self.0.pop().flatten() {
                    return Err(kind.into());
                }
                // A byte at a time.
                self.1.extend(bytes.first());
                Ok(1)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let queue = LogQueue::new();
        let mut out = Flaky(vec![Some(ErrorKind::WouldBlock), Some(ErrorKind::Interrupted)], Vec::new());
        out.0.push(Some(ErrorKind::BrokenPipe));
        queue.push(b"one\n");
        queue.push(b"two\n");
        // The thread takes what there is, and one more that is pushed by the note of the first failure.
        let pushed = std::cell::Cell::new(false);
        queue.lock().dropped = 3;
        let noting = |lines| {
            if !pushed.replace(true) {
                queue.push(b"three\n");
                queue.finish(Duration::ZERO);
            }
            note(lines)
        };
        queue.write_onto(&mut out, noting);
        assert_eq!(String::from_utf8(out.1).unwrap(), "3 missing\n2 missing\nthree\n");
        assert_eq!(queue.dropped().load(Ordering::Relaxed), 2);
    }

    #[test]
    fn an_output_that_is_gone_is_not_tried_again_and_again() {
        struct Gone(u32);
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                self.0 += 1;
                Err(ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let queue = LogQueue::new();
        queue.push(b"one\n");
        queue.finish(Duration::ZERO);
        let mut out = Gone(0);
        queue.write_onto(&mut out, note);
        assert_eq!((out.0, queue.dropped().load(Ordering::Relaxed)), (1, 1));
    }

    #[test]
    fn pieces_are_whole_lines_that_a_pipe_takes_as_one() {
        let line = [b"x".repeat(999), b"\n".to_vec()].concat();
        assert_eq!(whole_lines(&line), 1000);
        assert_eq!(whole_lines(&line.repeat(4)), 4000);
        assert_eq!(whole_lines(&line.repeat(5)), 4000);
        let long = [b"x".repeat(4999), b"\n".to_vec()].concat();
        assert_eq!(whole_lines(&[long.clone(), line].concat()), 5000);
        assert_eq!(whole_lines(&long), 5000);
        assert_eq!(whole_lines(b""), 0);
    }
}
