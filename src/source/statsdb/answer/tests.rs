//! What a client says, and what it is answered.

use super::*;
use crate::resp::{Frame, FrameLimits, Reader};

/// The answer to a command line, as text, and what the command means.
fn say(client: &mut Client, line: &str) -> (String, String) {
    let mut reader = Reader::of_commands(FrameLimits { frame: 1024, values: 16, ahead: 0 });
    let bytes = format!("{line}\r\n");
    reader.space()[..bytes.len()].copy_from_slice(bytes.as_bytes());
    reader.filled(bytes.len());
    let Ok(Some(Frame::Many(words))) = reader.frame() else { panic!("{line}") };
    let mut out = Vec::new();
    let meaning = format!("{:?}", client.answer(&words, &mut out));
    (String::from_utf8(out).unwrap(), meaning)
}

#[test]
fn what_coturn_says_is_answered_as_redis_does() {
    let mut client = Client::new(None, Arc::default());
    for (line, answer) in [
        ("AUTH secret", "+OK\r\n"),
        ("auth default secret", "+OK\r\n"),
        ("select 13", "+OK\r\n"),
        ("keys turn/*/allocation/*/status", "*0\r\n"),
        ("set turn/x new", "+OK\r\n"),
        ("publish turn/x new", ":1\r\n"),
        ("del turn/x y", ":1\r\n"),
        ("PING", "+PONG\r\n"),
        ("ping you", "$3\r\nyou\r\n"),
        ("CLIENT SETNAME coturn", "+OK\r\n"),
        ("COMMAND DOCS", "*0\r\n"),
        ("CLIENT SETINFO LIB-NAME redis-py", "+OK\r\n"),
        ("CLIENT GETNAME", "$-1\r\n"),
        ("CLIENT TRACKING ON", "-ERR unknown subcommand 'TRACKING'. Try CLIENT HELP.\r\n"),
        ("ROLE", "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n"),
        ("SELECT x", "-ERR DB index is out of range\r\n"),
        ("GET turn/x", "-ERR unknown command 'GET'\r\n"),
        (
            "PSUBSCRIBE turn/*",
            "-ERR unknown command 'PSUBSCRIBE': here a coturn-exporter listens for coturn (--statsdb.listen-address), which is \
             no Redis\r\n",
        ),
        ("publish turn/x", "-ERR wrong number of arguments for 'publish' command\r\n"),
        ("QUIT", "+OK\r\n"),
    ] {
        assert_eq!(say(&mut client, line).0, answer, "{line}");
    }
    assert!(say(&mut client, "publish a b").1.starts_with("Published"));
    for (line, as_coturn) in [
        ("set a b", "Set"),
        ("set a b EX 5", "Stored"),
        ("del a", "Deleted"),
        ("del a b", "Stored"),
        ("del a b c", "Stored"),
    ] {
        assert_eq!(say(&mut client, line).1.split(' ').next().unwrap(), as_coturn, "{line}");
    }
    assert_eq!(say(&mut client, "subscribe a").1, "Refused(Unknown)");
    assert_eq!(say(&mut client, "quit").1, "Bye");
    // By this a coturn is known that starts; anybody may ask for all keys.
    assert_eq!(say(&mut client, "keys turn/*/allocation/*/status").1, "Starting");
    assert_eq!(say(&mut client, "keys *").1, "Nothing");
}

/// A web page can make a browser send any body to any port of the host that it runs on, and any server that can be
/// made to ask for a URL can do so too.
#[test]
fn who_speaks_http_or_begins_with_what_no_client_says_is_cut_off() {
    let password = || Some(Secret::new("secret"));
    for (line, reason, is_answered) in [
        ("POST / HTTP/1.1", "Foreign(Attack)", false),
        ("host: 127.0.0.1:6390", "Foreign(Attack)", false),
        ("GET / HTTP/1.1", "Foreign(Unknown)", true),
        ("MONITOR", "Foreign(Unknown)", true),
        ("\x16\x03\x01", "Foreign(Unknown)", true),
    ] {
        for password in [None, password()] {
            let mut client = Client::new(password, Arc::default());
            let (answer, meaning) = say(&mut client, line);
            assert_eq!((meaning.as_str(), !answer.is_empty()), (reason, is_answered), "{line}");
            assert!(!client.is_accepted());
        }
    }
    // Later too; of unknown commands only the first counts.
    let mut client = Client::new(None, Arc::default());
    for (line, meaning) in [
        ("", "Empty"),
        ("PING", "Nothing"),
        ("MONITOR", "Refused(Unknown)"),
        ("POST x", "Foreign(Attack)"),
        ("Host: x", "Foreign(Attack)"),
    ] {
        assert_eq!(say(&mut client, line).1, meaning, "{line}");
    }
    assert_eq!(
        client.said_no_command(CommandRefusal::TooLong),
        ClientCommand::Refused(CommandRefusal::TooLong)
    );
    let mut client = Client::new(None, Arc::default());
    assert_eq!(
        client.said_no_command(CommandRefusal::TooLong),
        ClientCommand::Foreign(CommandRefusal::TooLong)
    );
}

#[test]
fn who_has_logged_in_or_said_something_of_use_is_accepted() {
    let mut client = Client::new(None, Arc::default());
    for (line, is_accepted) in [("", false), ("publish x", false), ("client x", false), ("ping", true)] {
        say(&mut client, line);
        assert_eq!(client.is_accepted(), is_accepted, "{line}");
    }
    let mut client = Client::new(Some(Secret::new("secret")), Arc::default());
    for (line, is_accepted) in
        [("ping", false), ("auth x", false), ("quit", false), ("auth secret", true), ("auth x", true)]
    {
        say(&mut client, line);
        assert_eq!(client.is_accepted(), is_accepted, "{line}");
    }
}

/// As redis-py 8 says it first, and go-redis, lettuce and others who would take an error as well.
#[test]
fn hello_3_is_answered_in_the_protocol_that_it_asks_for() {
    const REST: &str = "\r\n$2\r\nid\r\n:1\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n";
    let hello = |head: &str, proto: u8| {
        format!(
            "{head}\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.0.0\r\n$5\r\nproto\r\n:{proto}{REST}"
        )
    };
    let mut client = Client::new(Some(Secret::new("secret")), Arc::default());
    assert!(say(&mut client, "HELLO 3").0.starts_with("-NOAUTH HELLO must be called"));
    assert_eq!(say(&mut client, "HELLO 3 AUTH default secret SETNAME x").0, hello("%7", 3));
    assert_eq!(say(&mut client, "CLIENT GETNAME").0, "_\r\n");
    assert_eq!(say(&mut client, "publish turn/x new").0, ":1\r\n");
    assert_eq!(say(&mut client, "HELLO").0, hello("%7", 3));
    assert_eq!(say(&mut client, "HELLO 2 setname x").0, hello("*14", 2));
    assert_eq!(say(&mut client, "CLIENT GETNAME").0, "$-1\r\n");
    for (line, answer) in [
        ("HELLO 4", "-NOPROTO unsupported protocol version\r\n"),
        ("HELLO 3 SETNAME", "-ERR Syntax error in HELLO option 'SETNAME'\r\n"),
        ("HELLO 3 AUTH secret", "-ERR Syntax error in HELLO option 'AUTH'\r\n"),
    ] {
        assert_eq!(say(&mut client, line), (answer.to_owned(), "Refused(Arguments)".to_owned()));
    }
    // The one that was refused changed nothing.
    assert_eq!(say(&mut client, "CLIENT GETNAME").0, "$-1\r\n");
}

#[test]
fn info_has_what_health_checks_look_for() {
    let mut client = Client::new(None, Arc::default());
    for line in ["INFO", "info all", "INFO replication", "info server Replication"] {
        assert!(say(&mut client, line).0.contains("\r\nrole:master\r\n"), "{line}");
    }
    assert!(say(&mut client, "INFO").0.contains("\r\nredis_version:7.0.0\r\n"));
    let replication = "# Replication\r\nrole:master\r\nconnected_slaves:0\r\n";
    let answer = format!("${}\r\n{replication}\r\n", replication.len());
    assert_eq!(say(&mut client, "INFO replication").0, answer);
    let status = Arc::new(ListenerStatus::default());
    status.set_clients(2, true, vec![[192, 0, 2, 1].into()]);
    let ours = "# Coturn_exporter\r\ncoturn_exporter:1\r\npassword:1\r\ncoturn_seen:1\r\nrefused_clients:2\r\n\
                connected_addresses:1\r\nconnected_from:192.0.2.1\r\nlast_event_ms:0\r\n";
    let mut asked = Client::new(Some(Secret::new("secret")), status);
    say(&mut asked, "AUTH secret");
    assert_eq!(say(&mut asked, "INFO coturn_exporter").0, format!("${}\r\n{ours}\r\n", ours.len()));
    assert_eq!(say(&mut client, "INFO keyspace").0, "$0\r\n\r\n");
}

#[test]
fn without_the_password_nothing_is_taken() {
    let mut client = Client::new(Some(Secret::new("secret")), Arc::default());
    let noauth = "-NOAUTH Authentication required.\r\n";
    assert_eq!(say(&mut client, "publish turn/x y"), (noauth.to_owned(), "Refused(Login)".to_owned()));
    for wrong in ["", "secre", "secret1", "SECRET"] {
        let (answer, meaning) = say(&mut client, &format!("AUTH {wrong} x"));
        assert!(answer.starts_with("-WRONGPASS") && meaning == "Refused(Password)", "{wrong}: {answer}");
    }
    let mut out = Vec::new();
    let mut reader = Reader::of_commands(FrameLimits { frame: 1024, values: 16, ahead: 0 });
    let empty = b"*2\r\n$4\r\nAUTH\r\n$0\r\n\r\n";
    reader.space()[..empty.len()].copy_from_slice(empty);
    reader.filled(empty.len());
    let Ok(Some(Frame::Many(words))) = reader.frame() else { panic!("no frame") };
    assert_eq!(
        client.answer(&words, &mut out),
        ClientCommand::Refused(CommandRefusal::Login),
        "coturn without a password"
    );
    assert!(out.starts_with(b"-WRONGPASS"));
    assert!(say(&mut client, "HELLO 2").0.starts_with("-NOAUTH"));
    assert_eq!(say(&mut client, "keys *").0, noauth);
    // By this `doctor` tells it from a Redis with a password.
    assert_eq!(
        say(&mut client, "INFO coturn_exporter").0,
        "-NOAUTH Authentication required by coturn-exporter.\r\n"
    );
    assert_eq!(say(&mut client, "INFO").0, noauth);
    // And one of before that: a Redis counts the words first.
    assert_eq!(say(&mut client, "PUBLISH").0, noauth);
    assert_eq!(say(&mut client, "AUTH coturn secret"), ("+OK\r\n".to_owned(), "LoggedIn".to_owned()));
    assert!(say(&mut client, "publish turn/x y").1.starts_with("Published"));
    // A wrong one later takes the right away again.
    assert!(say(&mut client, "HELLO 2 AUTH default wrong").0.starts_with("-WRONGPASS"));
    assert_eq!(say(&mut client, "ping").0, noauth);
    let (answer, meaning) = say(&mut client, "HELLO 2 AUTH default secret");
    assert!(answer.starts_with("*14") && meaning == "LoggedIn", "{answer} {meaning}");
}
