//! Passes what coturn says on to a second Redis, and connects again as needed. Only what has the form of a coturn's
//! command goes there, made anew: whoever may speak to the listener must not run commands on that Redis.

use std::time::Duration;

use tokio::time::sleep;

use crate::app::ingest::SharedTable;
use crate::app::log_once::LogOnce;
use crate::clock::Timestamp;
use crate::config::RedisSource;
use crate::source::backoff::{Backoff, LASTED};
use crate::source::forward::{Forward, ForwardEvent};
use crate::source::statsdb::ClientCommand;
use crate::wire::{self, MAX_PAYLOAD};

/// How much of an error is logged.
const SHOWN: usize = 200;

/// Passes a command on, if it has the form of a coturn's.
pub(super) fn offer(forward: &Forward, heard: &ClientCommand<'_>) {
    let is_short = |payload: &[u8]| payload.len() <= MAX_PAYLOAD;
    match *heard {
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

/// Errors with which the Redis answers, for the log: one line when it begins, one when it is over.
#[derive(Debug, Default)]
struct Refusals(Option<RefusalEpisode>);

#[derive(Debug)]
struct RefusalEpisode {
    last: Timestamp,
    commands: u64,
}

impl Refusals {
    /// A command was refused; whether that is to be said.
    fn note(&mut self, now: Timestamp) -> bool {
        let is_new = self.0.is_none();
        let episode = self.0.get_or_insert(RefusalEpisode { last: now, commands: 0 });
        (episode.last, episode.commands) = (now, episode.commands + 1);
        is_new
    }

    /// A command was taken; gives how many were refused, if that is over. One kind of command may be refused while others
    /// are taken, so it is over when none was for a while.
    fn over(&mut self, now: Timestamp) -> Option<u64> {
        let episode = self.0.take_if(|episode| now.since(episode.last) >= LASTED)?;
        Some(episode.commands)
    }
}

/// For as long as the program runs.
pub(super) async fn forward(forward: Forward, to: RedisSource, shared: SharedTable) {
    let mut backoff = Backoff::new();
    let mut complaint = LogOnce::none();
    let mut refusals = Refusals::default();
    loop {
        let mut connected = None;
        let note = |event: ForwardEvent<'_>| match event {
            ForwardEvent::Connected => {
                connected = Some(shared.now());
                tracing::info!(to = %to.name, "passing on");
            }
            ForwardEvent::Refused(text) => {
                if refusals.note(shared.now()) {
                    let text = text.get(..SHOWN).unwrap_or(text);
                    tracing::warn!(
                        to = %to.name,
                        error = %String::from_utf8_lossy(text),
                        "the Redis of --statsdb.forward-url refuses a command, which is lost there"
                    );
                }
            }
            ForwardEvent::Taken => {
                if let Some(commands) = refusals.over(shared.now()) {
                    tracing::info!(to = %to.name, commands, "the Redis of --statsdb.forward-url takes all commands again");
                }
            }
        };
        let error = forward.run(&to, note).await;
        // One that takes connections and nothing else is not well again.
        let lasted = connected.map_or(Duration::ZERO, |connected| shared.now().since(connected));
        backoff.connected_for(lasted);
        if lasted >= LASTED {
            complaint.is_over();
        }
        if complaint.is_new(&error) {
            tracing::warn!(to = %to.name, %error, "not passing on; trying again");
        }
        sleep(backoff.next_wait(fastrand::f64())).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn refusals_are_over_when_none_came_for_a_while() {
        let mut refusals = Refusals::default();
        assert_eq!(refusals.over(at(0)), None);
        assert!(refusals.note(at(1)));
        assert_eq!(refusals.over(at(2)), None, "another kind of command was taken");
        assert!(!refusals.note(at(20)));
        assert_eq!(refusals.over(at(49)), None);
        assert_eq!(refusals.over(at(50)), Some(2));
        assert!(refusals.note(at(51)));
    }

    #[test]
    fn only_what_coturn_says_is_passed_on() {
        let status: &[u8] = b"turn/realm/r/user/u/allocation/000000000000000001/status";
        let traffic: &[u8] = b"turn/realm/r/user/u/allocation/000000000000000001/traffic";
        let long = [b'x'; MAX_PAYLOAD + 1];
        let forward = Forward::default();
        let withheld = |heard: ClientCommand<'_>| {
            let before = forward.state().withheld;
            offer(&forward, &heard);
            forward.state().withheld - before
        };
        for heard in [
            ClientCommand::Published { channel: status, payload: b"deleted" },
            ClientCommand::Published { channel: traffic, payload: b"any" },
            ClientCommand::Published { channel: b"__XXX__", payload: b"__YYY__" },
            ClientCommand::Set { key: status, value: b"new lifetime=600" },
            ClientCommand::Deleted { key: status },
            ClientCommand::Nothing,
            ClientCommand::Starting,
        ] {
            assert_eq!(withheld(heard), 0, "{heard:?}");
        }
        for heard in [
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
            assert_eq!(withheld(heard), 1, "{heard:?}");
        }
    }
}
