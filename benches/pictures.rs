//! From pictures to batches: drawing, resizing, augmentation.
//!
//!     cargo bench --bench pictures

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use tapetum::data::{Batches, Order, ResizeFilter, Species, synthetic};
use tapetum::prelude::*;

fn drawn(count: usize, size: usize) -> Vec<Picture> {
    (0..count).map(|n| synthetic(Species::Cat, size, size, Key::new(n as u64)).unwrap()).collect()
}

fn pipeline(c: &mut Criterion) {
    let mut group = c.benchmark_group("pictures");
    group.throughput(Throughput::Elements(1));
    assert_eq!(
        synthetic(Species::Dog, 64, 64, Key::new(1)).unwrap(),
        synthetic(Species::Dog, 64, 64, Key::new(1)).unwrap()
    );
    group.bench_function("draw one", |b| b.iter(|| synthetic(Species::Dog, 64, 64, black_box(Key::new(1))).unwrap()));

    let even = Picture { height: 360, width: 405, rgb: vec![77; 360 * 405 * 3] };
    assert!(even.resized(64, 64, ResizeFilter::Bilinear).unwrap().rgb.iter().all(|&value| value == 77));
    group
        .bench_function("resize one", |b| b.iter(|| black_box(&even).resized(64, 64, ResizeFilter::Bilinear).unwrap()));

    let set =
        ImageSet::from_pictures(drawn(64, 64), vec![0; 64], vec!["cat".into()], Preprocessing::new(64, 64)).unwrap();
    for (name, set) in [("batch of 32", set.clone()), ("batch of 32, augmented", set.augmented(Augmentation::thesis()))]
    {
        let batches = Batches::new(&set, 32, 1, Order::Shuffled).unwrap();
        assert_eq!(batches.batch(7).unwrap(), batches.batch(7).unwrap());
        group.throughput(Throughput::Elements(32));
        group.bench_function(name, |b| b.iter(|| batches.batch(black_box(7)).unwrap()));
    }
}

criterion_group!(benches, pipeline);
criterion_main!(benches);
