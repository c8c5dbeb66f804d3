//! Training on a GPU as its users rely on it: what it gives is what the processor gives, but for rounding, and either
//! continues the other. Without `TAPETUM_CUDA_TESTS=device` the GPU is an emulated one.
#![cfg(feature = "cuda")]

mod emulator;

use std::ops::ControlFlow;
use tapetum::data::{Batch, Batches, Order, Species, synthetic};
use tapetum::model::thesis_network;
use tapetum::prelude::*;

const GPU: Device = Device::Cuda(0);

/// A small network with everything random in it: shuffling, augmentation, dropout, moving averages.
fn network() -> Sequential {
    Sequential::builder([12, 12, 3])
        .add(Conv2D::new(6, 3).padding(Padding::Same))
        .add(BatchNorm::new())
        .add(ReLU)
        .add(MaxPool2D::new(2))
        .add(Residual::new().add(Conv2D::new(6, 3).padding(Padding::Same)).add(LeakyReLU::new(0.1)))
        .add(Flatten)
        .add(Dropout::new(0.3))
        .add(Dense::new(8))
        .add(ReLU)
        .add(Dense::new(1))
        .add(Sigmoid)
        .build(5)
        .unwrap()
}

/// 22 pictures: not a multiple of the batch, so that the last one is partial.
fn pictures(size: usize) -> ImageSet {
    let species = |n: usize| if n.is_multiple_of(2) { Species::Cat } else { Species::Dog };
    let pictures = (0..22).map(|n| synthetic(species(n), 20, 20, Key::new(n as u64)).unwrap()).collect();
    let (labels, names) = ((0..22).map(|n| n % 2).collect(), ["cat", "dog"].map(String::from).to_vec());
    ImageSet::from_pictures(pictures, labels, names, Preprocessing::new(size, size)).unwrap()
}

/// Descent, whose steps are as exact as its gradients.
fn trainer(device: Device) -> Trainer {
    emulator::driver();
    let optimizer = SGD::new(Schedule::cosine(0.02, 12)).momentum(0.9).nesterov(true).weight_decay(1e-3);
    Trainer::new(network(), BinaryCrossEntropy::default().label_smoothing(0.05), optimizer)
        .seed(9)
        .clip_norm(0.5)
        .ema(0.9)
        .device(device)
}

fn quiet<'a>(epochs: usize) -> Fit<'a> {
    Fit::epochs(epochs).batch_size(8).verbosity(Verbosity::Silent)
}

fn tensors(model: &Sequential) -> Vec<f32> {
    model
        .parameters()
        .into_iter()
        .chain(model.state())
        .flat_map(|(_, view)| view.into_iter().copied().collect::<Vec<_>>())
        .collect()
}

fn assert_near(found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len());
    let largest = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(largest <= tolerance, "the largest difference is {largest}");
}

#[test]
fn the_thesis_network_has_the_processor_s_losses() {
    emulator::driver();
    let data = pictures(64);
    let batches = Batches::new(&data, 2, 1, Order::Shuffled).unwrap();
    let losses = |device: Device| -> Vec<f64> {
        let model = thesis_network([64, 64]).add(Dense::new(1)).add(Sigmoid).build(1).unwrap();
        let mut trainer = Trainer::new(model, BinaryCrossEntropy::default(), Adam::new(1e-3)).device(device);
        let step = |step| trainer.train_on_batch(&batches.batch(step).unwrap()).unwrap().loss;
        (0..20).map(step).collect()
    };
    let (found, expected) = (losses(GPU), losses(Device::Cpu));
    for (step, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert!((found - expected).abs() <= 1e-5 * expected.abs().max(1.0), "step {step}: {found}, {expected}");
    }
}

#[test]
fn a_training_is_the_processor_s_but_for_rounding() {
    let data = pictures(12);
    for augmentation in [None, Some(Augmentation::thesis()), Some(Augmentation::thesis().contrast(0.8, 1.2))] {
        let shown = augmentation.map_or(data.clone(), |augmentation| data.augmented(augmentation));
        let run = |device| {
            let mut trainer = trainer(device);
            trainer.fit(&shown, quiet(3).validate(&data)).unwrap();
            trainer
        };
        let (there, here) = (run(GPU), run(Device::Cpu));
        for (there, here) in there.history().epochs.iter().zip(&here.history().epochs) {
            assert_eq!((there.steps, there.learning_rate), (here.steps, here.learning_rate));
            assert!((there.loss - here.loss).abs() < 1e-5, "{there:?} {here:?}");
            assert!((there.val_loss.unwrap() - here.val_loss.unwrap()).abs() < 1e-5, "{there:?} {here:?}");
            assert_eq!((there.acc, there.val_acc), (here.acc, here.val_acc));
        }
        assert_near(&tensors(there.model()), &tensors(here.model()), 1e-5);
        assert_near(&tensors(&there.averaged_model()), &tensors(&here.averaged_model()), 1e-5);
        // The same bits from run to run.
        assert_eq!(tensors(run(GPU).model()), tensors(there.model()));
    }
}

#[test]
fn either_device_continues_the_other() {
    let data = pictures(12);
    let all = |device| {
        let mut trainer = trainer(device);
        trainer.fit(&data, quiet(4)).unwrap();
        tensors(trainer.model())
    };
    let here = all(Device::Cpu);
    for [first, second] in [[GPU, Device::Cpu], [Device::Cpu, GPU]] {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = || Checkpoints::open(folder.path()).unwrap().every_steps(5);
        let stop = StopSignal::new();
        let mut stops = StopAfter(5, stop.clone());
        trainer(first).fit(&data, quiet(4).checkpoints(&mut checkpoints()).stop(&stop).callback(&mut stops)).unwrap();
        let mut again = trainer(second);
        let (mut checkpoints, mut nothing) = (checkpoints(), StopAfter(usize::MAX, StopSignal::new()));
        again.resume(&mut checkpoints).unwrap().expect("a checkpoint is there");
        again.fit(&data, quiet(4).checkpoints(&mut checkpoints).callback(&mut nothing)).unwrap();
        assert_near(&tensors(again.model()), &here, 1e-5);
    }
}

/// Asks for a stop after so many steps.
struct StopAfter(usize, StopSignal);

impl Callback for StopAfter {
    fn on_step_end(&mut self, report: &StepReport) -> Result<ControlFlow<()>> {
        if report.step as usize == self.0 {
            self.1.set();
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// Fails at the second step.
struct Fails;

impl Callback for Fails {
    fn on_step_end(&mut self, report: &StepReport) -> Result<ControlFlow<()>> {
        match report.step {
            2 => Err(Error::Data { message: "a callback's own trouble".into() }),
            _ => Ok(ControlFlow::Continue(())),
        }
    }
}

#[test]
fn steps_whose_weights_were_never_fetched_are_not_counted() {
    let data = pictures(12);
    let mut trainer = trainer(GPU);
    assert!(trainer.fit(&data, quiet(1).callback(&mut Fails)).is_err());
    assert_eq!((trainer.steps(), tensors(trainer.model())), (0, tensors(&network())));
}

#[test]
fn predictions_are_the_processor_s() {
    let data = pictures(12);
    for model in [network(), network().test_time_flip(true).unwrap()] {
        emulator::driver();
        let trainer = |device| Trainer::new(model.clone(), BinaryCrossEntropy::default(), SGD::new(0.1)).device(device);
        let (there, here) = (trainer(GPU), trainer(Device::Cpu));
        let [found, expected] = [&there, &here].map(|trainer| trainer.predict(&data).unwrap());
        assert_near(found.as_slice().unwrap(), expected.as_slice().unwrap(), 1e-6);
        let [found, expected] = [&there, &here].map(|trainer| trainer.evaluate(&data).unwrap());
        assert_eq!(found.confusion, expected.confusion);
        assert!((found.loss - expected.loss).abs() < 1e-6);
    }
}

#[test]
fn a_training_that_diverges_stops_with_its_weights() {
    emulator::driver();
    let data = pictures(12);
    let run = |device| {
        let mut trainer =
            Trainer::new(network(), MeanSquaredError, SGD::new(Schedule::step(1e4, 2, 1e30))).seed(9).device(device);
        let error = trainer.fit(&data, quiet(9)).unwrap_err();
        assert!(matches!(error, Error::NotFinite { .. } | Error::Argument { .. }), "{error}");
        (trainer.steps(), tensors(trainer.model()))
    };
    let (steps, weights) = run(GPU);
    assert!(weights.iter().all(|weight| weight.is_finite()), "after {steps} steps");
    assert_eq!(steps, run(Device::Cpu).0);
}

#[test]
fn a_batch_of_any_layout_will_do_and_an_empty_one_is_refused() {
    emulator::driver();
    let x = ndarray::array![[1.0, 2.0, -1.0], [0.5, -0.5, 3.0]].reversed_axes().into_dyn();
    let batch = |x: ndarray::ArrayD<f32>, labels: Vec<usize>| Batch {
        indices: labels.clone(),
        target: Target::Labels(labels),
        weights: None,
        x,
    };
    let model = Sequential::builder([2]).add(Dense::new(1)).add(Sigmoid).build(1).unwrap();
    let trainer = |device| Trainer::new(model.clone(), BinaryCrossEntropy::default(), SGD::new(0.1)).device(device);
    let [found, expected] = [GPU, Device::Cpu].map(|device| {
        let report = trainer(device).train_on_batch(&batch(x.clone(), vec![1, 0, 1])).unwrap();
        (report.loss as f32, report.acc, report.samples)
    });
    assert_eq!(found, expected);
    assert!(trainer(GPU).train_on_batch(&batch(x, vec![1, 0])).is_err());
    let error = trainer(GPU).train_on_batch(&batch(ndarray::ArrayD::zeros(vec![0, 2]), vec![])).unwrap_err();
    assert_eq!(error.to_string(), "train_on_batch: batch must be of at least one sample on a GPU, got 0");
}

#[test]
fn what_has_no_kernel_is_named_and_auto_is_the_processor_then() {
    emulator::driver();
    let model = || Sequential::builder([2]).add(Maxout::new(3, 2)).add(Dense::new(1)).add(Sigmoid).build(1).unwrap();
    let data = ArraySet::new(ndarray::ArrayD::ones(vec![4, 2]), vec![0, 1, 0, 1]).unwrap();
    let mut trainer = Trainer::new(model(), BinaryCrossEntropy::default(), SGD::new(0.1)).device(GPU);
    let error = trainer.fit(&data, quiet(1)).unwrap_err().to_string();
    assert_eq!(error, "cuda:0: maxout_1 has no kernel for a GPU; it runs with Device::Cpu");
    let mut trainer = Trainer::new(model(), BinaryCrossEntropy::default(), SGD::new(0.1)).device(Device::Auto);
    trainer.fit(&data, quiet(1)).unwrap();
    assert_eq!(trainer.card().unwrap(), None);
}
