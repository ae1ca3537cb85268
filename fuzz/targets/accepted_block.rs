#![no_main]

use duskevm_fuzz_checks::stored::accepted_block;

libfuzzer_sys::fuzz_target!(|data: &[u8]| accepted_block(data));
