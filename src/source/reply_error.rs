//! Error replies of a Redis: what their codes mean, and how bytes become an error of the client library.

use redis::{ErrorKind, RedisError};

use crate::resp::ProtocolError;

/// The code of the error that a replica answers which may not serve what it has without its master.
pub(super) const MASTER_DOWN: &str = "MASTERDOWN";

/// What is said of bytes that no Redis sends.
const NOT_REDIS: &str = "what comes is not the protocol of Redis";

/// What is said of a well-formed reply to something else.
const NO_ANSWER: &str = "what comes is no answer to what was asked";

/// What is said where the client library does not tell the two apart.
const UNLIKE_REDIS: &str = "what comes is not what a Redis answers";

/// An error in plain words: those of the server where it has answered, our own for everything else. Those of the client
/// library are for programmers.
pub(super) fn words(error: &RedisError) -> String {
    match (error.kind(), error.code(), error.detail()) {
        // Ours go on behind it.
        (_, Some(code), Some(detail)) => format!("{code} {}", detail.trim_end_matches('.')),
        (_, Some(code), None) => code.to_owned(),
        (ErrorKind::Parse, None, Some(detail)) if error.to_string().starts_with(NOT_REDIS) => {
            format!("{NOT_REDIS}: {detail}")
        }
        (ErrorKind::Parse, None, None) if error.to_string().starts_with(NO_ANSWER) => NO_ANSWER.to_owned(),
        (ErrorKind::Parse | ErrorKind::UnexpectedReturnType, ..) => UNLIKE_REDIS.to_owned(),
        _ if error.is_timeout() => "no answer in time".to_owned(),
        _ if error.is_connection_dropped() => "the other side closed the connection".to_owned(),
        _ => error.to_string(),
    }
}

/// Whether the password is wrong or missing. Redis without a login answers NOAUTH to the first command, whatever it is.
pub(super) fn wants_login(error: &RedisError) -> bool {
    matches!(error.code(), Some("NOAUTH" | "WRONGPASS"))
}

/// Whether an AUTH was refused because the default user has no password, in the words of Redis from 6 on and before.
pub(super) fn is_no_password_set(error: &RedisError) -> bool {
    error.detail().is_some_and(|detail| {
        detail.contains("called without any password configured") || detail.contains("no password is set")
    })
}

/// Whether the server refuses every client, or every client for now, whatever the command.
pub(super) fn is_busy(error: &RedisError) -> bool {
    matches!(error.code(), Some("LOADING" | "BUSY" | "DENIED" | MASTER_DOWN))
        || error.detail().is_some_and(|detail| detail.starts_with("max number of clients"))
}

/// Whether it is the answer to a PING of a Redis that takes no writes, for it cannot save its data. It is there, and passes on
/// what is published (7.0.15).
pub(super) fn cannot_save(error: &RedisError) -> bool {
    error.code() == Some("MISCONF")
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
    RedisError::from((ErrorKind::Parse, NOT_REDIS, error.to_string()))
}

/// The error for a well-formed reply that does not answer the command.
pub(super) fn unexpected_reply() -> RedisError {
    RedisError::from((ErrorKind::Parse, NO_ANSWER))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn an_error_is_said_in_the_words_of_the_server_or_in_ours() {
        let closed = "the other side closed the connection";
        let io = |kind: io::ErrorKind| RedisError::from(io::Error::from(kind));
        for (error, said) in [
            (
                error_reply(b"WRONGPASS invalid username-password pair or user is disabled."),
                "WRONGPASS invalid username-password pair or user is disabled",
            ),
            (error_reply(b"NOPERM User x has no permissions"), "NOPERM User x has no permissions"),
            (error_reply(b"ERR DB index is out of range"), "ERR DB index is out of range"),
            (io(io::ErrorKind::UnexpectedEof), closed),
            (io(io::ErrorKind::ConnectionReset), closed),
            (io(io::ErrorKind::TimedOut), "no answer in time"),
            (redis::parse_redis_value(b"HTTP/1.1 400 Bad Request\r\n").unwrap_err(), UNLIKE_REDIS),
            (unexpected_reply(), NO_ANSWER),
            (redis::from_redis_value::<u64>(redis::Value::Okay).unwrap_err().into(), UNLIKE_REDIS),
        ] {
            assert_eq!(words(&error), said, "{error}");
        }
    }
}
