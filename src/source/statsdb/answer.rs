//! The answer to each command of coturn's client library, in the words of a Redis. Pure: it stores no keys, because the
//! published messages say the same.

use std::sync::Arc;

use subtle::ConstantTimeEq as _;

use super::status::{LOGIN_WANTED, ListenerStatus, NOBODY_IS_TOLD, OURS};
use crate::config::Secret;
use crate::resp::{RespValues, write};

/// What a command was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCommand<'a> {
    /// `PUBLISH`.
    Published {
        /// The channel.
        channel: &'a [u8],
        /// The payload.
        payload: &'a [u8],
    },
    /// `SET key value`: a published message says the same.
    Set {
        /// The key.
        key: &'a [u8],
        /// Its value.
        value: &'a [u8],
    },
    /// `DEL key`. coturn puts an empty word behind the key.
    Deleted {
        /// The key.
        key: &'a [u8],
    },
    /// `SET` or `DEL` with other words than a coturn's.
    Stored,
    /// What a coturn asks when its process starts, and only then: for the keys that its last life left behind (every
    /// version up to 4.17.1; not when it connects again).
    Starting,
    /// The password was right, or none is asked for.
    LoggedIn,
    /// A question of a client library or a health check.
    Nothing,
    /// A line without a word.
    Empty,
    /// `QUIT`.
    Bye,
    /// Something that is not done here.
    Refused(CommandRefusal),
    /// No client of a Redis speaks like that. The connection ends with it; what came behind it is not looked at.
    Foreign(CommandRefusal),
}

/// Why a command was refused. The names are label values: few, and fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandRefusal {
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
    /// HTTP: somebody makes a browser, or a server, send commands here in the body of a request.
    Attack,
}

impl CommandRefusal {
    /// Every reason, in the order of its discriminant.
    pub const ALL: [Self; 7] = [
        Self::Unknown,
        Self::Arguments,
        Self::Login,
        Self::Password,
        Self::TooLong,
        Self::Malformed,
        Self::Attack,
    ];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Arguments => "arguments",
            Self::Login => "login",
            Self::Password => "password",
            Self::TooLong => "too_long",
            Self::Malformed => "malformed",
            Self::Attack => "attack",
        }
    }
}

/// The keys that a coturn looks for when it starts.
const CLEAN_UP: &[u8] = b"turn/*/allocation/*/status";

/// What a line of an HTTP request begins with that carries commands in its body, as Redis itself looks for it. A request
/// without a body has no command to run, and its first line is none.
const HTTP: [&[u8]; 2] = [b"post", b"host:"];

/// The commands that are known here. A coturn, a client library or a health check begins with one of these.
const COMMANDS: [&[u8]; 14] = [
    b"auth", b"client", b"command", b"del", b"echo", b"hello", b"info", b"keys", b"ping", b"publish",
    b"quit", b"role", b"select", b"set",
];

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
pub(crate) struct Client {
    password: Option<Secret>,
    is_known: bool,
    /// It has said a command, of whatever kind.
    has_spoken: bool,
    is_accepted: bool,
    protocol: Protocol,
    status: Arc<ListenerStatus>,
}

impl Client {
    /// One who must say `password`, if there is one.
    pub(crate) const fn new(password: Option<Secret>, status: Arc<ListenerStatus>) -> Self {
        let is_known = password.is_none();
        Self { password, is_known, has_spoken: false, is_accepted: false, protocol: Protocol::Resp2, status }
    }

    /// Whether it still has to give the password.
    pub(crate) const fn must_log_in(&self) -> bool {
        !self.is_known
    }

    /// Whether it has logged in, or, where no password is asked for, has said a command that is done here.
    pub(crate) const fn is_accepted(&self) -> bool {
        self.is_accepted
    }

    /// Takes note of bytes that are no command. No client of a Redis begins with such.
    pub(crate) const fn said_no_command<'a>(&mut self, reason: CommandRefusal) -> ClientCommand<'a> {
        if std::mem::replace(&mut self.has_spoken, true) {
            ClientCommand::Refused(reason)
        } else {
            ClientCommand::Foreign(reason)
        }
    }

    /// Answers one command.
    pub(crate) fn answer<'a>(&mut self, words: &RespValues<'a>, out: &mut Vec<u8>) -> ClientCommand<'a> {
        let Some(name) = words.bulk(0) else { return ClientCommand::Empty };
        let mut lower = [0; 16];
        let lower = lower.get_mut(..name.len()).map_or(&[][..], |lower| {
            lower.copy_from_slice(name);
            lower.make_ascii_lowercase();
            lower
        });
        if HTTP.contains(&lower) {
            return ClientCommand::Foreign(CommandRefusal::Attack);
        }
        let is_first = !std::mem::replace(&mut self.has_spoken, true);
        if is_first && !COMMANDS.contains(&lower) {
            unknown(out, name);
            return ClientCommand::Foreign(CommandRefusal::Unknown);
        }
        let answered = self.answer_to(name, lower, words, out);
        self.is_accepted |= self.is_known && !matches!(answered, ClientCommand::Refused(_));
        answered
    }

    /// One arm for each command that is known here: long, but each arm stands by itself.
    fn answer_to<'a>(
        &mut self,
        name: &[u8],
        lower: &[u8],
        words: &RespValues<'a>,
        out: &mut Vec<u8>,
    ) -> ClientCommand<'a> {
        let argument = |place| words.bulk(place).unwrap_or_default();
        let count = words.len();
        if !self.is_known && !matches!(lower, b"auth" | b"hello" | b"quit") {
            let is_about_us = lower == b"info" && argument(1).eq_ignore_ascii_case(OURS.as_bytes());
            write::error(out, if is_about_us { LOGIN_WANTED } else { "NOAUTH Authentication required." });
            return ClientCommand::Refused(CommandRefusal::Login);
        }
        match (lower, count) {
            (b"publish", 3) => {
                write::integer(out, 1);
                return ClientCommand::Published { channel: argument(1), payload: argument(2) };
            }
            (b"set", 3..) => {
                write::simple(out, "OK");
                return if count == 3 {
                    ClientCommand::Set { key: argument(1), value: argument(2) }
                } else {
                    ClientCommand::Stored
                };
            }
            (b"del", 2..) => {
                write::integer(out, 1);
                let is_one = count == 2 || (count == 3 && argument(2).is_empty());
                return if is_one {
                    ClientCommand::Deleted { key: argument(1) }
                } else {
                    ClientCommand::Stored
                };
            }
            (b"auth", 2 | 3) => return self.log_in(argument(count - 1), out),
            (b"hello", _) => return self.hello(words, out),
            (b"select", 2) => {
                if std::str::from_utf8(argument(1)).ok().and_then(|db| db.parse::<u16>().ok()).is_none() {
                    write::error(out, "ERR DB index is out of range");
                    return ClientCommand::Refused(CommandRefusal::Arguments);
                }
                write::simple(out, "OK");
            }
            (b"ping", 1) => write::simple(out, "PONG"),
            (b"ping" | b"echo", 2) => write::bulk(out, argument(1)),
            // There is nothing to find: what a coturn that starts would clean up is not kept.
            (b"keys", 2) => {
                write::array(out, 0);
                if argument(1) == CLEAN_UP {
                    return ClientCommand::Starting;
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
                return ClientCommand::Bye;
            }
            (
                b"publish" | b"set" | b"del" | b"auth" | b"select" | b"ping" | b"echo" | b"keys" | b"client"
                | b"role",
                _,
            ) => {
                let name = String::from_utf8_lossy(lower);
                write::error(out, &format!("ERR wrong number of arguments for '{name}' command"));
                return ClientCommand::Refused(CommandRefusal::Arguments);
            }
            _ => {
                unknown(out, name);
                return ClientCommand::Refused(CommandRefusal::Unknown);
            }
        }
        ClientCommand::Nothing
    }

    fn log_in<'a>(&mut self, password: &[u8], out: &mut Vec<u8>) -> ClientCommand<'a> {
        let is_right =
            self.password.as_ref().is_none_or(|wanted| is_same(wanted.expose().as_bytes(), password));
        self.is_known = is_right;
        if is_right {
            write::simple(out, "OK");
            ClientCommand::LoggedIn
        } else {
            write::error(out, "WRONGPASS invalid username-password pair or user is disabled.");
            // What a coturn gives that has no password set.
            ClientCommand::Refused(if password.is_empty() {
                CommandRefusal::Login
            } else {
                CommandRefusal::Password
            })
        }
    }

    /// `CLIENT`: what libraries say of themselves is taken; what asks for something that is not done here is refused,
    /// so that they do without it.
    fn client<'a>(&self, subcommand: &[u8], out: &mut Vec<u8>) -> ClientCommand<'a> {
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
                return ClientCommand::Refused(CommandRefusal::Unknown);
            }
        }
        ClientCommand::Nothing
    }

    /// `HELLO [2|3 [AUTH user password] [SETNAME name]]`.
    fn hello<'a>(&mut self, words: &RespValues<'a>, out: &mut Vec<u8>) -> ClientCommand<'a> {
        let refused = |out: &mut Vec<u8>, text: &str| {
            write::error(out, text);
            ClientCommand::Refused(CommandRefusal::Arguments)
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
            if let refused @ ClientCommand::Refused(_) = self.log_in(password, &mut answer) {
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
            return ClientCommand::Refused(CommandRefusal::Login);
        }
        self.protocol = protocol;
        Self::write_hello(out, protocol);
        if has_logged_in { ClientCommand::LoggedIn } else { ClientCommand::Nothing }
    }

    /// The answer to `HELLO`: what this server is.
    fn write_hello(out: &mut Vec<u8>, protocol: Protocol) {
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
    }

    /// `INFO [part ...]`: the parts that are asked for, or all of them.
    fn info(&self, words: &RespValues<'_>, out: &mut Vec<u8>) {
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
        let ours = is_wanted(OURS).then(|| self.status.as_info(self.password.is_some()));
        write::bulk(out, parts.chain(ours).collect::<Vec<_>>().join("\r\n").as_bytes());
    }
}

/// What an exporter, or whoever takes this for a Redis, would ask.
const SUBSCRIPTIONS: [&[u8]; 3] = [b"psubscribe", b"subscribe", b"ssubscribe"];

fn unknown(out: &mut Vec<u8>, name: &[u8]) {
    let name = name.get(..ECHOED).unwrap_or(name);
    let is_subscription = SUBSCRIPTIONS.iter().any(|subscription| name.eq_ignore_ascii_case(subscription));
    let explained = if is_subscription { format!(": {NOBODY_IS_TOLD}") } else { String::new() };
    write::error(out, &format!("ERR unknown command '{}'{explained}", name.escape_ascii()));
}

/// Compares in a time that does not show how many bytes are right.
fn is_same(ours: &[u8], theirs: &[u8]) -> bool {
    ours.ct_eq(theirs).into()
}

#[cfg(test)]
mod tests;
