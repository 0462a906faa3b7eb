//! Inputs that come seldom, one after the other: how each is written, and read again.

use super::bytes::{ByteReader, Malformed, put_bytes, put_duration, put_ip, put_number};
use super::parts::{TextRoom, put_event, put_key, tag, take_event, take_key, take_mark, take_source};
use super::{Input, KeyRef, ScanOutcome};
use crate::clock::Timestamp;
use crate::state::model::connection::{ClosedBy, ProcessVerdict};
use crate::state::model::ids::{Mark, SourceId};
use crate::state::model::settings::{SessionBy, Settings};
use crate::state::model::source_stats::{ForwardStats, StatusKeys};
use crate::wire::{Kind, Rejection};

/// Their first bytes: between the reports and the events, and behind the events.
const REJECTED: u8 = 8;
const LINK_UP: u8 = 9;
const SUBSCRIBED: u8 = 10;
const LINK_LOST: u8 = 11;
const RECEIVED_UNTIL: u8 = 12;
const LISTENS: u8 = 13;
const SCAN_BEGINS: u8 = 14;
const SCAN_MAY_MISS_KEYS: u8 = 15;
const KEY_CHECKED: u8 = 16;
const KEY_SCANNED: u8 = 17;
const SWEPT: u8 = 18;
const SCAN_SUCCEEDED: u8 = 19;
const SCAN_FAILED: u8 = 20;
const REDIS_SETTINGS: u8 = 21;
const CONNECTION_OPENED: u8 = 22;
const CONNECTION_ACTIVE: u8 = 23;
const PROCESS_STARTED: u8 = 24;
const CONNECTION_INTERRUPTED: u8 = 25;
const CONNECTION_CLOSED: u8 = 26;
const CONNECTION_JUDGED: u8 = 27;
const END_REPORTED_BY: u8 = 28;
const CONNECTION_REFUSED: u8 = 29;
const COMMAND_REFUSED: u8 = 30;
const CALLERS: u8 = 31;
const FORWARDED: u8 = 0x40;
const PROCESS_COUNTED: u8 = 0x41;
const LEDGER_WRITTEN: u8 = 0x42;
const RESTARTED: u8 = 0x43;
const SETTINGS_ADOPTED: u8 = 0x44;
const SCAN_OF: u8 = 0x45;

/// Writes an input that has no shorter form of its own.
// A line or two for each input: longer than a screen, and as plain as a table.
pub(super) fn put_other(out: &mut Vec<u8>, input: &Input<'_>) {
    match input {
        Input::Report { .. } | Input::Event { .. } | Input::TimePasses => out.push(tag::TIME_PASSES),
        Input::Rejected { source, reason } => {
            put_of_source(out, REJECTED, *source);
            put_number(out, reason.index() as u64);
        }
        Input::LinkUp { source } => put_of_source(out, LINK_UP, *source),
        Input::Subscribed { source } => put_of_source(out, SUBSCRIBED, *source),
        Input::LinkLost { source } => put_of_source(out, LINK_LOST, *source),
        Input::ReceivedUntil { source, moment } => {
            put_of_source(out, RECEIVED_UNTIL, *source);
            put_number(out, moment.as_millis());
        }
        Input::Listens { source, connections, commands } => {
            put_of_source(out, LISTENS, *source);
            put_list(out, connections, |out, reason| put_bytes(out, reason.as_bytes()));
            put_list(out, commands, |out, reason| put_bytes(out, reason.as_bytes()));
        }
        Input::ScanBegins { source } => put_of_source(out, SCAN_BEGINS, *source),
        Input::ScanOf { source, redis, uptime } => {
            put_of_source(out, SCAN_OF, *source);
            put_bytes(out, redis.as_bytes());
            put_option(out, uptime.as_ref(), |out, uptime| put_duration(out, *uptime));
        }
        Input::ScanMayMissKeys { source } => put_of_source(out, SCAN_MAY_MISS_KEYS, *source),
        Input::KeyChecked { of, idle } => {
            out.push(KEY_CHECKED);
            put_key_ref(out, *of);
            put_option(out, idle.as_ref(), |out, idle| put_duration(out, *idle));
        }
        Input::KeyScanned { of, event, idle } => {
            out.push(KEY_SCANNED);
            put_key_ref(out, *of);
            out.push(event.kind() as u8);
            put_event(out, event);
            put_option(out, idle.as_ref(), |out, idle| put_duration(out, *idle));
        }
        Input::Swept { source, from } => {
            put_of_source(out, SWEPT, *source);
            put_number(out, (*from).into());
        }
        Input::ScanSucceeded { source, outcome } => {
            put_of_source(out, SCAN_SUCCEEDED, *source);
            put_outcome(out, outcome);
        }
        Input::ScanFailed { source } => put_of_source(out, SCAN_FAILED, *source),
        Input::RedisSettings { source, settings } => {
            put_of_source(out, REDIS_SETTINGS, *source);
            put_list(out, settings, |out, (setting, is_right)| {
                put_bytes(out, setting.as_bytes());
                out.push((*is_right).into());
            });
        }
        Input::SettingsAdopted { settings, sources } => {
            out.push(SETTINGS_ADOPTED);
            put_settings(out, settings);
            put_list(out, sources, |out, name| put_bytes(out, name.as_bytes()));
        }
        _ => put_of_connections(out, input),
    }
}

/// Writes an input about connections to the listener, or about the process.
fn put_of_connections(out: &mut Vec<u8>, input: &Input<'_>) {
    match input {
        Input::ConnectionOpened { source, peer } => {
            put_of_source(out, CONNECTION_OPENED, *source);
            put_ip(out, *peer);
        }
        Input::ConnectionActive { connection } => put_of_connection(out, CONNECTION_ACTIVE, *connection),
        Input::ProcessStarted { connection } => put_of_connection(out, PROCESS_STARTED, *connection),
        Input::ConnectionInterrupted { source, connection } => {
            put_of_source(out, CONNECTION_INTERRUPTED, *source);
            put_number(out, connection.number().into());
        }
        Input::ConnectionClosed { connection, by } => {
            put_of_connection(out, CONNECTION_CLOSED, *connection);
            out.push(*by as u8);
        }
        Input::ConnectionJudged { connection } => put_of_connection(out, CONNECTION_JUDGED, *connection),
        Input::EndReportedBy { ended, from } => {
            out.push(END_REPORTED_BY);
            put_list(out, ended, |out, (mark, verdict)| {
                put_number(out, mark.number().into());
                out.push(*verdict as u8);
            });
            put_number(out, (*from).into());
        }
        _ => put_of_process(out, input),
    }
}

/// Writes an input about what the process counts, or about the process.
fn put_of_process(out: &mut Vec<u8>, input: &Input<'_>) {
    match input {
        Input::ConnectionRefused { source, reason } => {
            put_of_source(out, CONNECTION_REFUSED, *source);
            put_bytes(out, reason.as_bytes());
        }
        Input::CommandRefused { source, reason } => {
            put_of_source(out, COMMAND_REFUSED, *source);
            put_bytes(out, reason.as_bytes());
        }
        Input::Callers { source, refused_clients, coturn_seen } => {
            put_of_source(out, CALLERS, *source);
            put_number(out, *refused_clients);
            out.push((*coturn_seen).into());
        }
        Input::Forwarded { source, state } => {
            put_of_source(out, FORWARDED, *source);
            put_option(out, state.as_ref(), |out, state| {
                out.push(state.up.into());
                for number in [state.sent, state.dropped, state.withheld] {
                    put_number(out, number);
                }
            });
        }
        Input::ProcessCounted { dropped_log_lines, http_refusals } => {
            out.push(PROCESS_COUNTED);
            put_number(out, *dropped_log_lines);
            put_list(out, http_refusals, |out, (reason, count)| {
                put_bytes(out, reason.as_bytes());
                put_number(out, *count);
            });
        }
        Input::LedgerWritten { up_to } => {
            out.push(LEDGER_WRITTEN);
            put_number(out, *up_to);
        }
        Input::Restarted => out.push(RESTARTED),
        _ => {}
    }
}

/// Reads an input that [`put_other`] has written; `tag` is its first byte.
pub(super) fn take_other<'s, 'a: 's>(
    tag: u8,
    reader: &mut ByteReader<'a>,
    room: &'s mut TextRoom,
) -> Result<Input<'s>, Malformed> {
    let source = match tag {
        REJECTED..=SCAN_MAY_MISS_KEYS | SWEPT..=CONNECTION_OPENED => take_source(reader)?,
        _ => return take_of_connections(tag, reader, room),
    };
    Ok(match tag {
        REJECTED => {
            let reason = Rejection::ALL.get(reader.small::<usize>()?).ok_or(Malformed)?;
            Input::Rejected { source, reason: *reason }
        }
        LINK_UP => Input::LinkUp { source },
        SUBSCRIBED => Input::Subscribed { source },
        LINK_LOST => Input::LinkLost { source },
        RECEIVED_UNTIL => Input::ReceivedUntil { source, moment: Timestamp::from_millis(reader.number()?) },
        LISTENS => {
            let connections = take_list(reader, ByteReader::text)?;
            Input::Listens { source, connections, commands: take_list(reader, ByteReader::text)? }
        }
        SCAN_BEGINS => Input::ScanBegins { source },
        SCAN_MAY_MISS_KEYS => Input::ScanMayMissKeys { source },
        SWEPT => Input::Swept { source, from: reader.small()? },
        SCAN_SUCCEEDED => Input::ScanSucceeded { source, outcome: take_outcome(reader)? },
        SCAN_FAILED => Input::ScanFailed { source },
        REDIS_SETTINGS => {
            let settings = take_list(reader, |reader| Ok((reader.text()?, reader.flag()?)))?;
            Input::RedisSettings { source, settings }
        }
        CONNECTION_OPENED => Input::ConnectionOpened { source, peer: reader.ip()? },
        _ => return Err(Malformed),
    })
}

fn take_of_connections<'s, 'a: 's>(
    tag: u8,
    reader: &mut ByteReader<'a>,
    room: &'s mut TextRoom,
) -> Result<Input<'s>, Malformed> {
    Ok(match tag {
        KEY_CHECKED => {
            let of = take_key_ref(reader)?;
            Input::KeyChecked { of, idle: take_option(reader, ByteReader::duration)? }
        }
        KEY_SCANNED => {
            let of = take_key_ref(reader)?;
            let kind = *Kind::ALL.get(usize::from(reader.byte()?)).ok_or(Malformed)?;
            let event = take_event(reader, kind, room)?;
            Input::KeyScanned { of, event, idle: take_option(reader, ByteReader::duration)? }
        }
        CONNECTION_ACTIVE => Input::ConnectionActive { connection: take_mark(reader)? },
        PROCESS_STARTED => Input::ProcessStarted { connection: take_mark(reader)? },
        CONNECTION_INTERRUPTED => {
            let source = take_source(reader)?;
            Input::ConnectionInterrupted { source, connection: take_mark(reader)? }
        }
        CONNECTION_CLOSED => {
            let connection = take_mark(reader)?;
            let by = if reader.flag()? { ClosedBy::Other } else { ClosedBy::Peer };
            Input::ConnectionClosed { connection, by }
        }
        CONNECTION_JUDGED => Input::ConnectionJudged { connection: take_mark(reader)? },
        END_REPORTED_BY => {
            let ended = take_list(reader, |reader| Ok((take_mark(reader)?, take_verdict(reader)?)))?;
            Input::EndReportedBy { ended, from: reader.small()? }
        }
        _ => return take_of_process(tag, reader),
    })
}

fn take_of_process<'a>(tag: u8, reader: &mut ByteReader<'a>) -> Result<Input<'a>, Malformed> {
    Ok(match tag {
        CONNECTION_REFUSED => {
            let source = take_source(reader)?;
            Input::ConnectionRefused { source, reason: reader.text()? }
        }
        COMMAND_REFUSED => {
            let source = take_source(reader)?;
            Input::CommandRefused { source, reason: reader.text()? }
        }
        CALLERS => {
            let source = take_source(reader)?;
            let refused_clients = reader.number()?;
            Input::Callers { source, refused_clients, coturn_seen: reader.flag()? }
        }
        FORWARDED => {
            let source = take_source(reader)?;
            Input::Forwarded { source, state: take_option(reader, take_forward)? }
        }
        PROCESS_COUNTED => {
            let dropped_log_lines = reader.number()?;
            let http_refusals = take_list(reader, |reader| Ok((reader.text()?, reader.number()?)))?;
            Input::ProcessCounted { dropped_log_lines, http_refusals }
        }
        SCAN_OF => {
            let source = take_source(reader)?;
            let redis = reader.text()?;
            Input::ScanOf { source, redis, uptime: take_option(reader, ByteReader::duration)? }
        }
        LEDGER_WRITTEN => Input::LedgerWritten { up_to: reader.number()? },
        RESTARTED => Input::Restarted,
        SETTINGS_ADOPTED => {
            let settings = take_settings(reader)?;
            Input::SettingsAdopted { settings, sources: take_list(reader, ByteReader::text)? }
        }
        _ => return Err(Malformed),
    })
}

fn put_of_source(out: &mut Vec<u8>, tag: u8, source: SourceId) {
    out.push(tag);
    put_number(out, source.0.into());
}

fn put_of_connection(out: &mut Vec<u8>, tag: u8, connection: Mark) {
    out.push(tag);
    put_number(out, connection.number().into());
}

fn put_key_ref(out: &mut Vec<u8>, of: KeyRef<'_>) {
    out.push(matches!(of, KeyRef::Known(_)).into());
    put_key(out, of);
}

fn take_key_ref<'a>(reader: &mut ByteReader<'a>) -> Result<KeyRef<'a>, Malformed> {
    let is_known = reader.flag()?;
    take_key(reader, is_known)
}

fn put_option<T>(out: &mut Vec<u8>, value: Option<&T>, put: impl FnOnce(&mut Vec<u8>, &T)) {
    out.push(value.is_some().into());
    if let Some(value) = value {
        put(out, value);
    }
}

fn take_option<'a, T>(
    reader: &mut ByteReader<'a>,
    take: impl FnOnce(&mut ByteReader<'a>) -> Result<T, Malformed>,
) -> Result<Option<T>, Malformed> {
    if reader.flag()? { take(reader).map(Some) } else { Ok(None) }
}

fn put_list<T>(out: &mut Vec<u8>, list: &[T], put: impl Fn(&mut Vec<u8>, &T)) {
    put_number(out, list.len() as u64);
    for item in list {
        put(out, item);
    }
}

fn take_list<'a, T>(
    reader: &mut ByteReader<'a>,
    take: impl Fn(&mut ByteReader<'a>) -> Result<T, Malformed>,
) -> Result<Vec<T>, Malformed> {
    let length: u64 = reader.number()?;
    // No room beforehand: a length may be anything, an item takes a byte at least.
    (0..length).map(|_| take(reader)).collect()
}

fn put_outcome(out: &mut Vec<u8>, outcome: &ScanOutcome) {
    for number in [outcome.keys.live, outcome.keys.stale, outcome.absent] {
        put_number(out, number);
    }
    out.push(outcome.hides_db.into());
    put_duration(out, outcome.duration);
}

fn take_outcome(reader: &mut ByteReader<'_>) -> Result<ScanOutcome, Malformed> {
    let keys = StatusKeys { live: reader.number()?, stale: reader.number()? };
    let (absent, hides_db) = (reader.number()?, reader.flag()?);
    Ok(ScanOutcome { keys, absent, hides_db, duration: reader.duration()? })
}

fn take_verdict(reader: &mut ByteReader<'_>) -> Result<ProcessVerdict, Malformed> {
    let all = [ProcessVerdict::Lives, ProcessVerdict::Died, ProcessVerdict::Restarted];
    all.get(usize::from(reader.byte()?)).copied().ok_or(Malformed)
}

fn take_forward(reader: &mut ByteReader<'_>) -> Result<ForwardStats, Malformed> {
    let up = reader.flag()?;
    Ok(ForwardStats { up, sent: reader.number()?, dropped: reader.number()?, withheld: reader.number()? })
}

fn put_settings(out: &mut Vec<u8>, settings: &Settings) {
    for duration in [settings.grace, settings.max_lifetime, settings.idle_after, settings.linger] {
        put_duration(out, duration);
    }
    out.push(settings.session_by as u8);
    put_number(out, settings.relayed_packets);
    out.push(settings.rest_separator);
    for limit in [settings.max_allocations, settings.max_realms, settings.max_servers] {
        put_number(out, limit as u64);
    }
    put_list(out, &settings.realms, |out, realm| put_bytes(out, realm));
    out.push(settings.are_rates_kept.into());
}

fn take_settings(reader: &mut ByteReader<'_>) -> Result<Settings, Malformed> {
    let [grace, max_lifetime, idle_after, linger] =
        [reader.duration()?, reader.duration()?, reader.duration()?, reader.duration()?];
    let session_by = if reader.flag()? { SessionBy::Client } else { SessionBy::User };
    let (relayed_packets, rest_separator) = (reader.number()?, reader.byte()?);
    let [max_allocations, max_realms, max_servers] = [reader.small()?, reader.small()?, reader.small()?];
    let realms = take_list(reader, |reader| reader.bytes().map(<[u8]>::to_vec))?;
    Ok(Settings {
        grace,
        max_lifetime,
        idle_after,
        session_by,
        linger,
        relayed_packets,
        rest_separator,
        max_allocations,
        max_realms,
        max_servers,
        realms,
        are_rates_kept: reader.flag()?,
    })
}
