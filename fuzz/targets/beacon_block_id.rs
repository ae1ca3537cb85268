#![no_main]

use duskevm_fuzz_checks::blobs::block_id;

libfuzzer_sys::fuzz_target!(|data: &[u8]| block_id(data));
