#![no_main]

use duskevm_fuzz_checks::consensus::header;

libfuzzer_sys::fuzz_target!(|data: &[u8]| header(data));
