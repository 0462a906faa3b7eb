//! Asks a Redis about itself for `doctor`, and hands on the answers. Changes nothing in Redis, reads no value of a
//! key that exists, and judges nothing.
//!
//! What the ACL forbids is a fact too: the next question is asked all the same.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, FromRedisValue, RedisError, Value, cmd, pipe};

use super::connect::connect;
use super::error::LinkError;
use super::forward::FORWARDER;
use super::login::login_error;
use super::reply_error::{cannot_save, is_elsewhere, is_forbidden, is_no_password_set, wants_login, words};
use super::statsdb::OURS;
use super::statsdb::probe::{is_guarded_listener, is_info_of_listener};
use super::subscription::PATTERN;
use crate::config::{RedisAddress, RedisSource};
use crate::doctor::facts::{
    Clients, ConfigValues, Db, Look, MasterLink, Obstacle, PublishCount, Rights, Role, Seen, Unreachable,
    Version,
};
use crate::doctor::retention::Retention;
use crate::doctor::turnserver::RedisLogin;

/// A status key that no coturn makes (allocations count from 1): asking for it disturbs nobody.
const NO_KEY: &str = "turn/user/coturn-exporter-doctor/allocation/000000000000000000/status";

/// The keys of coturn's that hold a status.
const MATCH: &str = "turn/*/allocation/*/status";

/// How many keys Redis looks at in one step.
const COUNT: usize = 500;

/// How many steps are taken in a db: enough for a sample, and soon over where the db is full of other things.
const STEPS: usize = 200;

/// Status keys looked at in a db.
const SAMPLE: usize = 1000;

/// Dbs looked into.
const DBS: usize = 32;

/// The dbs that a Redis has by default, where it does not say which hold keys.
const DEFAULT_DBS: u32 = 16;

/// Dangerous commands that the exporter never calls. They are not called here either: Redis is asked whether they
/// would be allowed.
const DANGEROUS: [&[&str]; 8] = [
    &["FLUSHALL"],
    &["SHUTDOWN"],
    &["CONFIG", "SET", "timeout", "0"],
    &["ACL", "SETUSER", "coturn-exporter-doctor"],
    &["EVAL", "return 1", "0"],
    &["KEYS", "turn/*"],
    &["SET", NO_KEY, ""],
    &["DEL", NO_KEY],
];

/// Everything there is to see of `source`, asking for the values of these settings.
///
/// # Errors
///
/// Nothing could be seen: no Redis, or no login.
pub async fn probe(source: &RedisSource, settings: &[&str]) -> Result<Seen, Unreachable> {
    let (connection, ping) = match log_in(source).await {
        Err(LinkError::Login(error)) => return Err(refused(source, error).await),
        logged_in => logged_in.map_err(unreachable)?,
    };
    let mut prober = Prober { connection };
    if prober.ask::<String>(cmd("INFO").arg(OURS)).await.seen().is_some_and(|info| is_info_of_listener(info))
    {
        return Err(listener());
    }
    // Every connection begins in db 0: the right to SELECT is not needed there.
    let select = match source.db {
        0 => Look::Seen(()),
        db => prober.may(cmd("SELECT").arg(db)).await,
    };
    let user: Look<String> = prober.ask(cmd("ACL").arg("WHOAMI")).await;
    let no_touch = prober.no_touch().await;
    let own = user.seen().or(source.username.as_ref()).map_or("default", String::as_str);
    let excess = prober.excess(own).await;
    let (dbs, other_dbs) = prober.dbs(source.db, &select).await;
    Ok(Seen {
        user,
        version: prober.version().await,
        no_touch,
        role: prober.role().await,
        settings: prober.settings(settings).await,
        retention: prober.retention().await,
        // Counted before our own subscription below.
        clients: prober.clients().await,
        published: prober.published().await,
        patterns: prober.ask(cmd("PUBSUB").arg("NUMPAT")).await,
        excess,
        dbs,
        other_dbs,
        rights: Rights {
            ping,
            select,
            scan: prober.try_it::<(u64, Vec<Vec<u8>>)>(cmd("SCAN").arg(0).arg("COUNT").arg(1)).await,
            get: prober.try_it::<Option<Vec<u8>>>(cmd("GET").arg(NO_KEY)).await,
            idle_time: prober.try_it::<Option<u64>>(cmd("OBJECT").arg("IDLETIME").arg(NO_KEY)).await,
            subscribe: may_subscribe(source).await,
        },
    })
}

/// What a Redis says to the login of coturn: AUTH on a connection of its own, and nothing else. Without a password HELLO, which
/// needs no right, says whether one is wanted. `None` where it says nothing about logins, or a password is neither given nor
/// wanted.
pub async fn try_login(coturn: &RedisSource) -> Option<RedisLogin> {
    let default = RedisSource { username: None, ..in_db_0(coturn) };
    if coturn.password.is_none() {
        let mut connection = connect(&default).await.ok()?;
        let hello = cmd("HELLO").query_async::<Value>(&mut connection).await;
        return hello.is_err_and(|error| wants_login(&error)).then_some(RedisLogin::Missing);
    }
    let as_default = authenticate(&default).await?;
    if as_default == RedisLogin::NotAsked || coturn.username.is_none() {
        return Some(as_default);
    }
    let as_user = authenticate(&in_db_0(coturn)).await?;
    let is_one_for_both = (as_user == RedisLogin::Accepted) == (as_default == RedisLogin::Accepted);
    Some(if is_one_for_both { as_user } else { RedisLogin::OfOneUser })
}

async fn authenticate(source: &RedisSource) -> Option<RedisLogin> {
    match connect(source).await {
        Ok(_) => Some(RedisLogin::Accepted),
        Err(LinkError::Login(error)) if is_no_password_set(&error) => Some(RedisLogin::NotAsked),
        Err(LinkError::Login(error)) => Some(RedisLogin::Refused(words(&error))),
        Err(_) => None,
    }
}

/// A connection that Redis lets us use, in db 0: what is wrong with the db shall not look like a wrong login. And what
/// it says to a PING: it may serve no client and still answer questions about itself.
async fn log_in(source: &RedisSource) -> Result<(MultiplexedConnection, Look<()>), LinkError> {
    let mut connection = connect(&in_db_0(source)).await?;
    // A Redis that wants a password says so to the first command only.
    match cmd("PING").query_async::<Value>(&mut connection).await {
        Ok(_) => Ok((connection, Look::Seen(()))),
        Err(error) if cannot_save(&error) => Ok((connection, Look::Seen(()))),
        Err(error) if wants_login(&error) || !matches!(error.kind(), ErrorKind::Server(_)) => {
            Err(login_error(error, source.tls.as_ref()))
        }
        Err(error) => {
            let ping = unanswered(&error);
            Ok((connection, ping))
        }
    }
}

fn in_db_0(source: &RedisSource) -> RedisSource {
    RedisSource { db: 0, ..source.clone() }
}

/// A login that is refused, by a Redis or by the listener of an exporter.
async fn refused(source: &RedisSource, error: RedisError) -> Unreachable {
    match &source.address {
        RedisAddress::Tcp(endpoint) if source.tls.is_none() && is_guarded_listener(endpoint).await => {
            listener()
        }
        _ => unreachable(LinkError::Login(error)),
    }
}

fn listener() -> Unreachable {
    Unreachable { obstacle: Obstacle::Listener, text: "an exporter listens there".to_owned() }
}

fn unreachable(error: LinkError) -> Unreachable {
    let (obstacle, text) = match error {
        LinkError::Login(error) => (Obstacle::Login, words(&error)),
        LinkError::Tls(error) => (Obstacle::Tls { fix: error.fix() }, error.problem()),
        LinkError::Sentinel(error) => match error.tls() {
            Some(tls) => (Obstacle::Tls { fix: tls.fix() }, error.to_string()),
            None => (Obstacle::Sentinel, error.to_string()),
        },
        error @ LinkError::Replica(_) => (Obstacle::Replica, error.to_string()),
        LinkError::Unintelligible(error) => (Obstacle::Protocol, words(&error)),
        LinkError::Unusable(error) if matches!(error.kind(), ErrorKind::Server(_)) => {
            (Obstacle::Refusal, words(&error))
        }
        error => (Obstacle::Connection, error.to_string()),
    };
    Unreachable { obstacle, text }
}

/// On a connection of its own, which can be asked nothing else afterwards; in db 0, for what is published does not depend
/// on the db.
async fn may_subscribe(source: &RedisSource) -> Look<()> {
    match connect(&in_db_0(source)).await {
        Ok(connection) => Prober { connection }.may(cmd("PSUBSCRIBE").arg(PATTERN)).await,
        Err(error) => Look::Failed(error.to_string()),
    }
}

fn unanswered<T>(error: &RedisError) -> Look<T> {
    if is_forbidden(error) { Look::Forbidden } else { Look::Failed(words(error)) }
}

struct Prober {
    connection: MultiplexedConnection,
}

impl Prober {
    async fn ask<T: FromRedisValue>(&mut self, command: &redis::Cmd) -> Look<T> {
        match command.query_async(&mut self.connection).await {
            Ok(answer) => Look::Seen(answer),
            Err(error) => unanswered(&error),
        }
    }

    /// Whether a command of the resync is answered as it should be.
    async fn try_it<T: FromRedisValue>(&mut self, command: &redis::Cmd) -> Look<()> {
        match command.query_async::<T>(&mut self.connection).await {
            Ok(_) => Look::Seen(()),
            // The key is another node's business: the command itself works.
            Err(error) if is_elsewhere(&error) => Look::Seen(()),
            Err(error) => unanswered(&error),
        }
    }

    async fn retention(&mut self) -> Look<Retention> {
        match self.ask::<String>(&cmd("INFO")).await {
            Look::Seen(info) => Look::Seen(Retention::of_info(&info)),
            Look::Forbidden => Look::Forbidden,
            Look::Failed(text) => Look::Failed(text),
        }
    }

    async fn may(&mut self, command: &redis::Cmd) -> Look<()> {
        match self.ask::<Value>(command).await {
            Look::Seen(_) => Look::Seen(()),
            Look::Forbidden => Look::Forbidden,
            Look::Failed(text) => Look::Failed(text),
        }
    }

    /// From INFO; from HELLO, which less privileged users may call too, where that is forbidden.
    async fn version(&mut self) -> Look<Version> {
        let unreadable = || Look::Failed("the answer names no version".to_owned());
        let text = match self.ask::<String>(cmd("INFO").arg("server")).await {
            Look::Seen(info) => field(&info, "redis_version:").map(str::to_owned),
            _ => match self.ask::<HashMap<String, Value>>(&cmd("HELLO")).await {
                Look::Seen(hello) => {
                    hello.get("version").and_then(|value| String::from_redis_value_ref(value).ok())
                }
                Look::Forbidden => return Look::Forbidden,
                Look::Failed(text) => return Look::Failed(text),
            },
        };
        text.and_then(|text| Version::parse(&text)).map_or_else(unreadable, Look::Seen)
    }

    async fn no_touch(&mut self) -> Look<bool> {
        match self.ask::<Value>(cmd("CLIENT").arg("NO-TOUCH").arg("ON")).await {
            Look::Seen(_) => Look::Seen(true),
            Look::Forbidden => Look::Forbidden,
            // `unknown subcommand`, in the words of its version.
            Look::Failed(text) if text.to_ascii_lowercase().contains("subcommand") => Look::Seen(false),
            Look::Failed(text) => Look::Failed(text),
        }
    }

    async fn role(&mut self) -> Look<Role> {
        let parts: Vec<Value> = match self.ask(&cmd("ROLE")).await {
            Look::Seen(parts) => parts,
            Look::Forbidden => return self.role_by_info().await,
            Look::Failed(text) => return Look::Failed(text),
        };
        let word = |at: usize| parts.get(at).and_then(|part| String::from_redis_value_ref(part).ok());
        match word(0).as_deref() {
            Some("master") => Look::Seen(Role::Master),
            Some("slave") => {
                Look::Seen(Role::Replica(MasterLink::from_role(word(3).as_deref().unwrap_or_default())))
            }
            Some(other) => Look::Seen(Role::Other(other.to_owned())),
            None => Look::Failed("an answer without a role".to_owned()),
        }
    }

    /// For users who may call INFO and not ROLE.
    async fn role_by_info(&mut self) -> Look<Role> {
        let Look::Seen(info) = self.ask::<String>(cmd("INFO").arg("replication")).await else {
            return Look::Forbidden;
        };
        match field(&info, "role:") {
            Some("master") => Look::Seen(Role::Master),
            Some("slave") => Look::Seen(Role::Replica(MasterLink::from_info(&info))),
            _ => Look::Forbidden,
        }
    }

    async fn settings(&mut self, names: &[&str]) -> Look<ConfigValues> {
        let mut pairs = Vec::new();
        for name in names {
            match self.ask::<HashMap<String, String>>(cmd("CONFIG").arg("GET").arg(*name)).await {
                Look::Seen(values) => pairs.extend(values),
                Look::Forbidden => return Look::Forbidden,
                Look::Failed(text) => return Look::Failed(text),
            }
        }
        Look::Seen(pairs.into_iter().collect())
    }

    async fn excess(&mut self, user: &str) -> Look<Vec<String>> {
        let mut allowed = Vec::new();
        for command in DANGEROUS {
            let mut question = cmd("ACL");
            question.arg("DRYRUN").arg(user).arg(command);
            match self.ask::<String>(&question).await {
                Look::Seen(answer) if answer == "OK" => {
                    let words = if matches!(command, ["CONFIG" | "ACL", ..]) { 2 } else { 1 };
                    allowed.push(command.iter().copied().take(words).collect::<Vec<_>>().join(" "));
                }
                Look::Seen(_) => {}
                Look::Forbidden => return Look::Forbidden,
                Look::Failed(text) => return Look::Failed(text),
            }
        }
        Look::Seen(allowed)
    }

    async fn clients(&mut self) -> Look<Clients> {
        let own: Look<u64> = self.ask(cmd("CLIENT").arg("ID")).await;
        let list: String = match self.ask(cmd("CLIENT").arg("LIST")).await {
            Look::Seen(list) => list,
            Look::Forbidden => return Look::Forbidden,
            Look::Failed(text) => return Look::Failed(text),
        };
        Look::Seen(count_clients(&list, own.seen().copied()))
    }

    async fn published(&mut self) -> Look<PublishCount> {
        match self.ask::<String>(cmd("INFO").arg("commandstats")).await {
            Look::Seen(info) => Look::Seen(PublishCount::of_info(&info)),
            Look::Forbidden => Look::Forbidden,
            Look::Failed(text) => Look::Failed(text),
        }
    }

    /// The status keys of the configured db and of the others, and whether the others could be looked into.
    async fn dbs(&mut self, configured: u32, select: &Look<()>) -> (Vec<Db>, Look<()>) {
        let selected = if select.seen().is_some() { configured } else { 0 };
        let mut dbs = vec![self.keys(selected).await];
        let mut access = Look::Seen(());
        if *select == Look::Forbidden {
            // That is a finding of its own, and true of all dbs.
            return (dbs, access);
        }
        for number in self.dbs_with_keys().await.into_iter().filter(|number| *number != selected).take(DBS) {
            match self.may(cmd("SELECT").arg(number)).await {
                Look::Seen(()) => dbs.push(self.keys(number).await),
                Look::Forbidden => {
                    access = Look::Forbidden;
                    break;
                }
                // Fewer dbs than by default.
                Look::Failed(_) => break,
            }
        }
        (dbs, access)
    }

    async fn dbs_with_keys(&mut self) -> BTreeSet<u32> {
        match self.ask::<String>(cmd("INFO").arg("keyspace")).await {
            Look::Seen(info) => {
                let number = |line: &str| line.strip_prefix("db")?.split_once(':')?.0.parse().ok();
                info.lines().filter_map(number).collect()
            }
            _ => (0..DEFAULT_DBS).collect(),
        }
    }

    /// A sample of the status keys of the selected db. The rights show what is forbidden.
    async fn keys(&mut self, number: u32) -> Db {
        let mut db = Db { number, ..Db::default() };
        let mut cursor = 0;
        for _ in 0..STEPS {
            let mut scan = cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(MATCH).arg("COUNT").arg(COUNT);
            let Look::Seen((next, keys)) = self.ask::<(u64, Vec<Vec<u8>>)>(&scan).await else { return db };
            let mut ages = pipe();
            let room = SAMPLE.saturating_sub(db.idle.len());
            for key in keys.iter().take(room) {
                ages.cmd("OBJECT").arg("IDLETIME").arg(key);
            }
            if !ages.is_empty() {
                let ages: Result<Vec<Result<Option<u64>, RedisError>>, RedisError> =
                    ages.ignore_errors().query_async(&mut self.connection).await;
                let Ok(ages) = ages else { return db };
                db.idle.extend(ages.into_iter().filter_map(|age| match age {
                    Ok(seconds) => Some(Some(Duration::from_secs(seconds?))),
                    Err(_) => Some(None),
                }));
            }
            if keys.len() > room {
                return db;
            }
            cursor = next;
            if cursor == 0 {
                db.complete = true;
                return db;
            }
        }
        db
    }
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

/// From the lines of CLIENT LIST. Replicas and masters are no clients of this kind.
fn count_clients(list: &str, own: Option<u64>) -> Clients {
    let mut clients = Clients::default();
    for line in list.lines() {
        let value = |name: &str| line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        let is_own = own.is_some() && value("id").and_then(|id| id.parse().ok()) == own;
        if is_own || value("flags").is_some_and(|flags| flags.contains(['S', 'M'])) {
            continue;
        }
        let idle =
            || Duration::from_secs(value("idle").and_then(|idle| idle.parse().ok()).unwrap_or_default());
        if value("psub").is_some_and(|patterns| patterns != "0") {
            clients.subscribers += 1;
        } else if value("name") == Some(FORWARDER) {
            clients.forwarders.push(idle());
        } else if value("cmd") == Some("publish") {
            clients.publishers.push(idle());
        } else {
            clients.others += 1;
        }
    }
    clients
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_told_apart_by_what_they_do() {
        let list = "id=3 addr=127.0.0.1:1 name= idle=0 flags=N db=0 sub=0 psub=0 cmd=client|list user=default\n\
                    id=4 addr=127.0.0.1:2 name= idle=7 flags=N db=3 sub=0 psub=0 cmd=publish user=default\n\
                    id=5 addr=127.0.0.1:3 name= idle=9 flags=N db=3 sub=0 psub=0 cmd=select user=default\n\
                    id=6 addr=127.0.0.1:4 name= idle=0 flags=P db=0 sub=0 psub=1 cmd=psubscribe user=default\n\
                    id=8 addr=127.0.0.1:6 name=coturn-exporter-forward idle=5 flags=N psub=0 cmd=publish user=x\n\
                    id=7 addr=127.0.0.1:5 name= idle=0 flags=S db=0 sub=0 psub=0 cmd=replconf user=default\n";
        let seconds = Duration::from_secs;
        let seen = |others| Clients {
            subscribers: 1,
            publishers: vec![seconds(7)],
            forwarders: vec![seconds(5)],
            others,
        };
        assert_eq!(count_clients(list, Some(3)), seen(1));
        assert_eq!(count_clients(list, None), seen(2));
        assert_eq!(count_clients("", None), Clients::default());
    }
}
