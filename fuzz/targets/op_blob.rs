#![no_main]

use duskevm_fuzz_checks::batches::blob;

libfuzzer_sys::fuzz_target!(|data: &[u8]| blob(data));
