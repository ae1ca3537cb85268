#![no_main]

use duskevm_fuzz_checks::consensus::frame;

libfuzzer_sys::fuzz_target!(|data: &[u8]| frame(data));
