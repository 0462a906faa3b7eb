//! What `usage --format json` says of a store.

use std::collections::BTreeMap;
use std::path::Path;

use crate::common::servers::command;

/// A row of the answer.
#[derive(Debug, serde::Deserialize)]
#[serde(transparent)]
pub(crate) struct Row(BTreeMap<String, serde_json::Value>);

impl Row {
    #[track_caller]
    pub(crate) fn count(&self, name: &str) -> u64 {
        self.0.get(name).and_then(serde_json::Value::as_u64).unwrap_or_else(|| panic!("no {name}: {self:?}"))
    }

    #[track_caller]
    pub(crate) fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(serde_json::Value::as_str).unwrap_or_else(|| panic!("no {name}: {self:?}"))
    }
}

/// Asks the ledger of a store.
#[track_caller]
pub(crate) fn usage(store: &Path, args: &[&str]) -> Vec<Row> {
    let store = store.to_str().expect("a name in UTF-8");
    let ended = command::exporter(&[&["usage", "--format", "json", "--store.path", store], args].concat());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {}", ended.stdout))
}
