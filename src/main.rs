//! The program: parses arguments, runs the application, maps its end to an exit code; nothing else.

fn main() {}
