//! Keys as they are after months: last set long ago, and never deleted.

use std::time::Duration;

use super::flood::Flood;
use super::statsdb::Allocation;
use crate::common::servers::redis::Redis;

/// Makes the status keys of `count` allocations of `realm`, each with a user of its own, last set between `youngest` and
/// `oldest` ago.
///
/// Redis keeps 24 bits of seconds: after 194 days idle times begin anew, whatever one does.
pub fn leave_keys(redis: &Redis, realm: &str, count: u64, youngest: Duration, oldest: Duration) {
    let first = Allocation::new(realm, "somebody", 1).status("refreshed", 600);
    // The serialized value, checksum included, is what DUMP gives; a client port more or less is of no importance here.
    let mut connection = redis.connect(0);
    redis::cmd("SET").arg("a value").arg(first).query::<()>(&mut connection).expect("SET");
    let value: Vec<u8> = redis::cmd("DUMP").arg("a value").query(&mut connection).expect("DUMP");
    redis::cmd("DEL").arg("a value").query::<()>(&mut connection).expect("DEL");

    let mut flood = Flood::connect(redis);
    let (youngest, oldest) = (youngest.as_secs(), oldest.as_secs());
    for id in 1..=count {
        let key = Allocation::new(realm, &format!("user{id}"), id).key();
        let idle = (youngest + (oldest - youngest) * (id - 1) / count).to_string();
        flood.command(&[b"RESTORE", key.as_bytes(), b"0", &value, b"IDLETIME", idle.as_bytes()]);
    }
    flood.settle();
}
