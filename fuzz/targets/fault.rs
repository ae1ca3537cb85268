#![no_main]

use duskevm_fuzz_checks::consensus::fault;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fault(data));
