//! What coturn's client library wants to hear, command by command, as a Redis would say it. Pure: it keeps no keys, for
//! the table is made of what is published.

use std::sync::Arc;

use super::standing::{OURS, Standing};
use crate::config::Secret;
use crate::resp::{Values, write};

/// What a command was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard<'a> {
    /// `PUBLISH`.
    Published {
        /// The channel.
        channel: &'a [u8],
        /// The payload.
        payload: &'a [u8],
    },
    /// `SET` or `DEL`: what is published says the same.
    Stored,
    /// What a coturn asks when its process starts, and only then: for the keys that its last life left behind (every
    /// version up to 4.17.1; not when it connects again).
    Starting,
    /// The password was right, or none is asked for.
    LoggedIn,
    /// Politeness.
    Nothing,
    /// `QUIT`.
    Bye,
    /// Something that is not done here.
    Refused(Refusal),
}

/// Why a command was refused. The names are label values: few, and fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A command that is not known here.
    Unknown,
    /// A known one with the wrong words.
    Arguments,
    /// The password is missing.
    Login,
    /// The password is wrong.
    Password,
    /// Longer than anything coturn says.
    TooLong,
    /// Not the protocol of Redis.
    Malformed,
}

impl Refusal {
    /// Every reason, in the order of its discriminant.
    pub const ALL: [Self; 6] =
        [Self::Unknown, Self::Arguments, Self::Login, Self::Password, Self::TooLong, Self::Malformed];

    /// The label value; one for both that a login would mend.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Arguments => "arguments",
            Self::Login | Self::Password => "login",
            Self::TooLong => "too_long",
            Self::Malformed => "malformed",
        }
    }
}

/// The keys that a coturn looks for when it starts.
const CLEAN_UP: &[u8] = b"turn/*/allocation/*/status";

/// The version of Redis whose answers these are.
const VERSION: &str = "7.0.0";

/// The parts of INFO that clients and health checks read, by their names: a check of a load balancer looks for
/// `role:master`, ioredis for `loading:0`.
const INFO: [(&str, &str); 3] = [
    ("server", "# Server\r\nredis_version:7.0.0\r\nredis_mode:standalone\r\n"),
    ("persistence", "# Persistence\r\nloading:0\r\n"),
    ("replication", "# Replication\r\nrole:master\r\nconnected_slaves:0\r\n"),
];

/// What stands for all parts of INFO.
const ALL_OF_INFO: [&[u8]; 3] = [b"default", b"all", b"everything"];

/// Which protocol answers are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    /// What each connection begins with.
    Resp2,
    /// After `HELLO 3`. An error would be an answer too, but redis-py 8 asks for it first and then gives up.
    Resp3,
}

/// How much of a strange command is repeated to who said it.
const ECHOED: usize = 64;

/// One client, as far as answers depend on it.
#[derive(Debug)]
pub(super) struct Client {
    password: Option<Secret>,
    is_known: bool,
    protocol: Protocol,
    standing: Arc<Standing>,
}

impl Client {
    /// One who must say `password`, if there is one.
    pub(super) const fn new(password: Option<Secret>, standing: Arc<Standing>) -> Self {
        let is_known = password.is_none();
        Self { password, is_known, protocol: Protocol::Resp2, standing }
    }

    /// Answers one command.
    pub(super) fn answer<'a>(&mut self, words: &Values<'a>, out: &mut Vec<u8>) -> Heard<'a> {
        let Some(name) = words.bulk(0) else { return Heard::Nothing };
        let mut lower = [0; 16];
        let lower = lower.get_mut(..name.len()).map_or(&[][..], |lower| {
            lower.copy_from_slice(name);
            lower.make_ascii_lowercase();
            lower
        });
        let argument = |place| words.bulk(place).unwrap_or_default();
        let count = words.len();
        if !self.is_known && !matches!(lower, b"auth" | b"hello" | b"quit") {
            write::error(out, "NOAUTH Authentication required.");
            return Heard::Refused(Refusal::Login);
        }
        match (lower, count) {
            (b"publish", 3) => {
                write::integer(out, 1);
                return Heard::Published { channel: argument(1), payload: argument(2) };
            }
            (b"set", 3..) => {
                write::simple(out, "OK");
                return Heard::Stored;
            }
            (b"del", 2..) => {
                write::integer(out, 1);
                return Heard::Stored;
            }
            (b"auth", 2 | 3) => return self.log_in(argument(count - 1), out),
            (b"hello", _) => return self.hello(words, out),
            (b"select", 2) => {
                if std::str::from_utf8(argument(1)).ok().and_then(|db| db.parse::<u16>().ok()).is_none() {
                    write::error(out, "ERR DB index is out of range");
                    return Heard::Refused(Refusal::Arguments);
                }
                write::simple(out, "OK");
            }
            (b"ping", 1) => write::simple(out, "PONG"),
            (b"ping" | b"echo", 2) => write::bulk(out, argument(1)),
            // There is nothing to find: what a coturn that starts would clean up is not kept.
            (b"keys", 2) => {
                write::array(out, 0);
                if argument(1) == CLEAN_UP {
                    return Heard::Starting;
                }
            }
            (b"command", _) => write::array(out, 0),
            (b"client", 2..) => return self.client(argument(1), out),
            (b"info", _) => self.info(words, out),
            (b"role", 1) => {
                write::array(out, 3);
                write::bulk(out, b"master");
                write::integer(out, 0);
                write::array(out, 0);
            }
            (b"quit", _) => {
                write::simple(out, "OK");
                return Heard::Bye;
            }
            (
                b"publish" | b"set" | b"del" | b"auth" | b"select" | b"ping" | b"echo" | b"keys" | b"client"
                | b"role",
                _,
            ) => {
                let name = String::from_utf8_lossy(lower);
                write::error(out, &format!("ERR wrong number of arguments for '{name}' command"));
                return Heard::Refused(Refusal::Arguments);
            }
            _ => {
                let name = name.get(..ECHOED).unwrap_or(name);
                write::error(out, &format!("ERR unknown command '{}'", name.escape_ascii()));
                return Heard::Refused(Refusal::Unknown);
            }
        }
        Heard::Nothing
    }

    fn log_in<'a>(&mut self, password: &[u8], out: &mut Vec<u8>) -> Heard<'a> {
        let is_right =
            self.password.as_ref().is_none_or(|wanted| is_same(wanted.expose().as_bytes(), password));
        self.is_known = is_right;
        if is_right {
            write::simple(out, "OK");
            Heard::LoggedIn
        } else {
            write::error(out, "WRONGPASS invalid username-password pair or user is disabled.");
            // What a coturn gives that has no password set.
            Heard::Refused(if password.is_empty() { Refusal::Login } else { Refusal::Password })
        }
    }

    /// `CLIENT`: what libraries say of themselves is taken; what asks for something that is not done here is refused,
    /// so that they do without it.
    fn client<'a>(&self, subcommand: &[u8], out: &mut Vec<u8>) -> Heard<'a> {
        match subcommand.to_ascii_lowercase().as_slice() {
            b"setname" | b"setinfo" | b"no-evict" | b"no-touch" => write::simple(out, "OK"),
            b"getname" if self.protocol == Protocol::Resp3 => write::null3(out),
            b"getname" => write::null(out),
            b"id" => write::integer(out, 1),
            _ => {
                let name = subcommand.get(..ECHOED).unwrap_or(subcommand);
                write::error(
                    out,
                    &format!("ERR unknown subcommand '{}'. Try CLIENT HELP.", name.escape_ascii()),
                );
                return Heard::Refused(Refusal::Unknown);
            }
        }
        Heard::Nothing
    }

    /// `HELLO [2|3 [AUTH user password] [SETNAME name]]`.
    fn hello<'a>(&mut self, words: &Values<'a>, out: &mut Vec<u8>) -> Heard<'a> {
        let refused = |out: &mut Vec<u8>, text: &str| {
            write::error(out, text);
            Heard::Refused(Refusal::Arguments)
        };
        let protocol = match words.bulk(1) {
            None => self.protocol,
            Some(b"2") => Protocol::Resp2,
            Some(b"3") => Protocol::Resp3,
            Some(_) => return refused(out, "NOPROTO unsupported protocol version"),
        };
        let mut place = 2;
        let mut password = None;
        while let Some(option) = words.bulk(place) {
            if option.eq_ignore_ascii_case(b"auth") && words.bulk(place + 2).is_some() {
                password = words.bulk(place + 2);
                place += 3;
            } else if option.eq_ignore_ascii_case(b"setname") && words.bulk(place + 1).is_some() {
                place += 2;
            } else {
                let option = option.get(..ECHOED).unwrap_or(option).escape_ascii();
                return refused(out, &format!("ERR Syntax error in HELLO option '{option}'"));
            }
        }
        let has_logged_in = password.is_some();
        if let Some(password) = password {
            let mut answer = Vec::new();
            if let refused @ Heard::Refused(_) = self.log_in(password, &mut answer) {
                out.extend_from_slice(&answer);
                return refused;
            }
        }
        if !self.is_known {
            write::error(
                out,
                "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> \
                 AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol \
                 version at the same time",
            );
            return Heard::Refused(Refusal::Login);
        }
        self.protocol = protocol;
        let number = match protocol {
            Protocol::Resp2 => {
                write::array(out, 14);
                2
            }
            Protocol::Resp3 => {
                write::map(out, 7);
                3
            }
        };
        for (name, value) in [("server", "redis"), ("version", VERSION)] {
            write::bulk(out, name.as_bytes());
            write::bulk(out, value.as_bytes());
        }
        for (name, value) in [("proto", number), ("id", 1)] {
            write::bulk(out, name.as_bytes());
            write::integer(out, value);
        }
        for (name, value) in [("mode", "standalone"), ("role", "master")] {
            write::bulk(out, name.as_bytes());
            write::bulk(out, value.as_bytes());
        }
        write::bulk(out, b"modules");
        write::array(out, 0);
        if has_logged_in { Heard::LoggedIn } else { Heard::Nothing }
    }

    /// `INFO [part ...]`: the parts that are asked for, or all of them.
    fn info(&self, words: &Values<'_>, out: &mut Vec<u8>) {
        let mut asked = (1..words.len()).filter_map(|place| words.bulk(place)).peekable();
        let is_all = asked.peek().is_none();
        let asked: Vec<&[u8]> = asked.collect();
        let is_wanted = |part: &str| {
            is_all
                || asked.iter().any(|asked| {
                    asked.eq_ignore_ascii_case(part.as_bytes())
                        || ALL_OF_INFO.iter().any(|all| asked.eq_ignore_ascii_case(all))
                })
        };
        let parts = INFO.iter().filter(|(part, _)| is_wanted(part)).map(|(_, text)| (*text).to_owned());
        let ours = is_wanted(OURS).then(|| self.standing.as_info(self.password.is_some()));
        write::bulk(out, parts.chain(ours).collect::<Vec<_>>().join("\r\n").as_bytes());
    }
}

/// Compares in a time that does not tell how much is right.
fn is_same(ours: &[u8], theirs: &[u8]) -> bool {
    let differences = ours.iter().zip(theirs).fold(0, |seen, (ours, theirs)| seen | (ours ^ theirs));
    ours.len() == theirs.len() && differences == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::{Frame, Limits, Reader};

    /// The answer to a command line, as text, and what was heard.
    fn say(client: &mut Client, line: &str) -> (String, String) {
        let mut reader = Reader::of_commands(Limits { frame: 1024, values: 16, ahead: 0 });
        let bytes = format!("{line}\r\n");
        reader.space()[..bytes.len()].copy_from_slice(bytes.as_bytes());
        reader.filled(bytes.len());
        let Ok(Some(Frame::Many(words))) = reader.frame() else { panic!("{line}") };
        let mut out = Vec::new();
        let heard = format!("{:?}", client.answer(&words, &mut out));
        (String::from_utf8(out).unwrap(), heard)
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
            ("publish turn/x", "-ERR wrong number of arguments for 'publish' command\r\n"),
            ("QUIT", "+OK\r\n"),
        ] {
            assert_eq!(say(&mut client, line).0, answer, "{line}");
        }
        assert!(say(&mut client, "publish a b").1.starts_with("Published"));
        assert_eq!(say(&mut client, "set a b").1, "Stored");
        assert_eq!(say(&mut client, "subscribe a").1, "Refused(Unknown)");
        assert_eq!(say(&mut client, "quit").1, "Bye");
        // By this a coturn is known that starts; anybody may ask for all keys.
        assert_eq!(say(&mut client, "keys turn/*/allocation/*/status").1, "Starting");
        assert_eq!(say(&mut client, "keys *").1, "Nothing");
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
        let standing = Arc::new(Standing::default());
        standing.set(2, true);
        let ours =
            "# Coturn_exporter\r\ncoturn_exporter:1\r\npassword:1\r\ncoturn_seen:1\r\nrefused_clients:2\r\n";
        let mut asked = Client::new(Some(Secret::new("secret")), standing);
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
            let (answer, heard) = say(&mut client, &format!("AUTH {wrong} x"));
            assert!(answer.starts_with("-WRONGPASS") && heard == "Refused(Password)", "{wrong}: {answer}");
        }
        let mut out = Vec::new();
        let mut reader = Reader::of_commands(Limits { frame: 1024, values: 16, ahead: 0 });
        let empty = b"*2\r\n$4\r\nAUTH\r\n$0\r\n\r\n";
        reader.space()[..empty.len()].copy_from_slice(empty);
        reader.filled(empty.len());
        let Ok(Some(Frame::Many(words))) = reader.frame() else { panic!("no frame") };
        assert_eq!(
            client.answer(&words, &mut out),
            Heard::Refused(Refusal::Login),
            "coturn without a password"
        );
        assert!(out.starts_with(b"-WRONGPASS"));
        assert!(say(&mut client, "HELLO 2").0.starts_with("-NOAUTH"));
        assert_eq!(say(&mut client, "keys *").0, noauth);
        assert_eq!(say(&mut client, "AUTH coturn secret"), ("+OK\r\n".to_owned(), "LoggedIn".to_owned()));
        assert!(say(&mut client, "publish turn/x y").1.starts_with("Published"));
        // A wrong one later takes the right away again.
        assert!(say(&mut client, "HELLO 2 AUTH default wrong").0.starts_with("-WRONGPASS"));
        assert_eq!(say(&mut client, "ping").0, noauth);
        let (answer, heard) = say(&mut client, "HELLO 2 AUTH default secret");
        assert!(answer.starts_with("*14") && heard == "LoggedIn", "{answer} {heard}");
    }
}
