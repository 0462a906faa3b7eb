//! Commands of the listener's clients, and the answers to them.

use std::sync::Arc;

use super::choices::{Choices, pieces};
use crate::config::Secret;
use crate::resp::{Frame, FrameLimits, Reader};
use crate::source::statsdb::{AnsweredClient, ClientCommand, CommandRefusal};

const LIMITS: FrameLimits = FrameLimits { frame: 4 << 10, values: 64, ahead: 8 << 10 };

/// The longest answer that repeats nothing of the command, and more.
const LONGEST_ANSWER: usize = 1024;

/// All that a client says. The last byte says how it is cut, and whether a password is asked for.
pub(super) fn run(bytes: &[u8]) {
    let (decider, bytes) = Choices::last_of(bytes);
    let password = (decider & 1 == 1).then_some("secret");
    let whole = conversation(bytes, 255, password);
    assert_eq!(whole, conversation(bytes, decider, password), "cut by {decider}");
    if password.is_some() {
        let without = conversation(bytes, 255, None);
        assert!(without.len() >= whole.len(), "a password lets more be said");
    }
}

/// What each command was, and its answer.
fn conversation(bytes: &[u8], decider: u8, password: Option<&str>) -> Vec<(String, Vec<u8>)> {
    let mut client = AnsweredClient::new(password.map(|text| Secret::new(text.to_owned())), Arc::default());
    let mut reader = Reader::of_commands(LIMITS);
    let mut said = Vec::new();
    for mut piece in pieces(bytes, decider) {
        while !piece.is_empty() {
            let space = reader.space();
            let length = piece.len().min(space.len());
            space[..length].copy_from_slice(&piece[..length]);
            reader.filled(length);
            piece = &piece[length..];
            loop {
                let mut answer = Vec::new();
                let before = (client.must_log_in(), client.is_accepted());
                let command = match reader.frame() {
                    Ok(Some(Frame::Many(words))) => {
                        let command = client.answer(&words, &mut answer);
                        check(command, before.0, words.bytes(), &answer);
                        command
                    }
                    Ok(Some(_)) => client.said_no_command(CommandRefusal::TooLong),
                    Ok(None) => break,
                    Err(_) => return said,
                };
                let logged_in = command == ClientCommand::LoggedIn;
                assert!(!before.0 || client.must_log_in() || logged_in, "it is in without a password");
                assert!(!before.1 || client.is_accepted(), "it is not accepted any more");
                assert!(!(client.must_log_in() && client.is_accepted() && !before.1));
                said.push((format!("{command:?}"), answer));
                if matches!(command, ClientCommand::Foreign(_) | ClientCommand::Bye) {
                    return said;
                }
            }
        }
    }
    said
}

/// One command has one answer, and nothing is taken of who has to log in.
fn check(command: ClientCommand<'_>, must_log_in: bool, said: &[u8], answer: &[u8]) {
    let is_silent = matches!(command, ClientCommand::Empty | ClientCommand::Foreign(CommandRefusal::Attack));
    let rest = if is_silent { Some(answer) } else { behind_reply(answer, 0) };
    assert_eq!(rest, Some(&b""[..]), "{command:?} is answered by {:?}", answer.escape_ascii().to_string());
    assert!(answer.len() <= said.len() + LONGEST_ANSWER);
    match command {
        ClientCommand::Published { channel, payload }
        | ClientCommand::Set { key: channel, value: payload } => {
            assert!(!must_log_in && channel.len() + payload.len() < said.len());
        }
        ClientCommand::Deleted { .. }
        | ClientCommand::Stored
        | ClientCommand::Starting
        | ClientCommand::Nothing => assert!(!must_log_in),
        ClientCommand::LoggedIn => {
            assert!(!must_log_in || said.windows(6).any(|window| window == b"secret"));
        }
        ClientCommand::Empty | ClientCommand::Bye | ClientCommand::Refused(_) | ClientCommand::Foreign(_) => {
        }
    }
}

/// What stands behind one whole reply of either protocol.
fn behind_reply(bytes: &[u8], depth: usize) -> Option<&[u8]> {
    let end = bytes.windows(2).position(|window| window == b"\r\n")?;
    let (line, rest) = (&bytes[1..end], &bytes[end + 2..]);
    let count = || std::str::from_utf8(line).ok()?.parse::<usize>().ok();
    let many = |count: usize| {
        (depth < 3).then_some(())?;
        (0..count).try_fold(rest, |rest, _| behind_reply(rest, depth + 1))
    };
    match bytes[0] {
        b'+' | b'-' | b':' | b'_' => Some(rest),
        b'$' if line == b"-1" => Some(rest),
        b'$' => rest.get(count()?..)?.strip_prefix(b"\r\n"),
        b'*' => many(count()?),
        b'%' => many(count()?.checked_mul(2)?),
        _ => None,
    }
}
