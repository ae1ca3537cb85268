#![no_main]

use duskevm_fuzz_checks::carrier::carried_envelope;

libfuzzer_sys::fuzz_target!(|data: &[u8]| carried_envelope(data));
