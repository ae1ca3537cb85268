#![no_main]

use duskevm_fuzz_checks::network::answer;

libfuzzer_sys::fuzz_target!(|data: &[u8]| answer(data));
