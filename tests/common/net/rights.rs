//! The rights in Redis that docs/redis.md documents. Tests of whatever talks to Redis use these, so that none passes with a
//! right that an operator was not asked to grant; `redis/acl.rs` compares them with it.

use crate::common::servers::redis::Redis;

/// For the exporter, `record`, `doctor` and `prune` without `--apply`, in db 0.
pub const LEAST: &str =
    "resetchannels &turn/* ~turn/* -@all +psubscribe +ping +scan +get +object|idletime +info";

/// More for any db but 0.
pub const OTHER_DB: &str = "+select";

/// More, to see whether a Redis is a replica.
pub const ROLE: &str = "+role";

/// More for `prune --apply`.
pub const PRUNE_BY_SCRIPT: &str = "+eval +unlink";

/// More for `prune --apply` where scripts are forbidden.
pub const PRUNE_BY_TRANSACTION: &str = "+unlink +watch +unwatch +multi +exec";

/// For the Redis of `--statsdb.forward-url`, in db 0.
pub const FORWARD: &str = "resetchannels &turn/* ~turn/* -@all +publish +set +del +client|setname";

/// What a user needs who has these rights in db 0, to have them in `db`.
pub fn in_db<'a>(db: u8, rights: &[&'a str]) -> Vec<&'a str> {
    let more = (db != 0).then_some(OTHER_DB);
    rights.iter().copied().chain(more).collect()
}

/// Makes a user with these rights and no others; gives the credentials for [`Redis::url_with`].
pub fn grant(redis: &Redis, user: &str, rights: &[&str]) -> String {
    let mut command = vec!["ACL", "SETUSER", user, "reset", "on", ">pw"];
    command.extend(rights.iter().flat_map(|rights| rights.split_whitespace()));
    redis.run(&command);
    format!("{user}:pw@")
}
