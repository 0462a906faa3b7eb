//! Forwards coturn's commands to a second Redis, reconnecting as needed. Only what has the form of a coturn's command goes
//! there, made anew: whoever may speak to the listener must not run commands on that Redis.

use std::convert::Infallible;

use crate::app::ingest::SharedTable;
use crate::app::log_once::Episodes;
use crate::app::reconnect::{KeepConnected, LinkProgress, keep_connected};
use crate::clock::Timestamp;
use crate::config::RedisSource;
use crate::source::backoff::LASTED;
use crate::source::error::LinkError;
use crate::source::forward::{Forward, ForwardEvent};
use crate::source::statsdb::ClientCommand;
use crate::wire::{self, MAX_PAYLOAD};

/// How much of an error is logged.
const SHOWN: usize = 200;

/// Forwards a command if it has the form of a coturn's.
pub(super) fn offer(forward: &Forward, command: &ClientCommand<'_>) {
    let is_short = |payload: &[u8]| payload.len() <= MAX_PAYLOAD;
    match *command {
        ClientCommand::Published { channel, payload } if wire::is_channel(channel) && is_short(payload) => {
            forward.offer(&[b"PUBLISH", channel, payload]);
        }
        ClientCommand::Set { key, value } if wire::parse_key(key).is_ok() && is_short(value) => {
            forward.offer(&[b"SET", key, value]);
        }
        ClientCommand::Deleted { key } if wire::parse_key(key).is_ok() => forward.offer(&[b"DEL", key]),
        // Nobody needs it there, and no coturn is to be counted for it.
        ClientCommand::Published { channel, .. } if wire::is_heartbeat(channel) => {}
        ClientCommand::Published { .. }
        | ClientCommand::Set { .. }
        | ClientCommand::Deleted { .. }
        | ClientCommand::Stored => {
            forward.withhold();
        }
        _ => {}
    }
}

/// Keeps the connection to the second Redis.
#[derive(Debug)]
pub(super) struct Forwarder {
    forward: Forward,
    to: RedisSource,
    shared: SharedTable,
    /// Commands that the Redis answers with an error. One kind of command may be refused while others are accepted, so it is
    /// over when none was refused for a while.
    refusals: Episodes<()>,
}

impl Forwarder {
    /// What `forward` is offered goes to the Redis `to`. `shared` is asked for the time only.
    pub(super) fn new(forward: Forward, to: RedisSource, shared: SharedTable) -> Self {
        Self { forward, to, shared, refusals: Episodes::new(LASTED, 1) }
    }

    /// Never ends by itself; may be dropped at any time.
    pub(super) async fn run(mut self) {
        match keep_connected(&mut self).await {}
    }
}

impl KeepConnected for Forwarder {
    type Fatal = Infallible;

    async fn attempt(&mut self, link: &mut LinkProgress<'_>) -> Result<LinkError, Infallible> {
        let Self { forward, to, shared, refusals } = self;
        let note = |event: ForwardEvent<'_>| match event {
            ForwardEvent::Connected => {
                link.is_connected(shared.process_now());
                tracing::info!(to = %to.name, "forwarding");
            }
            ForwardEvent::Refused(text) => {
                if refusals.is_news(shared.process_now(), ()) {
                    let text = text.get(..SHOWN).unwrap_or(text);
                    tracing::warn!(
                        to = %to.name,
                        error = %String::from_utf8_lossy(text),
                        "the Redis of --statsdb.forward-url refuses a command, which is lost there"
                    );
                }
            }
            ForwardEvent::Taken => {
                link.works();
                for ((), commands) in refusals.ended(shared.process_now()) {
                    tracing::info!(to = %to.name, commands, "the Redis of --statsdb.forward-url takes all commands again");
                }
            }
        };
        Ok(forward.run(to, note).await)
    }

    fn failed(&mut self, error: &LinkError, is_news: bool) {
        if is_news {
            tracing::warn!(to = %self.to.name, %error, "not forwarding; trying again");
        }
    }

    fn now(&self) -> Timestamp {
        self.shared.process_now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_coturn_says_is_passed_on() {
        let status: &[u8] = b"turn/realm/r/user/u/allocation/000000000000000001/status";
        let traffic: &[u8] = b"turn/realm/r/user/u/allocation/000000000000000001/traffic";
        let long = [b'x'; MAX_PAYLOAD + 1];
        let forward = Forward::default();
        let withheld = |command: ClientCommand<'_>| {
            let before = forward.state().withheld;
            offer(&forward, &command);
            forward.state().withheld - before
        };
        for command in [
            ClientCommand::Published { channel: status, payload: b"deleted" },
            ClientCommand::Published { channel: traffic, payload: b"any" },
            ClientCommand::Published { channel: b"__XXX__", payload: b"__YYY__" },
            ClientCommand::Set { key: status, value: b"new lifetime=600" },
            ClientCommand::Deleted { key: status },
            ClientCommand::Nothing,
            ClientCommand::Starting,
        ] {
            assert_eq!(withheld(command), 0, "{command:?}");
        }
        for command in [
            ClientCommand::Published { channel: b"turn/x", payload: b"y" },
            ClientCommand::Published { channel: b"other", payload: b"y" },
            ClientCommand::Published { channel: status, payload: &long },
            ClientCommand::Set { key: traffic, value: b"y" },
            ClientCommand::Set { key: b"secret", value: b"y" },
            ClientCommand::Set { key: status, value: &long },
            ClientCommand::Deleted { key: b"secret" },
            ClientCommand::Deleted { key: b"turn/" },
            ClientCommand::Stored,
        ] {
            assert_eq!(withheld(command), 1, "{command:?}");
        }
    }
}
