//! The command `train`.

use crate::args::TrainArgs;
use crate::pictures::{self, Pictures};
use crate::{Outcome, networks, predict, report, run_folder, write_json};
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;
use tapetum::data::Skipped;
use tapetum::prelude::*;
use tapetum::with_threads;

/// What `--json` holds.
#[derive(Serialize)]
struct Found {
    network: &'static str,
    parameters: usize,
    seed: u64,
    threads: usize,
    classes: Vec<String>,
    train_images: usize,
    val_images: usize,
    skipped: Vec<SkippedPicture>,
    epochs: Vec<EpochReport>,
    model: PathBuf,
    weights_sha256: String,
}

#[derive(Serialize)]
struct SkippedPicture {
    path: String,
    reason: String,
}

impl From<Skipped> for SkippedPicture {
    fn from(skipped: Skipped) -> Self {
        Self { path: skipped.path.display().to_string(), reason: skipped.reason }
    }
}

pub fn run(args: &TrainArgs) -> Outcome {
    // Reading the pictures is work for the same number of threads as learning from them.
    let found = with_threads(args.threads, || train(args).map_err(|error| error.to_string()))??;
    write_json(args.json.as_deref(), &found)?;
    Ok(ExitCode::SUCCESS)
}

fn train(args: &TrainArgs) -> Result<Found, Box<dyn std::error::Error>> {
    let preprocessing = Preprocessing::new(args.size, args.size);
    let Pictures { train, validation, skipped } = pictures::for_training(args, &preprocessing)?;
    let classes = train.class_names().to_vec();
    println!("{} training and {} validation pictures of {}", train.len(), validation.len(), classes.join(", "));

    let model = networks::build(args.network, args.size, classes.len(), args.seed)?;
    println!("{}\n", model.summary());
    let parameters = model.count_parameters();
    let steps = args.epochs * args.steps_per_epoch.unwrap_or(train.len().div_ceil(args.batch));
    let optimizer = Adam::new(Schedule::cosine(args.learning_rate, steps as u64));
    let trainer = match classes.len() {
        ..=2 => Trainer::new(model, BinaryCrossEntropy::default(), optimizer),
        _ => Trainer::new(model, CrossEntropy::default(), optimizer),
    };
    let mut trainer = trainer.seed(args.seed);

    let folder = run_folder::create(args.out.as_deref(), args.seed)?;
    let mut fit = Fit::epochs(args.epochs).batch_size(args.batch).validate(&validation);
    if let Some(steps) = args.steps_per_epoch {
        fit = fit.steps_per_epoch(steps);
    }
    if let Some(steps) = args.validation_steps {
        fit = fit.validation_steps(steps);
    }
    let shown = if args.no_augment { train.clone() } else { train.augmented(Augmentation::thesis()) };
    let outcome = trainer.fit(&shown, fit);

    let said = trainer.classify(&validation);

    // Saved even where training had to stop: the weights are those of the last good step.
    let bundle = Bundle::new(trainer.into_model()).preprocessing(preprocessing).class_names(classes.clone());
    let path = folder.join("model.safetensors");
    bundle.save(&path)?;
    println!("\nmodel: {}", path.display());
    let history = outcome?;
    if let Some(best) = history.best() {
        println!("best epoch: {}, val_acc {:.4}", best.epoch, best.val_acc.unwrap_or(0.0));
    }
    if args.data.is_none() {
        predict::show_some(&bundle, args.size, args.seed, &folder)?;
    }
    let run = report::Run {
        bundle: &bundle,
        history: &history,
        said: &said?,
        train: &train,
        validation: &validation,
        skipped: &skipped,
        settings: &format!("{args:#?}"),
        command: &report::command_line(),
        threads: rayon::current_num_threads(),
    };
    println!("report: {}", report::write(&folder, &run)?.display());
    Ok(Found {
        network: args.network.name(),
        parameters,
        seed: args.seed,
        threads: rayon::current_num_threads(),
        classes,
        train_images: train.len(),
        val_images: validation.len(),
        skipped: skipped.into_iter().map(SkippedPicture::from).collect(),
        epochs: history.epochs,
        weights_sha256: weights_sha256(&bundle.model),
        model: path,
    })
}
