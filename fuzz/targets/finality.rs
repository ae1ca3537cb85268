#![no_main]

use duskevm_fuzz_checks::stored::finality;

libfuzzer_sys::fuzz_target!(|data: &[u8]| finality(data));
