#![no_main]

use duskevm_fuzz_checks::stored::ballots;

libfuzzer_sys::fuzz_target!(|data: &[u8]| ballots(data));
