#![no_main]

use duskevm_fuzz_checks::network::book;

libfuzzer_sys::fuzz_target!(|data: &[u8]| book(data));
