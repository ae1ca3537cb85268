//! Stable references next to bare addresses.
fn main() {}
