#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| skiff::fuzzing::run("sftp-replies", bytes));
