//! Matrix products, convolutions and pooling, through the layers that hold them.
//!
//!     cargo bench --bench layers
//!
//! Throughput is in multiply-adds: 1 Gelem/s is 2 GFLOP/s. Each result is checked before it is timed.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ndarray::{ArrayD, Axis, Ix2};
use std::hint::black_box;
use tapetum::prelude::*;

fn normal(shape: &[usize]) -> ArrayD<f32> {
    let mut random = Key::new(1).stream();
    ArrayD::from_shape_simple_fn(shape, || random.normal() as f32)
}

/// Checks one entry of `y` against its sum in f64.
fn confirm(found: f32, terms: impl Iterator<Item = (f32, f32)>) {
    let (mut sum, mut size) = (0.0, 0.0);
    for (a, b) in terms {
        sum += f64::from(a) * f64::from(b);
        size += (f64::from(a) * f64::from(b)).abs();
    }
    assert!((f64::from(found) - sum).abs() <= 1e-5 * size, "{found} is not {sum}");
}

/// x [M, K] · w [K, N], also by ndarray: with one thread (`RAYON_NUM_THREADS=1`) the two have the same means.
fn matrix_product(c: &mut Criterion) {
    let mut group = c.benchmark_group("matrix product");
    for [m, k, n] in [[256; 3], [512; 3], [1024; 3], [32, 6272, 128]] {
        let (x, w) = (normal(&[m, k]), normal(&[k, n]));
        let matrix = |of: &ArrayD<f32>| of.clone().into_dimensionality::<Ix2>().unwrap();
        let (rows, columns) = (matrix(&x), matrix(&w));
        let dense = Dense::from_weights(w.clone().into_dimensionality().unwrap(), None).unwrap();
        let y = dense.forward(x.view()).unwrap();
        confirm(y[[m - 1, n - 1]], (0..k).map(|l| (x[[m - 1, l]], w[[l, n - 1]])));
        group.throughput(Throughput::Elements((m * k * n) as u64));
        let shape = format!("{m}x{k}x{n}");
        group.bench_function(BenchmarkId::new("Dense", &shape), |b| {
            b.iter(|| dense.forward(black_box(x.view())).unwrap())
        });
        group.bench_function(BenchmarkId::new("ndarray's dot", &shape), |b| b.iter(|| black_box(&rows).dot(&columns)));
    }
}

/// Both convolutions of the thesis' network, and one of a wider one, at batch 32.
fn convolution(c: &mut Criterion) {
    let mut group = c.benchmark_group("convolution");
    for (name, side, channels, filters) in [("thesis 1", 64, 3, 32), ("thesis 2", 31, 32, 32), ("wider", 16, 128, 128)]
    {
        let (x, w) = (normal(&[32, side, side, channels]), normal(&[3, 3, channels, filters]));
        let conv = Conv2D::from_weights(w.clone().into_dimensionality().unwrap(), None).unwrap();
        let y = conv.forward(x.view()).unwrap();
        let taps = (0..9 * channels).map(|n| (n / channels / 3, n / channels % 3, n % channels));
        confirm(y[[31, 4, 7, 1]], taps.map(|(u, v, k)| (x[[31, 4 + u, 7 + v, k]], w[[u, v, k, 1]])));
        let products = y.len() * 9 * channels;
        group.throughput(Throughput::Elements(products as u64));
        group.bench_function(BenchmarkId::new("forward", name), |b| {
            b.iter(|| conv.forward(black_box(x.view())).unwrap())
        });

        let saved = || conv.forward_train(x.view(), Key::new(0)).unwrap().1;
        let dy = normal(y.shape());
        let back = conv.backward(saved(), dy.view()).unwrap();
        // ∂L/∂w of the first tap is the product of dy and the pictures' upper left part.
        let part = x.slice_each_axis(|axis| match axis.axis {
            Axis(1) | Axis(2) => (..y.shape()[axis.axis.index()]).into(),
            _ => (..).into(),
        });
        let first = |values: ndarray::ArrayViewD<'_, f32>| values.index_axis(Axis(3), 0).to_owned().into_flat();
        confirm(back.params[0][[0, 0, 0, 0]], first(part).into_iter().zip(first(dy.view())));
        let taps = (0..9 * filters).map(|n| (n / filters / 3, n / filters % 3, n % filters));
        confirm(back.dx[[31, 4, 7, 1]], taps.map(|(u, v, f)| (dy[[31, 4 - u, 7 - v, f]], w[[u, v, 1, f]])));
        for (pass, times) in [("weight gradient", 1), ("both gradients", 2)] {
            group.throughput(Throughput::Elements((times * products) as u64));
            group.bench_function(BenchmarkId::new(pass, name), |b| {
                b.iter_batched(
                    saved,
                    |saved| match times {
                        1 => conv.backward_first(saved, dy.view()).unwrap(),
                        _ => conv.backward(saved, dy.view()).unwrap(),
                    },
                    criterion::BatchSize::LargeInput,
                )
            });
        }
    }
}

/// 2 × 2 windows over the thesis' first activation at batch 32.
fn pooling(c: &mut Criterion) {
    let mut group = c.benchmark_group("pooling");
    let x = normal(&[32, 62, 62, 32]);
    let dy = normal(&[32, 31, 31, 32]);
    let window = |x: &ArrayD<f32>| [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(u, v)| x[[5, 10 + u, 20 + v, 3]]);
    let layers: [(&str, Box<dyn Layer<f32>>); 2] =
        [("max", Box::new(MaxPool2D::new(2))), ("average", Box::new(AveragePool2D::new(2)))];
    for (name, layer) in layers {
        let saved = || layer.forward_train(x.view(), Key::new(0)).unwrap().1;
        let y = layer.forward(x.view()).unwrap()[[5, 5, 10, 3]];
        let dx = layer.backward(saved(), dy.view()).unwrap().dx;
        let (inputs, slope) = (window(&x), dy[[5, 5, 10, 3]]);
        match name {
            "max" => {
                assert_eq!(y, inputs.into_iter().fold(f32::MIN, f32::max));
                assert_eq!(window(&dx), inputs.map(|x| if x == y { slope } else { 0.0 }));
            }
            _ => {
                confirm(y, inputs.into_iter().map(|x| (x, 0.25)));
                assert_eq!(window(&dx), [slope / 4.0; 4]);
            }
        }
        group.throughput(Throughput::Elements(x.len() as u64));
        group.bench_function(BenchmarkId::new("forward", name), |b| {
            b.iter(|| layer.forward(black_box(x.view())).unwrap())
        });
        group.bench_function(BenchmarkId::new("backward", name), |b| {
            b.iter_batched(saved, |saved| layer.backward(saved, dy.view()).unwrap(), criterion::BatchSize::LargeInput)
        });
    }
}

criterion_group!(benches, matrix_product, convolution, pooling);
criterion_main!(benches);
