//! The program: parses arguments, runs the application, maps its end to an exit code; nothing else.

use std::process::ExitCode;

use coturn_exporter::{app, cli, logging};

fn main() -> ExitCode {
    let config = match cli::parse(std::env::args_os()) {
        Ok(config) => config,
        Err(stop) => return stop.report(),
    };
    let log = match logging::init(config.log, config.command.runs_until_stopped()) {
        Ok(log) => log,
        Err(error) => return cli::Stop::failure(&error).report(),
    };
    match app::run(config, log.dropped_lines()) {
        Ok(code) => code,
        Err(error) => {
            let stop = cli::Stop::failure(&error);
            log.last_line(stop.text());
            stop.code().into()
        }
    }
}
