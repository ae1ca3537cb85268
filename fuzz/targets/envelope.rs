#![no_main]

use duskevm_fuzz_checks::settlement::envelope;

libfuzzer_sys::fuzz_target!(|data: &[u8]| envelope(data));
