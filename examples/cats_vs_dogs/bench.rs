//! The command `bench`: how fast this machine trains and predicts, beside what it can do at most.

mod gpu;
mod operations;
mod table;

use crate::args::{BenchArgs, Measured, Only};
use crate::{Outcome, write_json};
use indicatif::ProgressBar;
use ndarray::ArrayD;
use operations::Operations;
use serde::Serialize;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tapetum::data::Batch;
use tapetum::inspect::{peak_gflops, simd_path};
use tapetum::model::{thesis_network, wide_network};
use tapetum::prelude::*;
use tapetum::with_threads;

/// Height, width and channels of the pictures.
const PICTURE: [usize; 3] = [64, 64, 3];

/// What `--json` holds.
#[derive(Serialize)]
struct Found {
    network: &'static str,
    path: &'static str,
    threads: usize,
    /// Of all threads together.
    peak_gflops: f64,
    train: Vec<Training>,
    infer: Vec<Times>,
    /// Of a training step at the first batch size.
    layers: Vec<StepTime>,
}

#[derive(Serialize)]
struct Training {
    #[serde(flatten)]
    times: Times,
    /// Of the fastest step.
    gflops: f64,
    percent_of_peak: f64,
}

#[derive(Serialize)]
struct Times {
    batch: usize,
    min_ms: f64,
    median_ms: f64,
}

pub fn run(args: &BenchArgs) -> Outcome {
    let model = network(args.network)?;
    let operations = Operations::of(&model);
    // Without a GPU `auto` is the processor.
    if let Some(card) = args.on.brought(trainer(&model)).card()? {
        return gpu::run(args, &model, &operations, &card);
    }
    let threads = args.threads.unwrap_or_else(rayon::current_num_threads);
    let bar = ProgressBar::new_spinner();
    // Before and after: on a machine that others use too, the better one is nearer to the truth.
    let before = peak_gflops(threads)?;
    let (train, infer, layers) = with_threads(args.threads, || measured(args, &model, &bar))??;
    let peak_gflops = before.max(peak_gflops(threads)?);
    bar.finish_and_clear();

    let train = train.into_iter().map(|times| {
        let gflops = times.batch as f64 * operations.training as f64 / times.min_ms / 1e6;
        Training { times, gflops, percent_of_peak: 100.0 * gflops / peak_gflops }
    });
    let found = Found {
        network: args.network.name(),
        path: simd_path(),
        threads,
        peak_gflops,
        train: train.collect(),
        infer,
        layers,
    };
    table::show(&found, &model, &operations);
    write_json(args.json.as_deref(), &found)?;
    Ok(ExitCode::SUCCESS)
}

/// The network up to its answer, a single sigmoid.
fn network(network: Measured) -> Result<Sequential> {
    let size = [PICTURE[0], PICTURE[1]];
    let body = match network {
        Measured::Thesis => thesis_network(size),
        Measured::Wide => wide_network(size),
    };
    body.add(Dense::new(1)).add(Sigmoid).build(1)
}

fn trainer(model: &Sequential) -> Trainer {
    Trainer::new(model.clone(), BinaryCrossEntropy::default(), Adam::new(1e-3))
}

/// Training steps, predictions, and a training step layer by layer.
fn measured(
    args: &BenchArgs,
    model: &Sequential,
    bar: &ProgressBar,
) -> Result<(Vec<Times>, Vec<Times>, Vec<StepTime>)> {
    let [training, inference] = sizes(args);
    let train = training.iter().map(|&size| {
        bar.set_message(format!("training, batch {size}"));
        let (batch, mut trainer) = (batch(size), trainer(model));
        timed(size, args.seconds, bar, || trainer.train_on_batch(&batch).map(drop))
    });
    let train = train.collect::<Result<_>>()?;
    let infer = inference.iter().map(|&size| {
        bar.set_message(format!("inference, batch {size}"));
        let (x, mut y) = (batch(size).x, ArrayD::zeros(vec![size, 1]));
        timed(size, args.seconds, bar, || model.predict_into(x.view(), y.view_mut()))
    });
    let infer = infer.collect::<Result<_>>()?;
    let layers = match args.only {
        None => layers(model, training[0], args.seconds, bar)?,
        Some(_) => Vec::new(),
    };
    Ok((train, infer, layers))
}

/// The parts of a training step, each as fast as it ever was.
fn layers(model: &Sequential, size: usize, seconds: f64, bar: &ProgressBar) -> Result<Vec<StepTime>> {
    bar.set_message("layer by layer");
    let (batch, mut trainer) = (batch(size), trainer(model));
    let mut fastest = trainer.profile(&batch)?;
    timed(size, seconds, bar, || {
        for (fastest, step) in fastest.iter_mut().zip(trainer.profile(&batch)?) {
            fastest.forward_ms = fastest.forward_ms.min(step.forward_ms);
            fastest.backward_ms = fastest.backward_ms.min(step.backward_ms);
        }
        Ok(())
    })?;
    Ok(fastest)
}

/// The batch sizes to train on, and those to predict.
fn sizes(args: &BenchArgs) -> [Vec<usize>; 2] {
    let training = match args.network {
        Measured::Thesis => vec![32, 256],
        Measured::Wide => vec![64],
    };
    let training = args.batch.map_or(training, |size| vec![size]);
    let inference = vec![1, 32, 256];
    match args.only {
        None => [training, inference],
        Some(Only::Train) => [training, Vec::new()],
        Some(Only::Infer) => [Vec::new(), args.batch.map_or(inference, |size| vec![size])],
    }
}

/// Noise to learn by heart: the time does not depend on what is on the pictures.
fn batch(size: usize) -> Batch {
    let mut random = Key::new(2).stream();
    let [height, width, channels] = PICTURE;
    let x = ArrayD::from_shape_simple_fn(vec![size, height, width, channels], || random.unit() as f32);
    let labels = (0..size).map(|_| random.below(2)).collect();
    Batch { x, target: Target::Labels(labels), weights: None, indices: (0..size).collect() }
}

/// Repeats `work` for `seconds`, but at least five times. The first three times, and those in the first fifth, count for
/// nothing: memory is allocated and caches fill.
fn timed(batch: usize, seconds: f64, bar: &ProgressBar, mut work: impl FnMut() -> Result<()>) -> Result<Times> {
    (0..3).try_for_each(|_| work())?;
    let begin = Instant::now();
    let budget = Duration::from_secs_f64(seconds);
    while begin.elapsed() < budget / 5 {
        work()?;
    }
    let mut times = Vec::new();
    while times.len() < 5 || begin.elapsed() < budget {
        let begin = Instant::now();
        work()?;
        times.push(1e3 * begin.elapsed().as_secs_f64());
        bar.tick();
    }
    times.sort_by(f64::total_cmp);
    Ok(Times { batch, min_ms: times[0], median_ms: times[times.len() / 2] })
}
