#![no_main]

use duskevm_fuzz_checks::consensus::block;

libfuzzer_sys::fuzz_target!(|data: &[u8]| block(data));
