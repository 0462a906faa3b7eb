//! A subscriber of the test's own, which sees what the exporter sees.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use super::capture::Message;
use super::redis::Redis;

/// Listens to everything from its making on, until redis-server ends.
#[derive(Debug)]
pub(crate) struct Witness {
    messages: Arc<Mutex<Vec<Message>>>,
}

impl Witness {
    pub(crate) fn listen(redis: &Redis) -> Self {
        let mut connection = redis.connect(0);
        connection.set_read_timeout(None).unwrap();
        let messages = Arc::new(Mutex::new(Vec::new()));
        let (subscribed, is_subscribed) = channel();
        std::thread::spawn({
            let messages = Arc::clone(&messages);
            move || {
                let mut subscription = connection.as_pubsub();
                subscription.psubscribe("*").expect("PSUBSCRIBE");
                subscribed.send(()).unwrap();
                // An error is the end of redis-server, and of what can be seen.
                while let Ok(message) = subscription.get_message() {
                    let payload = String::from_utf8_lossy(message.get_payload_bytes()).into_owned();
                    let channel = message.get_channel_name().as_bytes().to_vec();
                    messages.lock().unwrap().push(Message { channel, payload });
                }
            }
        });
        is_subscribed.recv().expect("subscribed");
        Self { messages }
    }

    /// Everything seen up to now.
    pub(crate) fn seen(&self) -> Vec<Message> {
        self.messages.lock().unwrap().clone()
    }
}
