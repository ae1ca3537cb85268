#![no_main]

use duskevm_fuzz_checks::stored::timeouts;

libfuzzer_sys::fuzz_target!(|data: &[u8]| timeouts(data));
