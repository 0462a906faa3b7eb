//! Error replies of a Redis: what their codes mean, and how bytes become an error of the client library.

use redis::{ErrorKind, RedisError};

use crate::resp::ProtocolError;

/// The code of the error that a replica answers which may not serve what it has without its master.
pub(super) const MASTER_DOWN: &str = "MASTERDOWN";

/// Whether the password is wrong or missing. Redis without a login answers NOAUTH to the first command, whatever it is;
/// where that is the SELECT of the client library, only the text is left of it.
pub(super) fn wants_login(error: &RedisError) -> bool {
    matches!(error.code(), Some("NOAUTH" | "WRONGPASS"))
        || error.detail().is_some_and(|detail| detail.starts_with("Authentication required"))
}

/// Whether the server refuses every client, or every client for now, whatever the command.
pub(super) fn is_busy(error: &RedisError) -> bool {
    matches!(error.code(), Some("LOADING" | "BUSY" | "DENIED" | MASTER_DOWN))
        || error.detail().is_some_and(|detail| detail.starts_with("max number of clients"))
}

/// Whether another node of a cluster answers for the key: some slots may have moved.
pub(super) fn is_elsewhere(error: &RedisError) -> bool {
    matches!(error.code(), Some("MOVED" | "ASK" | "CLUSTERDOWN" | "TRYAGAIN"))
}

/// Whether the ACL of the user forbids the command.
pub(super) fn is_forbidden(error: &RedisError) -> bool {
    error.code() == Some("NOPERM")
}

/// The error for an error reply with this text.
pub(super) fn error_reply(text: &[u8]) -> RedisError {
    match redis::parse_redis_value(&[b"-", text, b"\r\n"].concat()) {
        Ok(redis::Value::ServerError(error)) => error.into(),
        Ok(_) => RedisError::from((ErrorKind::Parse, "not an error")),
        Err(error) => error,
    }
}

/// The error for bytes that no Redis sends.
pub(super) fn protocol_error(error: ProtocolError) -> RedisError {
    RedisError::from((ErrorKind::Parse, "not the protocol of Redis", error.to_string()))
}

/// The error for a well-formed reply that does not answer the command.
pub(super) fn unexpected_reply() -> RedisError {
    RedisError::from((ErrorKind::Parse, "not an answer to what was asked"))
}
