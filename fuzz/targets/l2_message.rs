#![no_main]

use duskevm_fuzz_checks::unsafe_blocks::message;

libfuzzer_sys::fuzz_target!(|data: &[u8]| message(data));
