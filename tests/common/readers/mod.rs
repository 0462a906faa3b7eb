//! Reads what servers, files and the exporter say: pages, logs, captures, dashboards, rules.

pub mod capture;
pub mod coturn_log;
pub mod dashboards;
pub mod golden;
pub mod grafana;
pub mod open_metrics;
pub mod own_labels;
pub mod page;
pub mod promql;
pub mod promtool;
pub mod protobuf;
pub mod published;
pub mod tally;
pub mod text_judge;
pub mod vocabulary;
pub mod witness;
