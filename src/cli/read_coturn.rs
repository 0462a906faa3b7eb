//! What coturn's own file says where no flag and no variable does.

use super::args::CoturnArgs;
use super::given::{Given, UsageError};
use crate::config::{Command, CoturnFile, RedisSource, TurnserverConf, value};
use crate::state::{OTHER, Settings};

/// The flag's id.
const ID: &str = "coturn.config-file";

/// The file, if it is named.
pub(super) fn load(given: &Given<'_>, coturn: &CoturnArgs) -> Result<Option<CoturnFile>, UsageError> {
    let path = given.file(ID, coturn.config_file.as_ref());
    let file = path.map(|path| {
        let conf = TurnserverConf::load(&path)?;
        let has_source_beside = given.is_set("redis.url") || given.is_set("statsdb.listen-address");
        Ok(CoturnFile { path, conf, used_for: Vec::new(), has_source_beside })
    });
    file.transpose().map_err(|problem| given.wrong(ID, problem))
}

/// The Redis that coturn reports to, to be watched.
pub(super) fn source(
    given: &Given<'_>,
    file: Option<&mut CoturnFile>,
    command: &Command,
) -> Result<Option<Vec<RedisSource>>, UsageError> {
    let Some(file) = file else { return Ok(None) };
    let source = match file.conf.current().source() {
        // That is a finding.
        Err(_) if matches!(command, Command::Doctor { .. }) => return Ok(Some(Vec::new())),
        source => source.map_err(|problem| given.wrong(ID, problem))?,
    };
    if source.is_some() {
        file.used_for.push("redis.url");
    }
    Ok(source.map(|source| vec![source]))
}

/// Completes the table's settings, as far as the command has them.
pub(super) fn complete(given: &Given<'_>, file: &mut CoturnFile, command: &Command, table: &mut Settings) {
    let conf = file.conf.current();
    let mut take = |id: &'static str| {
        let is_taken = !given.is_set(id);
        if is_taken {
            file.used_for.push(id);
        }
        is_taken
    };
    if let Some(lifetime) = conf.max_allocate_lifetime
        && take("allocation.max-lifetime")
    {
        table.max_lifetime = lifetime;
    }
    if matches!(command, Command::Prune { .. }) {
        return;
    }
    let separator = conf.rest_separator.and_then(|separator| value::separator(&separator.to_string()).ok());
    if let Some(separator) = separator
        && take("session.rest-separator")
    {
        table.rest_separator = separator;
    }
    let realm = conf.realm.as_ref().filter(|realm| *realm != OTHER);
    if let Some(realm) = realm
        && !matches!(command, Command::Doctor { .. })
        && take("metrics.realm")
    {
        table.realms = vec![realm.clone().into_bytes()];
    }
}
