#![no_main]

use duskevm_fuzz_checks::unsafe_blocks::answer;

libfuzzer_sys::fuzz_target!(|data: &[u8]| answer(data));
