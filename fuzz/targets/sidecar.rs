#![no_main]

use duskevm_fuzz_checks::blobs::sidecar;

libfuzzer_sys::fuzz_target!(|data: &[u8]| sidecar(data));
