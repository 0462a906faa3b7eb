//! The first commands on a connection that is read frame by frame: login, db, perhaps a subscription. An answer other than
//! OK becomes an error that says what to change.

use std::io;

use redis::{ErrorKind, RedisError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::error::LinkError;
use super::login::{HandshakeStep, knows_no_users, link_error};
use super::reply_error::{MASTER_DOWN, cannot_save, error_reply, protocol_error, unexpected_reply};
use crate::config::{Password, RedisSource, Secret};
use crate::doctor::facts::MasterLink;
use crate::net::ByteStream;
use crate::resp::{Frame, Reader, RespValue, command};

/// Logs in, selects the db where it is not the first, and subscribes to `pattern`, if any, once a PING is answered. What
/// the reader holds after that has been published.
///
/// # Errors
///
/// [`LinkError`]: what the Redis refused, or that this is no Redis.
pub(super) async fn handshake(
    stream: &mut ByteStream,
    reader: &mut Reader,
    source: &RedisSource,
    pattern: Option<&str>,
) -> Result<(), LinkError> {
    let mut steps: Vec<(HandshakeStep, Vec<&[u8]>)> = Vec::new();
    let db = source.db.to_string();
    if source.db != 0 {
        steps.push((HandshakeStep::Db, vec![b"SELECT", db.as_bytes()]));
    }
    if let Some(pattern) = pattern {
        steps.push((HandshakeStep::Presence, vec![b"PING"]));
        steps.push((HandshakeStep::Subscription, vec![b"PSUBSCRIBE", pattern.as_bytes()]));
    }

    let refused = |step, error| link_error(step, error, source.tls.is_some());
    if let Some(password) = source.password.as_ref().map(Password::current) {
        let user = source.username.as_deref();
        let mut answer = ask(stream, reader, &login(user, &password)).await;
        if user.is_some() && answer.as_ref().is_err_and(knows_no_users) {
            answer = ask(stream, reader, &login(None, &password)).await;
        }
        answer.map_err(|error| refused(HandshakeStep::Login, error))?;
    }
    for (step, words) in steps {
        match ask(stream, reader, &words).await {
            Ok(()) => {}
            Err(error) if matches!(step, HandshakeStep::Presence) && cannot_save(&error) => {}
            Err(error) if error.code() == Some(MASTER_DOWN) => {
                return Err(LinkError::MasterDown { link: master_link(stream, reader).await });
            }
            Err(error) => return Err(refused(step, error)),
        }
    }
    Ok(())
}

/// Gives the connection a name that `CLIENT LIST` shows. A Redis that forbids it, or does not know it, goes without.
///
/// # Errors
///
/// [`LinkError::Lost`].
pub(super) async fn set_name(
    stream: &mut ByteStream,
    reader: &mut Reader,
    name: &str,
) -> Result<(), LinkError> {
    match ask(stream, reader, &[b"CLIENT", b"SETNAME", name.as_bytes()]).await {
        Err(error) if matches!(error.kind(), ErrorKind::Io | ErrorKind::Parse) => Err(LinkError::Lost(error)),
        _ => Ok(()),
    }
}

/// How a replica stands to its master; `None` where it does not say, as to a user without +role.
async fn master_link(stream: &mut ByteStream, reader: &mut Reader) -> Option<MasterLink> {
    let mut bytes = Vec::new();
    command(&mut bytes, &[b"ROLE"]);
    send(stream, &bytes).await.ok()?;
    loop {
        match reader.frame().ok()? {
            Some(Frame::Many(values)) => {
                let state = values.bulk(3).and_then(|state| std::str::from_utf8(state).ok())?;
                return (values.bulk(0) == Some(b"slave")).then(|| MasterLink::from_role(state));
            }
            Some(_) => return None,
            None => read(stream, reader).await.ok()?,
        }
    }
}

fn login<'a>(user: Option<&'a str>, password: &'a Secret) -> Vec<&'a [u8]> {
    let words = [Some("AUTH"), user, Some(password.expose())];
    words.into_iter().flatten().map(str::as_bytes).collect()
}

/// Sends one command and waits for its answer.
async fn ask(stream: &mut ByteStream, reader: &mut Reader, words: &[&[u8]]) -> Result<(), RedisError> {
    let mut bytes = Vec::new();
    command(&mut bytes, words);
    send(stream, &bytes).await?;
    loop {
        match reader.frame().map_err(protocol_error)? {
            Some(Frame::One(RespValue::Error(text))) => return Err(error_reply(text)),
            Some(Frame::One(RespValue::Simple(b"OK" | b"PONG"))) => return Ok(()),
            Some(Frame::Many(values)) if matches!(values.bulk(0), Some(b"psubscribe" | b"pong")) => {
                return Ok(());
            }
            Some(_) => return Err(unexpected_reply()),
            None => read(stream, reader).await?,
        }
    }
}

async fn send(stream: &mut ByteStream, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

async fn read(stream: &mut ByteStream, reader: &mut Reader) -> io::Result<()> {
    let length = stream.read(reader.space()).await?;
    if length == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    reader.filled(length);
    Ok(())
}
