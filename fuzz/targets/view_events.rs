#![no_main]

use duskevm_fuzz_checks::ledger::view_events;

libfuzzer_sys::fuzz_target!(|data: &[u8]| view_events(data));
