#![no_main]

use duskevm_fuzz_checks::ledger::contract_call;

libfuzzer_sys::fuzz_target!(|data: &[u8]| contract_call(data));
