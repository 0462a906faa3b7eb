//! Reads what servers, files and the exporter say: pages, logs, captures, dashboards, rules.

pub mod capture;
pub mod coturn_log;
pub mod dashboards;
pub mod golden;
pub mod grafana;
pub mod own_labels;
pub mod page;
pub mod promql;
pub mod promtool;
pub mod published;
pub mod tally;
pub mod vocabulary;
pub mod witness;
