//! The first words to a Redis that is spoken to frame by frame: login, db, perhaps a subscription. What it answers
//! instead of OK is told in the operator's words.

use std::io;

use redis::{ErrorKind, RedisError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::connect::wants_login;
use super::dial::Duplex;
use super::redis::LinkError;
use crate::config::{RedisSource, Secret};
use crate::doctor::facts::MasterLink;
use crate::resp::{Frame, ProtocolError, Reader, Value, command};

/// What Redis before 6, which knows no users, says of an AUTH with one.
const KNOWS_NO_USERS: &str = "wrong number of arguments for 'auth' command";

/// The code of the error that a replica answers which may not serve what it has without its master.
pub(super) const MASTER_DOWN: &str = "MASTERDOWN";

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Login,
    Db,
    /// A PING: PSUBSCRIBE is confirmed also by a Redis that then answers nothing, as one that is loading.
    Presence,
    Subscription,
}

/// Logs in, selects the db where it is not the first, and subscribes to `pattern`, if any, where it answers a PING. What the reader holds
/// after that has been published.
///
/// # Errors
///
/// [`LinkError`]: what Redis did not like, or what is not a Redis.
pub(super) async fn greet(
    stream: &mut Box<dyn Duplex>,
    reader: &mut Reader,
    source: &RedisSource,
    pattern: Option<&str>,
) -> Result<(), LinkError> {
    let mut steps: Vec<(Step, Vec<&[u8]>)> = Vec::new();
    let db = source.db.to_string();
    if source.db != 0 {
        steps.push((Step::Db, vec![b"SELECT", db.as_bytes()]));
    }
    if let Some(pattern) = pattern {
        steps.push((Step::Presence, vec![b"PING"]));
        steps.push((Step::Subscription, vec![b"PSUBSCRIBE", pattern.as_bytes()]));
    }

    let told = |step, error| told(step, error, source.tls.is_some());
    if let Some(password) = &source.password {
        let user = source.username.as_deref();
        let mut answer = ask(stream, reader, &login(user, password)).await;
        if user.is_some() && answer.as_ref().is_err_and(|error| error.to_string().contains(KNOWS_NO_USERS)) {
            answer = ask(stream, reader, &login(None, password)).await;
        }
        answer.map_err(|error| told(Step::Login, error))?;
    }
    for (step, words) in steps {
        match ask(stream, reader, &words).await {
            Ok(()) => {}
            Err(error) if error.code() == Some(MASTER_DOWN) => {
                return Err(LinkError::MasterDown { link: master_link(stream, reader).await });
            }
            Err(error) => return Err(told(step, error)),
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
    stream: &mut Box<dyn Duplex>,
    reader: &mut Reader,
    name: &str,
) -> Result<(), LinkError> {
    match ask(stream, reader, &[b"CLIENT", b"SETNAME", name.as_bytes()]).await {
        Err(error) if matches!(error.kind(), ErrorKind::Io | ErrorKind::Parse) => Err(LinkError::Lost(error)),
        _ => Ok(()),
    }
}

/// How a replica stands to its master; `None` where it does not say, as to a user without +role.
async fn master_link(stream: &mut Box<dyn Duplex>, reader: &mut Reader) -> Option<MasterLink> {
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

/// Says one command and waits for its answer.
async fn ask(stream: &mut Box<dyn Duplex>, reader: &mut Reader, words: &[&[u8]]) -> Result<(), RedisError> {
    let mut bytes = Vec::new();
    command(&mut bytes, words);
    send(stream, &bytes).await?;
    loop {
        match reader.frame().map_err(garbled)? {
            Some(Frame::One(Value::Error(text))) => return Err(refusal(text)),
            Some(Frame::One(Value::Simple(b"OK" | b"PONG"))) => return Ok(()),
            Some(Frame::Many(values)) if matches!(values.bulk(0), Some(b"psubscribe" | b"pong")) => {
                return Ok(());
            }
            Some(_) => return Err(RedisError::from((ErrorKind::Parse, "not an answer to what was asked"))),
            None => read(stream, reader).await?,
        }
    }
}

async fn send(stream: &mut Box<dyn Duplex>, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

async fn read(stream: &mut Box<dyn Duplex>, reader: &mut Reader) -> io::Result<()> {
    let length = stream.read(reader.space()).await?;
    if length == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    reader.filled(length);
    Ok(())
}

/// What an error at a step means.
fn told(step: Step, error: RedisError, is_tls: bool) -> LinkError {
    match (step, error.kind()) {
        (_, ErrorKind::Io | ErrorKind::Parse) if is_tls => LinkError::Unusable(error),
        (_, ErrorKind::Io | ErrorKind::Parse) => LinkError::Unintelligible(error),
        _ if wants_login(&error) => LinkError::Login(error),
        // Whatever was asked: it takes nobody, or nobody now.
        _ if is_busy(&error) => LinkError::Unusable(error),
        (Step::Login, _) => LinkError::Login(error),
        (Step::Db, _) => LinkError::Db(error),
        (Step::Presence, _) => LinkError::PingRefused(error),
        (Step::Subscription, _) => LinkError::Refused(error),
    }
}

pub(super) fn is_busy(error: &RedisError) -> bool {
    matches!(error.code(), Some("LOADING" | "BUSY" | "DENIED" | MASTER_DOWN))
        || error.detail().is_some_and(|detail| detail.starts_with("max number of clients"))
}

/// An error answer, as the client library has it.
pub(super) fn refusal(text: &[u8]) -> RedisError {
    match redis::parse_redis_value(&[b"-", text, b"\r\n"].concat()) {
        Ok(redis::Value::ServerError(error)) => error.into(),
        Ok(_) => RedisError::from((ErrorKind::Parse, "not an error")),
        Err(error) => error,
    }
}

/// Bytes that no Redis sends.
pub(super) fn garbled(error: ProtocolError) -> RedisError {
    RedisError::from((ErrorKind::Parse, "not the protocol of Redis", error.to_string()))
}
