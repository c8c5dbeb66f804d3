//! From pictures to batches: drawing, decoding, resizing, augmentation.
//!
//!     cargo bench --bench pictures

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use image::ImageFormat;
use ndarray::Axis;
use std::hint::black_box;
use std::io::Cursor;
use tapetum::data::{Batches, DecodeLimits, Order, ResizeFilter, Species, synthetic};
use tapetum::prelude::*;

fn drawn(count: usize, size: usize) -> Vec<Picture> {
    (0..count).map(|n| synthetic(Species::Cat, size, size, Key::new(n as u64)).unwrap()).collect()
}

/// The bytes of a picture file.
fn encoded(picture: &Picture, format: ImageFormat) -> Vec<u8> {
    let (width, height) = (picture.width as u32, picture.height as u32);
    let pixels = image::RgbImage::from_raw(width, height, picture.rgb.clone()).unwrap();
    let mut file = Cursor::new(Vec::new());
    pixels.write_to(&mut file, format).unwrap();
    file.into_inner()
}

/// A picture of the size that photographs have in a data set: PNG is exact, JPEG nearly so.
fn decoding(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode");
    let picture = synthetic(Species::Cat, 360, 405, Key::new(1)).unwrap();
    group.throughput(Throughput::Bytes(picture.rgb.len() as u64));
    for (name, format, mean_difference) in [("PNG", ImageFormat::Png, 0.0), ("JPEG", ImageFormat::Jpeg, 6.0)] {
        let (file, limits) = (encoded(&picture, format), DecodeLimits::default());
        let decoded = Picture::decode(&file, &limits).unwrap();
        assert_eq!(decoded.shape(), picture.shape());
        let difference: u64 = decoded.rgb.iter().zip(&picture.rgb).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
        assert!(difference as f64 <= mean_difference * picture.rgb.len() as f64, "{name}: {difference}");
        group.bench_function(name, |b| b.iter(|| Picture::decode(black_box(&file), &limits).unwrap()));
    }
}

fn pipeline(c: &mut Criterion) {
    let mut group = c.benchmark_group("pictures");
    group.throughput(Throughput::Elements(1));
    let dog = |seed| synthetic(Species::Dog, 64, 64, Key::new(seed)).unwrap();
    assert!(dog(1) == dog(1) && dog(1) != dog(2));
    group.bench_function("draw one", |b| b.iter(|| synthetic(Species::Dog, 64, 64, black_box(Key::new(1))).unwrap()));

    let even = Picture { height: 360, width: 405, rgb: vec![77; 360 * 405 * 3] };
    assert!(even.resized(64, 64, ResizeFilter::Bilinear).unwrap().rgb.iter().all(|&value| value == 77));
    group
        .bench_function("resize one", |b| b.iter(|| black_box(&even).resized(64, 64, ResizeFilter::Bilinear).unwrap()));

    let set =
        ImageSet::from_pictures(drawn(64, 64), vec![0; 64], vec!["cat".into()], Preprocessing::new(64, 64)).unwrap();
    let augmented = set.augmented(Augmentation::thesis());
    for (name, view) in [("batch of 32", &set), ("batch of 32, augmented", &augmented)] {
        let batches = Batches::new(view, 32, 1, Order::Shuffled).unwrap();
        let batch = batches.batch(7).unwrap();
        let (sample, plain) = (batch.x.index_axis(Axis(0), 5), set.picture(batch.indices[5]).unwrap());
        let expected: Vec<f32> = plain.rgb.iter().map(|&byte| f32::from(byte) * (1.0 / 255.0)).collect();
        match name {
            "batch of 32" => assert!(sample.iter().eq(&expected)),
            // Moved pixels lie between those that were there.
            _ => assert!(!sample.iter().eq(&expected) && sample.iter().all(|x| (0.0..=1.0).contains(x))),
        }
        group.throughput(Throughput::Elements(32));
        group.bench_function(name, |b| b.iter(|| batches.batch(black_box(7)).unwrap()));
    }
}

criterion_group!(benches, decoding, pipeline);
criterion_main!(benches);
