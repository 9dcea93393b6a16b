//! The Linux guest's workload.
fn main() {}
