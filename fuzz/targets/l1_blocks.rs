#![no_main]

use duskevm_fuzz_checks::derivation::l1_blocks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| l1_blocks(data));
