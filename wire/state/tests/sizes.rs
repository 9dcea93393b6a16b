// SPDX-License-Identifier: BSD-2-Clause
//! How large records get: what a link carries while a guest is paused.

#[path = "../benches/largest/mod.rs"]
mod largest;

use state::record::{MAX_SIZE, Record, decode, encode};

/// The size aimed at for a vCPU, and for a GIC of 288 interrupts.
const AIM: usize = 2048;

fn size(record: &(impl Record + PartialEq + core::fmt::Debug)) -> usize {
    let mut bytes = vec![0; MAX_SIZE];
    let length = encode(record, &mut bytes).expect("it fits");
    assert_eq!(decode(&bytes[..length]).as_ref(), Ok(record));
    length
}

#[test]
fn a_vcpu_takes_less_than_2_kib() {
    // With a header, the console and what the guest may rely on, which the others share.
    let first = size(&largest::vcpus(1));
    let each = size(&largest::vcpus(2)) - first;
    println!("the first vCPU: {first}, each other: {each} bytes");
    assert!(each < AIM && first - each < 1200, "{first}, {each}");
}

#[test]
fn a_gic_of_288_interrupts_takes_less_than_2_kib() {
    let (one, four) = (size(&largest::vgic(1, 256)), size(&largest::vgic(4, 256)));
    println!("of one vCPU: {one}, of four: {four} bytes");
    assert!(one < AIM && four < AIM, "{one}, {four}");
}

#[test]
fn the_largest_of_all_records_fit_where_domains_put_them() {
    assert!(size(&largest::vcpus(4)) <= MAX_SIZE);
    // timer-pd's region has a page, and it takes no longer ones than this.
    assert!(size(&largest::timer()) <= 256);
    assert!(size(&largest::machine()) <= MAX_SIZE);
}
