//! A subscriber of the test's own, which sees what the exporter sees.

use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};

use super::capture::Message;
use crate::common::poll::PATIENCE;
use crate::common::servers::redis::Redis;

/// Where a witness tells itself how far it has read; no channel of coturn's.
const MARK: &str = "witness";

/// Listens to everything from its making on, until redis-server ends.
pub struct Witness {
    messages: Arc<Mutex<Vec<Message>>>,
    marks: Mutex<(redis::Connection, Receiver<()>)>,
}

impl Witness {
    pub fn listen(redis: &Redis) -> Self {
        let mut connection = redis.connect(0);
        connection.set_read_timeout(None).unwrap();
        let messages = Arc::new(Mutex::new(Vec::new()));
        let (mark, marks) = channel();
        std::thread::spawn({
            let messages = Arc::clone(&messages);
            move || {
                let mut subscription = connection.as_pubsub();
                subscription.psubscribe("*").expect("PSUBSCRIBE");
                mark.send(()).unwrap();
                // An error is the end of redis-server, and of what can be seen.
                while let Ok(message) = subscription.get_message() {
                    if message.get_channel_name() == MARK {
                        // Nobody waits for it after the end of the test.
                        let _ = mark.send(());
                        continue;
                    }
                    let payload = String::from_utf8_lossy(message.get_payload_bytes()).into_owned();
                    let channel = message.get_channel_name().as_bytes().to_vec();
                    messages.lock().unwrap().push(Message { channel, payload });
                }
            }
        });
        marks.recv().expect("subscribed");
        Self { messages, marks: Mutex::new((redis.connect(0), marks)) }
    }

    /// Everything that was published up to now: no less than anybody else has seen of it.
    pub fn seen(&self) -> Vec<Message> {
        let (connection, marks) = &mut *self.marks.lock().unwrap();
        let marked: redis::RedisResult<()> = redis::cmd("PUBLISH").arg(&[MARK, ""]).exec(connection);
        match marks.recv_timeout(PATIENCE) {
            // Where redis-server is gone, all that there was has been read.
            Ok(()) | Err(RecvTimeoutError::Disconnected) => {}
            Err(RecvTimeoutError::Timeout) => panic!("the witness does not hear itself: {marked:?}"),
        }
        self.messages.lock().unwrap().clone()
    }
}
