//! The command `train`.

use crate::args::TrainArgs;
use crate::pictures::{self, Pictures};
use crate::run_folder::RunFolder;
use crate::{Outcome, networks, predict, recipe, report, signals, write_json};
use serde::Serialize;
use std::path::Path;
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
    model: String,
    weights_sha256: String,
}

#[derive(Serialize)]
struct SkippedPicture {
    path: String,
    reason: String,
}

impl From<&Skipped> for SkippedPicture {
    fn from(skipped: &Skipped) -> Self {
        Self { path: skipped.path.display().to_string(), reason: skipped.reason.clone() }
    }
}

/// How a call of `train` can end, but for errors.
enum End {
    Done(Box<Found>),
    /// It had been done before.
    Already,
    Stopped,
}

pub fn run(args: &TrainArgs) -> Outcome {
    // Reading the pictures is work for the same number of threads as learning from them.
    match with_threads(args.threads, || train(args).map_err(|error| error.to_string()))?? {
        End::Done(found) => write_json(args.json.as_deref(), &found)?,
        End::Already => {}
        End::Stopped => return Ok(ExitCode::from(signals::STOPPED)),
    }
    Ok(ExitCode::SUCCESS)
}

fn train(args: &TrainArgs) -> Result<End, Box<dyn std::error::Error>> {
    let mut folder = RunFolder::open(args)?;
    // Who asks for what was found gets it, also once more.
    if args.json.is_none() && folder.is_finished()? {
        println!("{} is finished; its model is {}", folder.path.display(), folder.model().display());
        return Ok(End::Already);
    }
    let settings = &folder.settings;
    let preprocessing = Preprocessing::new(settings.size, settings.size);
    let pictures = pictures::for_training(settings, &preprocessing)?;
    let Pictures { train, validation, .. } = &pictures;
    let classes = train.class_names().to_vec();
    println!("{} training and {} validation pictures of {}", train.len(), validation.len(), classes.join(", "));

    let model = networks::build(settings.network, settings.size, classes.len(), settings.seed)?;
    println!("{}\n", model.summary());
    let steps_per_epoch = settings.steps_per_epoch.unwrap_or(train.len().div_ceil(settings.batch));
    let steps = (settings.epochs as u64).saturating_mul(steps_per_epoch as u64);
    let mut trainer = args.on.brought(recipe::trainer(settings, model, classes.len(), steps));
    if let Some(card) = trainer.card()? {
        println!("on {card}\n");
    }
    go_on(&mut trainer, &mut folder)?;
    let outcome = fit(&mut trainer, &mut folder, train, validation);

    // Saved even where training had to stop: the weights are those of the last good step.
    let model = trainer.averaged_model();
    let bundle = Bundle::new(model).preprocessing(preprocessing).class_names(classes);
    let saved = bundle.save(folder.model());
    let history = outcome?;
    saved?;
    println!("\nmodel: {}", folder.model().display());
    if trainer.stopped() {
        let (step, path) = (trainer.steps(), folder.path.display());
        println!("stopped after step {step}; to go on: cats_vs_dogs train --resume '{path}'");
        return Ok(End::Stopped);
    }
    if let Some(best) = history.best() {
        println!("best epoch: {}, val_acc {:.4}", best.epoch, best.val_acc.unwrap_or(0.0));
    }
    told(&folder, &pictures, &bundle, history, &trainer.classify(validation)?, args.resume.as_deref())
}

/// Shows what the network can do, and writes the report: the last file of a training.
fn told(
    folder: &RunFolder,
    pictures: &Pictures,
    bundle: &Bundle,
    history: History,
    said: &Classification,
    resumed: Option<&Path>,
) -> Result<End, Box<dyn std::error::Error>> {
    let (Pictures { train, validation, skipped }, settings) = (pictures, &folder.settings);
    if settings.data.is_none() {
        predict::show_some(bundle, settings.size, settings.seed, &folder.path)?;
    }
    let threads = rayon::current_num_threads();
    let run = report::Run {
        bundle,
        history: &history,
        said,
        train,
        validation,
        skipped,
        settings: &settings.text()?,
        command: &report::command_line(resumed),
        threads,
    };
    println!("report: {}", report::write(&folder.path, &run)?.display());
    Ok(End::Done(Box::new(Found {
        network: settings.network.name(),
        parameters: bundle.model.count_parameters(),
        seed: settings.seed,
        threads,
        classes: bundle.class_names.clone(),
        train_images: train.len(),
        val_images: validation.len(),
        skipped: skipped.iter().map(SkippedPicture::from).collect(),
        epochs: history.epochs,
        weights_sha256: weights_sha256(&bundle.model),
        model: folder.model().display().to_string(),
    })))
}

/// Goes on from the last checkpoint, if there is one, and says what is wrong with newer ones.
fn go_on(trainer: &mut Trainer, folder: &mut RunFolder) -> Result<()> {
    let Some(newest) = trainer.resume(&mut folder.checkpoints)? else { return Ok(()) };
    newest.damaged.iter().for_each(|error| eprintln!("warning: {error}; going on from the checkpoint before it"));
    let (step, epochs) = (newest.checkpoint.step(), newest.checkpoint.history().epochs.len());
    println!("going on after step {step}, with {epochs} of {} epochs done\n", folder.settings.epochs);
    Ok(())
}

fn fit(
    trainer: &mut Trainer,
    folder: &mut RunFolder,
    train: &ImageSet,
    validation: &ImageSet,
) -> Result<History, Box<dyn std::error::Error>> {
    let RunFolder { path, settings, checkpoints } = folder;
    let stop = signals::stop_signal()?;
    let (mut log, mut board) = (CsvLog::new(path.join("history.csv")), TensorBoard::new(path.join("tensorboard")));
    let mut best = ModelCheckpoint::new(path.join("best.safetensors"), Metric::ValAcc)
        .preprocessing(train.preprocessing().clone())
        .class_names(train.class_names());
    let mut ending = settings.early_stopping.map(|epochs| EarlyStopping::new(Metric::ValLoss).patience(epochs));
    let mut fit = Fit::epochs(settings.epochs).batch_size(settings.batch).validate(validation).stop(&stop);
    fit = fit.callback(&mut log).callback(&mut board).callback(&mut best);
    if let Some(ending) = &mut ending {
        fit = fit.callback(ending);
    }
    if let Some(steps) = settings.steps_per_epoch {
        fit = fit.steps_per_epoch(steps);
    }
    if let Some(steps) = settings.validation_steps {
        fit = fit.validation_steps(steps);
    }
    let shown = match settings.no_augment {
        true => train.clone(),
        false => train.augmented(recipe::augmentation(settings.network)),
    };
    Ok(trainer.fit(&shown, fit.checkpoints(checkpoints))?)
}
