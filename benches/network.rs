//! The thesis' network: a training step at batch 32, and inference at batch 1, 32 and 256.
//!
//!     cargo bench --bench network

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ndarray::ArrayD;
use std::hint::black_box;
use tapetum::data::Batch;
use tapetum::model::thesis_network;
use tapetum::prelude::*;

fn thesis() -> Sequential {
    thesis_network([64, 64]).add(Dense::new(1)).add(Sigmoid).build(1).unwrap()
}

/// Half of the pictures dark, half light, so that there is something to learn.
fn batch(size: usize) -> Batch {
    let mut random = Key::new(2).stream();
    let shade = |n: usize| 0.4 + 0.2 * (n % 2) as f64;
    let x = ArrayD::from_shape_fn(vec![size, 64, 64, 3], |at| (shade(at[0]) * random.unit()) as f32);
    let labels = (0..size).map(|n| n % 2).collect();
    Batch { x, target: Target::Labels(labels), weights: None, indices: (0..size).collect() }
}

fn training_step(c: &mut Criterion) {
    let mut group = c.benchmark_group("training step");
    for size in [32, 256] {
        let batch = batch(size);
        let mut trainer = Trainer::new(thesis(), BinaryCrossEntropy::default(), Adam::new(1e-3));
        let first = trainer.train_on_batch(&batch).unwrap().loss;
        let last = (0..20).map(|_| trainer.train_on_batch(&batch).unwrap().loss).last().unwrap();
        assert!(last < first, "nothing was learned: {first} to {last}");
        group.throughput(Throughput::Elements(size as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |b| b.iter(|| trainer.train_on_batch(&batch).unwrap()));
    }
}

fn inference(c: &mut Criterion) {
    let mut group = c.benchmark_group("inference");
    let model = thesis();
    for size in [1, 32, 256] {
        let x = batch(size).x;
        let y = model.predict(x.view()).unwrap();
        // The last sample on its own, layer by layer.
        let last = x.slice_axis(ndarray::Axis(0), (size - 1..).into()).to_owned();
        let alone = model.layers().fold(last, |x, (_, layer)| layer.forward(x.view()).unwrap());
        assert!((y[[size - 1, 0]] - alone[[0, 0]]).abs() < 1e-6);
        group.throughput(Throughput::Elements(size as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter(|| model.predict(black_box(x.view())).unwrap())
        });
    }
}

criterion_group!(benches, training_step, inference);
criterion_main!(benches);
