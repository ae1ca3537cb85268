#![no_main]

use duskevm_fuzz_checks::batches::batch;

libfuzzer_sys::fuzz_target!(|data: &[u8]| batch(data));
