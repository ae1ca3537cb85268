#![no_main]

use duskevm_fuzz_checks::ledger::genesis;

libfuzzer_sys::fuzz_target!(|data: &[u8]| genesis(data));
