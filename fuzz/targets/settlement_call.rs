#![no_main]

use duskevm_fuzz_checks::settlement::settlement_call;

libfuzzer_sys::fuzz_target!(|data: &[u8]| settlement_call(data));
