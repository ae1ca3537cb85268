#![no_main]

use duskevm_fuzz_checks::stored::journal;

libfuzzer_sys::fuzz_target!(|data: &[u8]| journal(data));
