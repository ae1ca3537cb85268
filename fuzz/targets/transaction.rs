#![no_main]

use duskevm_fuzz_checks::ledger::transaction;

libfuzzer_sys::fuzz_target!(|data: &[u8]| transaction(data));
