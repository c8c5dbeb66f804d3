//! Callbacks in a real `fit`: what they write, and the same bits for any number of threads.

use ndarray::Array;
use tapetum::prelude::*;

/// Rows of 8 numbers; whether their sum is positive, with some labels wrong.
fn data(seed: u64, samples: usize) -> ArraySet {
    let mut random = Key::new(seed).stream();
    let x = Array::from_shape_fn((samples, 8), |_| random.uniform(-1.0, 1.0) as f32);
    let labels = x.rows().into_iter().map(|row| usize::from((row.sum() > 0.0) != random.chance(0.2))).collect();
    ArraySet::new(x.into_dyn(), Target::Labels(labels)).unwrap()
}

fn trainer(threads: usize) -> Trainer {
    let network = Sequential::builder([8]).add(Dense::new(32)).add(ReLU).add(Dropout::new(0.2)).add(Dense::new(1));
    let model = network.add(Sigmoid).build(3).unwrap();
    Trainer::new(model, BinaryCrossEntropy::default(), Adam::new(0.03)).seed(4).ema(0.9).threads(threads)
}

fn bits(model: &Sequential) -> Vec<u32> {
    model.parameters().into_iter().flat_map(|(_, view)| view.mapv(f32::to_bits)).collect()
}

#[test]
fn stopping_and_smaller_steps_depend_on_no_threads() {
    let (train, validation) = (data(1, 120), data(2, 60));
    let trained = |threads| {
        let mut trainer = trainer(threads);
        let mut stopping = EarlyStopping::new(Metric::ValLoss).patience(4);
        let mut plateau = ReduceLROnPlateau::new(Metric::ValLoss).factor(0.5).patience(2);
        let fit = Fit::epochs(60).validate(&validation).verbosity(Verbosity::Silent);
        let history = trainer.fit(&train, fit.callback(&mut stopping).callback(&mut plateau)).unwrap();
        let rates: Vec<f64> = history.epochs.iter().map(|epoch| epoch.learning_rate).collect();
        (bits(trainer.model()), bits(&trainer.averaged_model()), rates, stopping.stopped_epoch())
    };
    let one = trained(1);
    assert!(one == trained(2) && one == trained(4));
    assert!(one.3.is_some() && one.2.last() < one.2.first(), "neither was needed: {:?}", (one.2, one.3));
}

#[test]
fn logs_tell_what_the_history_tells() {
    let (train, validation) = (data(1, 120), data(2, 60));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let mut csv = CsvLog::new(path.join("history.csv"));
    let mut board = TensorBoard::new(path.join("board")).every(2);
    let fit = Fit::epochs(3).validate(&validation).verbosity(Verbosity::Silent);
    let history = trainer(1).fit(&train, fit.callback(&mut csv).callback(&mut board)).unwrap();

    let text = std::fs::read_to_string(path.join("history.csv")).unwrap();
    let cells = |line: &str| line.split(',').map(|cell| cell.parse::<f64>().unwrap()).collect::<Vec<f64>>();
    let rows: Vec<Vec<f64>> = text.lines().skip(1).map(cells).collect();
    let expected = history.epochs.iter().map(|e| {
        let judged = [e.loss, e.acc.unwrap(), e.val_loss.unwrap(), e.val_acc.unwrap()];
        [&[e.epoch as f64, e.steps as f64], &judged[..], &[e.learning_rate, e.seconds, e.ms_per_step]].concat()
    });
    assert_eq!(rows, expected.collect::<Vec<_>>());
    assert_eq!(std::fs::read_dir(path.join("board")).unwrap().count(), 1);
}
