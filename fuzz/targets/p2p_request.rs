#![no_main]

use duskevm_fuzz_checks::network::request;

libfuzzer_sys::fuzz_target!(|data: &[u8]| request(data));
