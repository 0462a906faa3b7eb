//! The subcommands, each in a file of its own. The running exporter itself is in `serve`.

pub(super) mod demo;
pub(super) mod doctor;
pub(super) mod healthcheck;
pub(super) mod ledger;
pub(super) mod prune;
pub(super) mod record;
pub mod replay;
pub(super) mod simulate;
pub(super) mod usage;
