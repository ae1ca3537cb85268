#![no_main]

use duskevm_fuzz_checks::batches::records;

libfuzzer_sys::fuzz_target!(|data: &[u8]| records(data));
