// SPDX-License-Identifier: BSD-2-Clause
//! How long records take to encode and decode on the host, and how large they are: `cargo bench -p state`.

mod largest;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use state::record::{self, Record, decode, encode};

fn measure<T: Record>(criterion: &mut Criterion, name: &str, record: &T) {
    let mut bytes = vec![0; record::MAX_SIZE];
    let length = encode(record, &mut bytes).expect("a record fits into the size of records");
    println!("{name}: {length} bytes");
    let written = &bytes[..length];
    let mut room = vec![0; record::MAX_SIZE];
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Bytes(length as u64));
    group.bench_function("encode", |bencher| {
        bencher.iter(|| encode(black_box(record), black_box(&mut room)));
    });
    group.bench_function("decode", |bencher| {
        bencher.iter(|| decode::<T>(black_box(written)));
    });
    group.finish();
}

fn records(criterion: &mut Criterion) {
    measure(criterion, "1 vCPU", &largest::vcpus(1));
    measure(criterion, "4 vCPUs", &largest::vcpus(4));
    measure(
        criterion,
        "GIC, 1 vCPU, 288 interrupts",
        &largest::vgic(1, 256),
    );
    measure(
        criterion,
        "GIC, 4 vCPUs, 384 interrupts",
        &largest::vgic(4, 256),
    );
    measure(criterion, "timers of 4 vCPUs", &largest::timer());
    measure(criterion, "machine description", &largest::machine());
}

criterion_group!(benches, records);
criterion_main!(benches);
