#![no_main]

use duskevm_fuzz_checks::stored::view_block;

libfuzzer_sys::fuzz_target!(|data: &[u8]| view_block(data));
