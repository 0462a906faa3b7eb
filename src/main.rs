//! The program: parses arguments, runs the application, maps its end to an exit code; nothing else.

use std::process::ExitCode;

use coturn_exporter::{app, cli, logging};

fn main() -> ExitCode {
    let config = match cli::parse(std::env::args_os()) {
        Ok(config) => config,
        Err(stop) => return stop.report(),
    };
    if let Err(error) = logging::init(config.log) {
        return cli::report_failure(&error);
    }
    match app::run(config) {
        Ok(code) => code,
        Err(error) => cli::report_failure(&error),
    }
}
