#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| coturn_exporter::fuzzing::run("channel", bytes));
