#![no_main]

use duskevm_fuzz_checks::blobs::route;

libfuzzer_sys::fuzz_target!(|data: &[u8]| route(data));
