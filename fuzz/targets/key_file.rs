#![no_main]

use duskevm_fuzz_checks::ledger::key_file;

libfuzzer_sys::fuzz_target!(|data: &[u8]| key_file(data));
