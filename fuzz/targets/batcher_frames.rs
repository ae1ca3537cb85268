#![no_main]

use duskevm_fuzz_checks::batches::frames;

libfuzzer_sys::fuzz_target!(|data: &[u8]| frames(data));
