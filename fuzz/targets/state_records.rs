#![no_main]

use duskevm_fuzz_checks::stored::state_records;

libfuzzer_sys::fuzz_target!(|data: &[u8]| state_records(data));
