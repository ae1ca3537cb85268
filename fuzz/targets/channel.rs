#![no_main]

use duskevm_fuzz_checks::batches::channel;

libfuzzer_sys::fuzz_target!(|data: &[u8]| channel(data));
