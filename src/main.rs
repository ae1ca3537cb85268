//! The `duskevm` program.

use std::process::ExitCode;

/// Many short-lived allocations on many threads: the system's allocator would spend most of a block on its locks.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    duskevm::cli::main()
}
