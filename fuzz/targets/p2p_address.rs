#![no_main]

use duskevm_fuzz_checks::network::address;

libfuzzer_sys::fuzz_target!(|data: &[u8]| address(data));
