//! A training step and a prediction allocate nothing, once they have run twice.

use ndarray::ArrayD;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use tapetum::data::{Batch, Batches, Order};
use tapetum::prelude::*;
use tapetum::with_threads;

/// The system's allocator, counted for each thread: those of an earlier pool may still be coming to their end.
struct Counting;

thread_local!(static COUNT: Cell<usize> = const { Cell::new(0) });

// SAFETY: everything is handed on to the system's allocator.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: handed on to the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: handed on to the caller.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// How often this thread asked for memory during `work`; no other one works.
fn count(mut work: impl FnMut()) -> usize {
    let before = COUNT.get();
    work();
    COUNT.get() - before
}

fn batch(size: usize) -> Batch {
    let x = ArrayD::from_shape_fn(vec![size, 24, 24, 3], |i| ((i[0] + 3 * i[1] + 5 * i[2] + i[3]) % 17) as f32 / 17.0);
    let data = ArraySet::new(x, (0..size).map(|n| n % 2).collect::<Vec<_>>()).unwrap();
    Batches::new(&data, size, 1, Order::InOrder).unwrap().batch(0).unwrap()
}

/// Every kind of step that the plan knows.
fn network() -> Sequential {
    Sequential::builder([24, 24, 3])
        .add(Conv2D::new(16, 3))
        .add(ReLU)
        .add(MaxPool2D::new(2))
        .add(Conv2D::new(32, 3).padding(Padding::Same))
        .add(BatchNorm::new())
        .add(LeakyReLU::new(0.1))
        .add(Residual::new().add(Conv2D::new(32, 3).padding(Padding::Same)).add(BatchNorm::new()))
        .add(ReLU)
        .add(MaxPool2D::new(3).stride(2))
        .add(Dropout::new(0.2))
        .add(AveragePool2D::new(2).stride(1))
        .add(Flatten)
        .add(Dense::new(32))
        .add(Tanh)
        .add(Dense::new(1))
        .add(Sigmoid)
        .build(1)
        .unwrap()
}

#[test]
fn nothing_is_allocated_once_it_runs() {
    let optimizers: [Box<dyn Fn() -> Trainer + Send + Sync>; 3] = [
        Box::new(|| Trainer::new(network(), BinaryCrossEntropy::default(), Adam::new(1e-3)).clip_norm(1.0).ema(0.99)),
        Box::new(|| Trainer::new(network(), BinaryCrossEntropy::default(), AdamW::new(1e-3))),
        Box::new(|| Trainer::new(network(), BinaryCrossEntropy::default(), SGD::new(1e-3).momentum(0.9))),
    ];
    let (whole, part) = (batch(16), batch(5));
    for trainer in optimizers {
        // One thread, so that the memory which threads keep for their kernels is all there after two steps.
        with_threads(Some(1), || {
            let mut trainer = trainer();
            let first = count(|| {
                trainer.train_on_batch(&whole).unwrap();
            });
            assert!(first > 10, "the allocator counts");
            trainer.train_on_batch(&whole).unwrap();
            let steps = count(|| {
                for _ in 0..3 {
                    trainer.train_on_batch(&whole).unwrap();
                    trainer.train_on_batch(&part).unwrap();
                }
            });
            assert_eq!(steps, 0, "{trainer:?}");
        })
        .unwrap();
    }
    with_threads(Some(1), || {
        let model = network();
        for batch in [&whole, &part] {
            let mut y = ArrayD::zeros(vec![batch.x.shape()[0], 1]);
            let mut predict = || model.predict_into(batch.x.view(), y.view_mut()).unwrap();
            predict();
            predict();
            assert_eq!(count(predict), 0);
        }
    })
    .unwrap();
}
