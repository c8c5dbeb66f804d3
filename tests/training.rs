//! `fit` as its users rely on it: same bits for any number of threads, errors that lose nothing, callbacks.

use ndarray::{Array, ArrayD};
use std::f32::consts::{FRAC_PI_2, TAU};
use std::ops::ControlFlow;
use tapetum::data::{Batches, Order, Species, synthetic};
use tapetum::prelude::*;

/// A small network with everything random in it: shuffling, augmentation, dropout, moving averages.
fn network() -> Sequential {
    Sequential::builder([16, 16, 3])
        .add(Conv2D::new(8, 3).padding(Padding::Same))
        .add(BatchNorm::new())
        .add(ReLU)
        .add(MaxPool2D::new(2))
        .add(Residual::new().add(Conv2D::new(8, 3).padding(Padding::Same)).add(LeakyReLU::new(0.1)))
        .add(Flatten)
        .add(Dropout::new(0.3))
        .add(Dense::new(16))
        .add(ReLU)
        .add(Dense::new(1))
        .add(Sigmoid)
        .build(5)
        .unwrap()
}

/// 50 pictures: not a multiple of the batch, so that the last one is partial.
fn pictures() -> ImageSet {
    let species = |n: usize| if n.is_multiple_of(2) { Species::Cat } else { Species::Dog };
    let pictures = (0..50).map(|n| synthetic(species(n), 20, 20, Key::new(n as u64)).unwrap()).collect();
    let labels = (0..50).map(|n| n % 2).collect();
    ImageSet::from_pictures(pictures, labels, ["cat", "dog"].map(String::from).to_vec(), Preprocessing::new(16, 16))
        .unwrap()
}

fn trainer() -> Trainer {
    Trainer::new(network(), BinaryCrossEntropy::default(), Adam::new(1e-3)).seed(9).clip_norm(5.0).ema(0.9)
}

fn quiet<'a>(epochs: usize) -> Fit<'a> {
    Fit::epochs(epochs).batch_size(8).verbosity(Verbosity::Silent)
}

/// Every parameter and moving average, bit by bit.
fn bits(model: &Sequential) -> Vec<u32> {
    model.parameters().into_iter().chain(model.state()).flat_map(|(_, view)| view.mapv(f32::to_bits)).collect()
}

#[test]
fn threads_change_no_bit() {
    let data = pictures();
    let trained = |threads| {
        let mut trainer = trainer().threads(threads);
        let fit = quiet(2).steps_per_epoch(25).validate(&data);
        let history = trainer.fit(&data.augmented(Augmentation::thesis()), fit).unwrap();
        let losses: Vec<_> = history.epochs.iter().map(|epoch| (epoch.loss, epoch.val_loss, epoch.val_acc)).collect();
        (bits(trainer.model()), bits(&trainer.averaged_model()), losses)
    };
    let one = trained(1);
    assert!(one == trained(2) && one == trained(8));
    assert_ne!(one.0, bits(&network()), "nothing was learned");
    assert_ne!(one.0, one.1, "the average is the model itself");
}

/// All that `fit` does, with public functions.
#[test]
fn a_loop_by_hand_is_fit() {
    let data = pictures();
    let body = || {
        let (filters, units) = (Conv2D::new(4, 3), Dense::new(1));
        let builder = Sequential::builder([16, 16, 3]).add(filters).add(BatchNorm::new()).add(ReLU).add(Flatten);
        builder.add(Dropout::new(0.2)).add(units)
    };
    let schedule = || Schedule::cosine(1e-2, 14);

    let mut trainer =
        Trainer::new(body().add(Sigmoid).build(5).unwrap(), BinaryCrossEntropy::default(), Adam::new(schedule()));
    trainer = trainer.seed(9).clip_norm(0.5);
    trainer.fit(&data, quiet(2)).unwrap();

    let mut model = body().build(5).unwrap();
    let (loss, mut adam) = (BinaryCrossEntropy::from_logits(), Adam::new(schedule()));
    let batches = Batches::new(&data, 8, 9, Order::Shuffled).unwrap();
    for step in 0..14 {
        let batch = batches.batch(step).unwrap();
        let key = Key::new(9).named("train").at(step + 1);
        let (logits, saved) = model.forward_train(batch.x.view(), key).unwrap();
        let (_, dy) = loss.gradient(logits.view(), &batch.target, None).unwrap();
        let mut back = model.backward(saved, dy.view()).unwrap();
        clip_global_norm(&mut back.params, 0.5).unwrap();
        adam.step(model.parameters_mut(), &back.params).unwrap();
        model.set_state(&back.state).unwrap();
    }
    assert_eq!(bits(trainer.model()), bits(&model));
}

#[test]
fn one_fit_of_two_epochs_is_two_fits_of_one() {
    let data = pictures();
    let mut once = trainer();
    once.fit(&data, quiet(2)).unwrap();
    let mut twice = trainer();
    twice.fit(&data, quiet(1)).unwrap();
    twice.fit(&data, quiet(1)).unwrap();
    assert_eq!(bits(once.model()), bits(twice.model()));
    assert_eq!(twice.history().epochs.len(), 2);
}

#[test]
fn a_loss_that_is_not_finite_stops_and_keeps_the_weights() {
    let mut data = Array::from_elem((16, 4), 1.0f32);
    data[[13, 2]] = f32::NAN;
    let set = ArraySet::new(data.into_dyn(), vec![0; 16]).unwrap();
    let model = Sequential::builder([4]).add(Dense::new(1)).add(BatchNorm::new()).add(Sigmoid).build(1).unwrap();
    let mut trainer = Trainer::new(model, BinaryCrossEntropy::default(), Adam::new(0.1));
    let fit = Fit::epochs(1).batch_size(4).shuffle(false).verbosity(Verbosity::Silent);
    let mut seen = Watch::default();
    let error = trainer.fit(&set, fit.callback(&mut seen)).unwrap_err();
    assert!(matches!(error, Error::NotFinite { step: 4, .. }), "{error}");
    assert_eq!(seen.steps, 3);
    assert!(
        trainer
            .model()
            .parameters()
            .iter()
            .chain(&trainer.model().state())
            .all(|(_, view)| view.iter().all(|v| v.is_finite()))
    );
}

#[test]
fn a_gradient_that_is_not_finite_stops_and_keeps_the_weights() {
    // The loss is finite, the sum of squares in ∂L/∂w is beyond f32.
    let x = Array::from_elem((2, 1), 1e30f32).into_dyn();
    let set = ArraySet::new(x, Array::from_elem((2, 1), 0.0f32).into_dyn()).unwrap();
    let dense = Dense::from_weights(ndarray::array![[1e-20f32]], None).unwrap();
    let model = Sequential::builder([1]).add(dense).build(1).unwrap();
    let mut trainer = Trainer::new(model, MeanSquaredError, SGD::new(0.1));
    let error = trainer.fit(&set, quiet(1)).unwrap_err();
    assert!(error.to_string().starts_with("the gradient of dense_1.weight became inf at step 1"), "{error}");
    assert_eq!(trainer.model().get("dense_1.weight").unwrap()[[0, 0]], 1e-20);
}

#[derive(Default)]
struct Watch {
    steps: usize,
    epochs: usize,
    stop_after: Option<usize>,
}

impl Callback for Watch {
    fn on_step_end(&mut self, step: &StepReport) -> Result<ControlFlow<()>> {
        self.steps += 1;
        assert!(step.loss.is_finite() && step.samples > 0);
        Ok(match self.stop_after {
            Some(steps) if self.steps == steps => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        })
    }

    fn on_epoch_end(&mut self, epoch: EpochContext<'_>) -> Result<ControlFlow<()>> {
        self.epochs += 1;
        assert_eq!(epoch.history.epochs.len(), self.epochs);
        Ok(ControlFlow::Continue(()))
    }
}

#[test]
fn a_callback_sees_every_step_and_can_stop() {
    let data = pictures();
    let mut all = Watch::default();
    trainer().fit(&data, quiet(2).callback(&mut all)).unwrap();
    assert_eq!((all.steps, all.epochs), (14, 2));

    let mut some = Watch { stop_after: Some(9), ..Watch::default() };
    let history = trainer().fit(&data, quiet(5).callback(&mut some)).unwrap();
    assert_eq!((some.steps, history.epochs.len(), history.epochs[1].steps), (9, 2, 2));
}

#[test]
fn steps_per_epoch_goes_on_where_the_last_epoch_ended() {
    let data = pictures();
    let history = trainer().fit(&data, quiet(3).steps_per_epoch(5)).unwrap();
    assert!(history.epochs.iter().all(|epoch| epoch.steps == 5));
    let mut whole = trainer();
    whole.fit(&data, quiet(1).steps_per_epoch(15)).unwrap();
    let mut parts = trainer();
    parts.fit(&data, quiet(3).steps_per_epoch(5)).unwrap();
    assert_eq!(bits(whole.model()), bits(parts.model()));
}

#[test]
fn what_does_not_fit_is_an_error_that_says_so() {
    let data = pictures();
    let model = Sequential::builder([8, 8, 3]).add(Flatten).add(Dense::new(1)).build(1).unwrap();
    let mut trainer = Trainer::new(model, BinaryCrossEntropy::from_logits(), Adam::new(1e-3));
    let error = trainer.fit(&data, quiet(1)).unwrap_err();
    assert_eq!(error.to_string(), "sequential: expected training samples [8, 8, 3], got [16, 16, 3]");
    assert!(trainer.fit(&data, Fit::epochs(1).batch_size(0)).is_err());
    let names = ["cat", "bird"].map(String::from).to_vec();
    let picture = |_| Picture { height: 16, width: 16, rgb: vec![0; 768] };
    let others = ImageSet::from_pictures((0..4).map(picture).collect(), vec![0; 4], names, Preprocessing::new(16, 16));
    let error = self::trainer().fit(&data, quiet(1).validate(&others.unwrap())).unwrap_err();
    assert!(error.to_string().contains(r#"["cat", "bird"]"#), "{error}");
    assert!(self::trainer().fit(&data, quiet(1).validate(&data).validation_steps(0)).is_err());
    assert!(self::trainer().ema(1.5).fit(&data, quiet(1)).is_err());
    assert!(self::trainer().threads(0).fit(&data, quiet(1)).is_err());
    assert!(self::trainer().fit(&data, quiet(1).steps_per_epoch(0)).is_err());
}

#[test]
fn evaluation_counts_every_sample_once() {
    let data = pictures();
    let trainer = trainer();
    let found = trainer.evaluate(&data).unwrap();
    assert_eq!(found.samples, 50);
    assert_eq!(found.confusion.iter().flatten().sum::<usize>(), 50);
    let right = (found.confusion[0][0] + found.confusion[1][1]) as f64 / 50.0;
    assert_eq!(found.accuracy, Some(right));

    // The same by hand: the loss from probabilities, the classes at one half.
    let outputs = trainer.predict(&data).unwrap();
    let labels = Target::Labels(data.labels());
    let loss = BinaryCrossEntropy::default().value(outputs.view(), &labels, None).unwrap().mean;
    assert!((loss - found.loss).abs() < 1e-6, "{loss} {}", found.loss);
    let hits = outputs.iter().zip(data.labels()).filter(|&(&p, label)| usize::from(p > 0.5) == label).count();
    assert_eq!(hits as f64 / 50.0, right);
}

#[test]
fn many_threads_share_one_model() {
    let (model, data) = (network(), pictures());
    let mut x = ArrayD::zeros(vec![1, 16, 16, 3]);
    data.read(3, Key::new(0), x.as_slice_mut().unwrap()).unwrap();
    let alone = model.predict(x.view()).unwrap();
    std::thread::scope(|scope| {
        let answers: Vec<_> = (0..8).map(|_| scope.spawn(|| model.predict(x.view()).unwrap())).collect();
        assert!(answers.into_iter().all(|answer| answer.join().unwrap() == alone));
    });
}

#[test]
fn a_softmax_learns_three_classes() {
    // Which third of [0, 1) a number lies in, by its position on a circle.
    let x = Array::from_shape_fn((90, 2), |(n, d)| (n as f32 / 90.0 * TAU + d as f32 * FRAC_PI_2).sin());
    let data = ArraySet::new(x.into_dyn(), (0..90).map(|n| n / 30).collect::<Vec<_>>()).unwrap();
    let model = Sequential::builder([2]).add(Dense::new(3)).add(Softmax).build(1).unwrap();
    let mut trainer = Trainer::new(model, CrossEntropy::default(), Adam::new(0.1));
    let history = trainer.fit(&data, quiet(20)).unwrap();
    assert!(history.best().is_none() && history.epochs[19].acc.unwrap() > 0.9, "{history:?}");
}
