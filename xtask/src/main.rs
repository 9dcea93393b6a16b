//! The developer's program.
fn main() {}
