//! The same on a GPU: replays of a training step by the device's clock, and predictions with all that they take.

use super::{Measured, Operations, PICTURE, Times, batch, sizes, timed, trainer};
use crate::args::BenchArgs;
use crate::{Outcome, write_json};
use indicatif::ProgressBar;
use serde::Serialize;
use std::process::ExitCode;
use std::time::Duration;
use tapetum::data::{ArraySet, Batch};
use tapetum::prelude::*;

/// What `--json` holds.
#[derive(Serialize)]
struct Found<'a> {
    network: &'static str,
    device: String,
    card: &'a str,
    tf32: bool,
    train: Vec<Times>,
    infer: Vec<Times>,
}

pub fn run(args: &BenchArgs, model: &Sequential, operations: &Operations, card: &str) -> Outcome {
    let bar = ProgressBar::new_spinner();
    let [training, inference] = sizes(args);
    let train = training.iter().map(|&size| {
        bar.set_message(format!("training, batch {size}"));
        steps(args, model, &batch(size))
    });
    let train = train.collect::<Result<Vec<_>>>()?;
    let infer = inference.iter().map(|&size| {
        bar.set_message(format!("inference, batch {size}"));
        let Batch { x, target, .. } = batch(size);
        let (data, trainer) = (ArraySet::new(x, target)?, args.on.brought(trainer(model)));
        timed(size, args.seconds, &bar, || trainer.predict(&data).map(drop))
    });
    let infer = infer.collect::<Result<Vec<_>>>()?;
    bar.finish_and_clear();
    let (network, device) = (args.network.name(), args.on.device.to_string());
    let found = Found { network, device, card, tf32: args.on.tf32, train, infer };
    show(&found, args.network, operations);
    write_json(args.json.as_deref(), &found)?;
    Ok(ExitCode::SUCCESS)
}

/// Rounds of replays for as long as was asked.
fn steps(args: &BenchArgs, model: &Sequential, batch: &Batch) -> Result<Times> {
    let trainer = args.on.brought(trainer(model));
    let mut times = trainer.time_on_gpu(batch, Duration::from_secs_f64(args.seconds))?;
    times.sort_by(f64::total_cmp);
    Ok(Times { batch: batch.indices.len(), min_ms: times[0], median_ms: times[times.len() / 2] })
}

fn show(found: &Found<'_>, network: Measured, operations: &Operations) {
    let [height, width, channels] = PICTURE;
    let precision = if found.tf32 { "TF32" } else { "FP32" };
    println!(
        "The {} network on {}, {precision}, pictures of {height} × {width} × {channels}",
        network.name(),
        found.card
    );
    let lines =
        [("training step", &found.train, operations.training), ("prediction", &found.infer, operations.forward)];
    for (name, times, operations) in lines {
        for Times { batch, min_ms, median_ms } in times {
            let tflops = *batch as f64 * operations as f64 / min_ms / 1e9;
            println!("{name}, batch {batch}: {min_ms:.4} ms, median {median_ms:.4} ms, {tflops:.2} TFLOP/s");
        }
    }
}
