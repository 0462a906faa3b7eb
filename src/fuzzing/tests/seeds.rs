//! What fuzzing begins with: the recorded streams of `tests/golden` in the form that each target takes, made anew at each run,
//! and for what no capture holds a few inputs written by hand.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use super::super::empty_table::fresh;
use super::super::{image, journal};
use crate::clock::Timestamp;
use crate::resp::command;
use crate::source::capture::{CaptureReader, CaptureWriter, Captured};
use crate::state::{SourceId, Table};
use crate::store::journal::{BootId, Directory, Journal, JournalSettings, Moments};
use crate::wire::{self, Event, Grant, Key, Leg, Message, Path as ClientPath, Traffic};

/// Messages of a capture that are taken, so that an input stays small.
const MESSAGES: usize = 120;

/// The inputs of a target.
pub(super) fn of(target: &str) -> Vec<Vec<u8>> {
    let captures = captures();
    let each = |make: fn(&[Captured]) -> Vec<u8>| captures.iter().map(|capture| make(capture)).collect();
    match target {
        "channel" => distinct(captures.iter().flatten().map(|message| &message.channel[..])),
        "payload" => distinct(captures.iter().flatten().map(|message| &message.payload[..])),
        "replies" => with(each(published), REPLIES),
        "reply_bounds" => with(Vec::new(), REPLIES),
        "listener" => with(each(commands), COMMANDS),
        "query" => with(Vec::new(), QUERIES),
        "accept" => with(Vec::new(), ACCEPTS),
        "accept_encoding" => with(Vec::new(), ACCEPT_ENCODINGS),
        "host" => with(Vec::new(), HOSTS),
        "web_config" => with(web_configs(), WEB_CONFIGS),
        "capture" => with(each(lines), CAPTURES),
        "settings" => with(Vec::new(), SETTINGS),
        "redis_url" => with(Vec::new(), REDIS_URLS),
        "journal" => [false, true].map(directory).to_vec(),
        "image" => each(image_of),
        "recording" => each(recording),
        "table" => each(steps),
        other => panic!("no seeds for {other}"),
    }
}

fn with(mut seeds: Vec<Vec<u8>>, by_hand: &[&[u8]]) -> Vec<Vec<u8>> {
    seeds.extend(by_hand.iter().map(|seed| seed.to_vec()));
    seeds
}

/// The beginning of each recorded stream.
fn captures() -> Vec<Vec<Captured>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    paths.sort();
    let read = |path: &std::path::PathBuf| {
        let text = fs::read(path).unwrap();
        CaptureReader::new(&text[..], "golden").take(MESSAGES).map(Result::unwrap).collect()
    };
    let captures: Vec<_> = paths.iter().map(read).collect();
    assert!(captures.len() > 50, "{} captures", captures.len());
    captures
}

/// One of those that differ in more than numbers.
fn distinct<'a>(texts: impl Iterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let mut found = BTreeMap::new();
    for text in texts {
        let mut form: Vec<u8> =
            text.iter().map(|byte| if byte.is_ascii_digit() { b'0' } else { *byte }).collect();
        form.dedup();
        found.entry(form).or_insert_with(|| text.to_vec());
    }
    found.into_values().collect()
}

/// What a subscriber is sent.
fn published(capture: &[Captured]) -> Vec<u8> {
    let mut out = b"*3\r\n$10\r\npsubscribe\r\n$6\r\nturn/*\r\n:1\r\n".to_vec();
    for message in &capture[..capture.len().min(12)] {
        command(&mut out, &[b"pmessage", b"turn/*", &message.channel, &message.payload]);
    }
    out.push(capture.len().to_le_bytes()[0]);
    out
}

/// What a coturn says to its Redis.
fn commands(capture: &[Captured]) -> Vec<u8> {
    let mut out = Vec::new();
    command(&mut out, &[b"AUTH", b"secret"]);
    command(&mut out, &[b"SELECT", b"0"]);
    command(&mut out, &[b"keys", b"turn/*/allocation/*/status"]);
    for message in &capture[..capture.len().min(12)] {
        if message.payload.starts_with(b"deleted") {
            command(&mut out, &[b"DEL", &message.channel, b""]);
        } else if message.channel.ends_with(b"/status") {
            command(&mut out, &[b"SET", &message.channel, &message.payload]);
        }
        command(&mut out, &[b"PUBLISH", &message.channel, &message.payload]);
    }
    out.push(capture.len().to_le_bytes()[0]);
    out
}

fn lines(capture: &[Captured]) -> Vec<u8> {
    let mut writer = CaptureWriter::new(Vec::new());
    for message in &capture[..capture.len().min(4)] {
        writer.write(message.at, &message.channel, &message.payload).unwrap();
    }
    writer.into_inner()
}

/// A table that has taken a stream in.
fn replayed(capture: &[Captured], table: &mut Table) {
    let begin = Timestamp::from_millis(1_000_000);
    table.link_up(begin, SourceId(0));
    let first = capture.first().map_or(Timestamp::ZERO, |message| message.at);
    for message in capture {
        if let Ok(Message::Allocation(key, event)) = wire::parse(&message.channel, &message.payload) {
            table.apply(begin.plus(message.at.since(first)), SourceId(0), &key, &event);
        }
    }
}

fn image_of(capture: &[Captured]) -> Vec<u8> {
    let mut table = fresh(0);
    replayed(&capture[..capture.len().min(40)], &mut table);
    let mut blocks = image::image_of(table);
    blocks.pop();
    let mut out = vec![0];
    for block in blocks {
        out.extend(u16::try_from(block.len()).expect("a small table").to_le_bytes());
        out.extend(block);
    }
    out
}

/// Without the digest of the table behind it, which no mutation would meet.
fn recording(capture: &[Captured]) -> Vec<u8> {
    const DIGEST: usize = 9;
    let mut table = fresh(0);
    table.begin_recording();
    replayed(capture, &mut table);
    let mut batch = table.take_recorded(Vec::new());
    batch.truncate(batch.len().saturating_sub(DIGEST));
    batch.push(0);
    batch
}

/// A directory after a killed life, with a snapshot in the middle.
fn directory(is_exact: bool) -> Vec<u8> {
    let path = std::env::temp_dir().join(format!("fuzz-seed-{}-{is_exact}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    let settings = JournalSettings {
        segment_bytes: 1,
        boot: BootId::from_bytes([7; 16]),
        marker_folders: Vec::new(),
        ..JournalSettings::new(1)
    };
    let at = |second: u64| Moments {
        table: Timestamp::from_millis(second * 1000),
        wall: Timestamp::from_millis(1_700_000_000_000 + second * 1000),
        boot: Duration::from_secs(second),
    };
    let (directory, _) = Directory::open(&path, settings).unwrap();
    let mut journal = Journal::start_over(&directory, at(1));
    journal.append(b"one batch", at(2)).unwrap();
    let boundary = journal.roll(at(3)).unwrap();
    journal.append(b"another", at(4)).unwrap();
    let mut snapshot = directory.snapshot_writer(&boundary).unwrap();
    snapshot.block(b"the table").unwrap();
    snapshot.block(b"goes on").unwrap();
    snapshot.commit().unwrap();
    journal.append(b"and another", at(5)).unwrap();
    drop((journal, directory));
    let input = journal::input_of(&path, is_exact);
    fs::remove_dir_all(&path).unwrap();
    input
}

/// A stream as steps of the table's target: its keys become the few that there are.
fn steps(capture: &[Captured]) -> Vec<u8> {
    let mut out = vec![0, 11, 0, 2];
    let (mut users, mut before) = (Vec::new(), None);
    for message in capture {
        let Ok(Message::Allocation(key, event)) = wire::parse(&message.channel, &message.payload) else {
            continue;
        };
        let pause = message.at.since(before.unwrap_or(message.at)).as_millis();
        before = Some(message.at);
        let class = match pause {
            0 => 0,
            1..500 => 3,
            500..2500 => 5,
            2500..8000 => 6,
            8000..60_000 => 8,
            60_000..300_000 => 9,
            300_000..650_000 => 10,
            _ => 11,
        };
        out.extend([class << 4, 0, key_code(&key, &mut users)]);
        put_event(&mut out, &event);
    }
    out
}

fn key_code(key: &Key<'_>, users: &mut Vec<Vec<u8>>) -> u8 {
    let known = users.iter().position(|user| user == key.user).unwrap_or_else(|| {
        users.push(key.user.to_vec());
        users.len() - 1
    });
    let user = u8::try_from(known % 3).unwrap();
    let realm = if key.realm.is_some() { 0 } else { 2 };
    let id = u8::try_from(key.id.0 % 8).unwrap();
    let thread = u8::from(key.id.0 >= 1_000_000_000_000_000);
    id << 5 | thread << 4 | user << 2 | realm
}

fn put_event(out: &mut Vec<u8>, event: &Event<'_>) {
    let grant = |out: &mut Vec<u8>, kind: u8, grant: &Grant<'_>| {
        let lifetime = match grant.lifetime {
            0 => 1,
            1..30 => 2,
            30..300 => 3,
            300..1800 => 0,
            _ => 4,
        };
        let has_path = u8::from(grant.path.is_some());
        out.push(kind | lifetime << 3 | has_path << 6);
        if let Some(ClientPath { transport, .. }) = grant.path {
            out.push((transport as u8) << 4);
        }
    };
    let report = |out: &mut Vec<u8>, kind: u8, leg: &Leg, traffic: &Traffic| {
        out.push(kind | if *leg == Leg::Peer { 8 } else { 0 });
        for volume in [traffic.received, traffic.sent] {
            for number in [volume.packets, volume.bytes] {
                put_number(out, number);
            }
        }
    };
    match event {
        Event::New(of) => grant(out, 0, of),
        Event::Refreshed(of) => grant(out, 1, of),
        Event::Deleted => out.push(3),
        Event::Traffic(leg, traffic) => report(out, 4, leg, traffic),
        Event::Total(leg, traffic) => report(out, 6, leg, traffic),
    }
}

fn put_number(out: &mut Vec<u8>, number: u64) {
    if let Ok(small @ 0..200) = u8::try_from(number) {
        out.push(small);
    } else {
        out.push(255);
        out.extend(number.to_be_bytes());
    }
}

/// The examples that are shipped.
fn web_configs() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/web-config");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|end| end == "yml")).collect();
    files.sort();
    files.iter().map(|path| fs::read(path).unwrap()).collect()
}

const WEB_CONFIGS: &[&[u8]] = &[
    b"tls_server_config: {cert_file: a, key_file: b, client_ca_file: c, client_auth_type: VerifyClientCertIfGiven}\n",
    b"tls_server_config:\n  cert: |\n    x\n  key: y\n  min_version: TLS13\n  cipher_suites: [TLS_AES_128_GCM_SHA256]\n",
    b"tls_server_config:\n  cert_file: a\n  key_file: b\n  client_ca_file: c\n  client_allowed_sans: [d]\n",
    b"http_server_config:\n  http2: false\n  headers:\n    X-Frame-Options: deny\n    X-XSS-Protection: \"\"\n",
    b"basic_auth_users: &a\n  alice: $2y$10$abc\nrate_limit: {interval: 1s, burst: 3}\n",
    b"a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n",
];

const REPLIES: &[&[u8]] = &[
    b"+OK\r\n-NOAUTH Authentication required.\r\n:42\r\n$-1\r\n*-1\r\n*0\r\n$0\r\n\r\n\x05",
    b"*2\r\n$1\r\n0\r\n*3\r\n$1\r\na\r\n$100\r\nxxxxxxxxxxxxxxxxxxxx\r\n+OK\r\n\x00",
    b"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n\xff",
    b"PING\r\n\r\n  set a  b \n*0\r\nQUIT\r\n\x02",
    b"*8\r\n$3000\r\n00000000\r\n\x81",
    b"$300\r\n%1\r\n+a\r\n_\r\n#t\r\n,1.5\r\n(12\r\n~1\r\n>1\r\n=3\r\nabc\r\n\x07",
    b":-9223372036854775808\r\n:-0\r\n$-0\r\n\r\n*-0\r\n\x03",
    b"HTTP/1.1 400 Bad Request\r\n\r\n*9999999\r\n\x10",
];

const COMMANDS: &[&[u8]] = &[
    b"HELLO 3 AUTH default secret SETNAME coturn\r\nCLIENT GETNAME\r\nROLE\r\nINFO\r\n\x01",
    b"auth default wrong\r\nPING\r\nquit\r\n\x05",
    b"POST / HTTP/1.1\r\nHost: a\r\n\r\nset a b\r\n\x00",
    b"PING\r\necho you\r\nselect 13\r\nselect x\r\nclient setinfo LIB-NAME x\r\ncommand docs\r\n\x02",
    b"info server coturn_exporter\r\nhello\r\nhello 2\r\nclient id\r\nkeys *\r\nset a b ex 5\r\ndel a b c\r\n\x80",
    b"MONITOR\r\n\x03",
];

const QUERIES: &[&[u8]] = &[
    b"realm=a%20b&user=%FF%3A&state=live&reason=idle&min_age=30m&sort=-rate&limit=7",
    b"cursor=a.age.n1.2&sort=age",
    b"sort=user&cursor=a.user.t61.1&limit=1000",
    b"sort=-allocations&state=closing&min_age=90",
    b"user=%3Cscript%3Ealert(1)%3C%2Fscript%3E&realm=%22%3E%3Cb%3E",
    b"limit=0&colour=%1b[2J",
    b"user=&user=",
    b"min_age=1h+30m&&realm",
];

const ACCEPTS: &[&[u8]] = &[
    b"application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
      text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    b"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;escaping=allow-utf-8;\
      q=0.6,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3",
    b"text/plain;version=\"1.0.0\"; escaping=\"val\\ues\"",
    b"text/plain;q=0\napplication/openmetrics-text;version=1.0.0;q=0.001",
    b"text/*;q=0.1, */*, TEXT/Plain ; Version = 0.0.4",
    b"text/plain;a=\"b, application/openmetrics-text;version=1.0.0\"",
];

const ACCEPT_ENCODINGS: &[&[u8]] = &[
    b"gzip",
    b"deflate, gzip;q=1.0, *;q=0.5",
    b"gzip ; Q = 0.5, identity;q=0.4",
    b"zstd;q=1, br\nx-gzip;q=0.001",
    b"gzip;q=0\ngzip;q=1e0",
    b"identity, gzip;q=2",
];

const HOSTS: &[&[u8]] = &[
    b"127.0.0.1:10641",
    b"[::1]:10641\nhttp://[::1]/allocations",
    b"localhost.:1\n/",
    b"TURN.example\nhttp://turn.example:80/",
    b"evil.example\nhttp://localhost/",
    b"localhost\nhttp://user@evil.example/",
    b"[::1]x:1",
];

const CAPTURES: &[&[u8]] = &[
    b"{\"t\": 1e2, \"channel\": \"\\u00e4\\n\", \"payload_b64\": \"/w==\"}\n\n{}\n",
    b"{\"t\":-0.1,\"channel\":\"c\",\"payload\":\"p\"}\n{\"t\":253402300799.999,\"channel\":\"c\",\"payload\":\"p\"}",
    b"{\"t\":1,\"channel\":\"c\",\"channel_b64\":\"\",\"payload\":\"p\"}\n[1]\n{\"t\":1,\"t\":2}",
];

const SETTINGS: &[&[u8]] = &[
    b":10641",
    b"[::1]:10641",
    b"localhost:10641",
    b"/metrics",
    b"/-/healthy",
    b"1h 30m",
    b"2026-11-29",
    b"2026-11-29T11:00:00.5Z",
    b"90s",
    b"1000",
    b"turn.example.",
    b"12.5",
    b"1e300",
];

const REDIS_URLS: &[&[u8]] = &[
    b"redis://user:secret@redis.example:6379/0",
    b"rediss://:p%40ss%2Fword@[2001:db8::1]:6380",
    b"redis+sentinel://:geheim@a:26379,b/master/3?sentinel-user=u&sentinel-pass=p",
    b"unix://user:geheim@/run/redis.sock?db=2&pass=x",
    b"valkey://h,redis://i",
    b"user:geheim@h:6379/0",
    b"redis://h/0#geheim",
];
