//! The command line.

use crate::path_text;
use clap::{ArgGroup, Parser, Subcommand, ValueEnum, value_parser};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use tapetum::prelude::{Device, Trainer};

#[derive(Parser)]
#[command(
    about = "Tells cats from dogs",
    after_help = "Examples:
  cats_vs_dogs                                          train on pictures drawn by the program
  cats_vs_dogs train --data photographs --epochs 10     train on a folder with one subfolder for each class
  cats_vs_dogs doctor photographs                       what is wrong with a folder before training on it
  cats_vs_dogs train --resume runs/...                  go on where it was stopped, to the same bits
  cats_vs_dogs predict --model model.safetensors a.jpg  what is on a picture
  cats_vs_dogs explain --model model.safetensors --out why a.jpg  where it sees that

Exit codes: 0 done, 1 failed, 2 usage."
)]
pub struct Args {
    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Subcommand)]
pub enum Command {
    /// Train a network and save it
    Train(Box<TrainArgs>),
    /// How often a model is right on a folder of pictures
    Evaluate(EvaluateArgs),
    /// What is on a picture
    Predict(PredictArgs),
    /// What is wrong with a folder of pictures; exit code 1 where something would harm training
    Doctor(DoctorArgs),
    /// What a model saw in a picture: a heat map of where the answer comes from, and feature maps, as PNG files
    Explain(ExplainArgs),
    /// How fast this machine trains and predicts
    Bench(BenchArgs),
    /// The layers of a model, or of the thesis' network
    Summary {
        /// A model file
        #[arg(long)]
        model: Option<PathBuf>,
    },
}

impl Default for Command {
    fn default() -> Self {
        Self::Train(Box::new(TrainArgs::parse_from(["train"])))
    }
}

#[derive(Parser)]
#[command(
    group(ArgGroup::new("source").multiple(true)),
    after_help = "Examples:
  cats_vs_dogs train --data photographs --epochs 25 --seed 7 --checkpoint-every 500
  cats_vs_dogs train --resume runs/2026-01-31_12-00-00_seed7
  cats_vs_dogs train --config runs/2026-01-31_12-00-00_seed7/config.toml --seed 8

Ctrl-C stops a training with a checkpoint; --resume then gives the same bits as if it had never been stopped.

Exit codes: 0 done, 1 failed, 2 usage, 130 stopped by a signal."
)]
pub struct TrainArgs {
    #[command(flatten)]
    pub settings: TrainSettings,
    /// A TOML file with settings by the names of these options; the command line overrules it
    #[arg(long, value_name = "FILE", group = "source")]
    pub config: Option<PathBuf>,
    /// Go on with the training in this folder, with its settings, from its last checkpoint
    #[arg(long, value_name = "RUN_DIR", conflicts_with_all = ["TrainSettings", "config", "out"])]
    pub resume: Option<PathBuf>,
    /// Where to put the models, the checkpoints, the curves and the settings [default: a new folder below runs]
    #[arg(long, value_name = "RUN_DIR")]
    pub out: Option<PathBuf>,
    /// Threads; they change no result [default: all processors]
    #[arg(long, value_name = "N", value_parser = threads)]
    pub threads: Option<usize>,
    #[command(flatten)]
    pub on: On,
    /// Also write what was found as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// Where is computed.
#[derive(clap::Args, Clone, Copy)]
pub struct On {
    /// cpu, cuda, cuda:1 or auto; a GPU needs a build with --features cuda
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    pub device: Device,
    /// Multiply in TF32 on a GPU's tensor cores: faster, and less exact
    #[arg(long)]
    pub tf32: bool,
}

impl On {
    /// The same trainer, there.
    pub fn brought(self, trainer: Trainer) -> Trainer {
        trainer.device(self.device).tf32(self.tf32)
    }
}

/// What decides what a training gives; all of it may also stand in a file.
#[derive(clap::Args, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct TrainSettings {
    /// A folder with one subfolder for each class, or with training_set and test_set [default: drawn pictures]
    #[arg(long, value_name = "DIR", group = "source")]
    #[serde(with = "path_text")]
    pub data: Option<PathBuf>,
    /// Pictures to validate on [default: test_set, or a fifth of the data]
    #[arg(long, value_name = "DIR", requires = "source")]
    #[serde(with = "path_text")]
    pub val: Option<PathBuf>,
    /// Passes of --steps-per-epoch steps [default: 10; tuned: 42]
    #[arg(long, value_name = "N", value_parser = positive)]
    pub epochs: Option<usize>,
    /// Batches in an epoch [default: one pass over the data]
    #[arg(long, value_name = "N", value_parser = positive)]
    pub steps_per_epoch: Option<usize>,
    /// Batches to validate on [default: all]
    #[arg(long, value_name = "N", value_parser = positive)]
    pub validation_steps: Option<usize>,
    /// Pictures in a batch [default: 32; tuned: 64]
    #[arg(long, value_name = "N", value_parser = positive)]
    pub batch: Option<usize>,
    /// Height and width that pictures are resized to [default: 64]
    #[arg(long, value_name = "PIXELS", value_parser = positive)]
    pub size: Option<usize>,
    /// The thesis' network, or one that is right far more often and takes longer (thesis, 4.9) [default: thesis]
    #[arg(long, value_enum)]
    pub network: Option<Network>,
    /// Adam's learning rate at the start, which falls along a cosine; tuned: the highest of SGD's one cycle
    /// [default: 0.001; tuned: 0.04]
    #[arg(long, value_name = "F")]
    pub learning_rate: Option<f64>,
    /// Show every picture as it is, without shear, zoom, flip and what else the network's recipe has
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub no_augment: Option<bool>,
    /// The seed of everything random [default: 1]
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(..=i64::MAX as u64))]
    pub seed: Option<u64>,
    /// End when val_loss has not become lower for so many epochs [default: never]
    #[arg(long, value_name = "PATIENCE", value_parser = positive)]
    pub early_stopping: Option<usize>,
    /// Steps from one checkpoint to the next [default: one after each epoch]
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..=i64::MAX as u64))]
    pub checkpoint_every: Option<u64>,
    /// Checkpoints that are kept, beside that of the best epoch [default: 3]
    #[arg(long, value_name = "K", value_parser = positive)]
    pub keep: Option<usize>,
}

#[derive(Parser)]
pub struct EvaluateArgs {
    /// A model file
    #[arg(long, value_name = "FILE")]
    pub model: PathBuf,
    /// A folder with one subfolder for each class, or with training_set and test_set (then the latter)
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    #[command(flatten)]
    pub on: On,
    /// Also write what was found as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

#[derive(Parser)]
pub struct PredictArgs {
    /// A model file
    #[arg(long, value_name = "FILE")]
    pub model: PathBuf,
    /// Picture files
    #[arg(required = true, value_name = "PICTURE")]
    pub pictures: Vec<PathBuf>,
    /// Also write what was found as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

#[derive(Parser)]
pub struct DoctorArgs {
    /// A folder with one subfolder for each class, or with training_set and test_set
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// Also write what was found as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

#[derive(Parser)]
#[command(after_help = "Examples:
  cats_vs_dogs explain --model model.safetensors --out why a.jpg b.jpg
  cats_vs_dogs explain --model model.safetensors --out why --layer relu_1 a.jpg

Each picture gets a folder in DIR: grad_cam.png is the picture, and beside it in colours what speaks for the answer
(Grad-CAM); each stage_N_LAYERS.png has the feature maps after these layers.")]
pub struct ExplainArgs {
    /// A model file
    #[arg(long, value_name = "FILE")]
    pub model: PathBuf,
    /// Picture files
    #[arg(required = true, value_name = "PICTURE")]
    pub pictures: Vec<PathBuf>,
    /// Where to put the pictures
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// The layer whose maps the heat map is made of [default: the last that shows a picture]
    #[arg(long, value_name = "NAME")]
    pub layer: Option<String>,
    /// Also write what was found as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

#[derive(Parser)]
pub struct BenchArgs {
    /// The thesis' network, or a wider one of six convolutions
    #[arg(long, value_enum, default_value_t = Measured::Thesis)]
    pub network: Measured,
    /// Threads, at most 1024 [default: all processors]
    #[arg(long, value_name = "N", value_parser = threads)]
    pub threads: Option<usize>,
    #[command(flatten)]
    pub on: On,
    /// Training steps or predictions alone, and nothing layer by layer
    #[arg(long, value_enum, value_name = "WHAT")]
    pub only: Option<Only>,
    /// Pictures in a batch to train on, or with `--only infer` to predict [default: 32 and 256, for the wide network 64,
    /// to train on; 1, 32 and 256 to predict]
    #[arg(long, value_name = "N", value_parser = positive)]
    pub batch: Option<usize>,
    /// Seconds for each measurement
    #[arg(long, default_value_t = 2.0, value_name = "F", value_parser = seconds)]
    pub seconds: f64,
    /// Also write what was found as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Only {
    Train,
    Infer,
}

/// The networks that are measured.
#[derive(Clone, Copy, ValueEnum)]
pub enum Measured {
    Thesis,
    Wide,
}

impl Measured {
    pub fn name(self) -> &'static str {
        match self {
            Self::Thesis => "thesis",
            Self::Wide => "wide",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    Thesis,
    Tuned,
}

impl Network {
    pub fn name(self) -> &'static str {
        match self {
            Self::Thesis => "thesis",
            Self::Tuned => "tuned",
        }
    }
}

/// So many threads as a large machine has: with far more, little but starting them would be measured.
fn threads(text: &str) -> Result<usize, String> {
    match positive(text)? {
        threads @ ..=1024 => Ok(threads),
        _ => Err("must be at most 1024".into()),
    }
}

/// A time that can be waited for.
fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.0..=3600.0).contains(&seconds) => Ok(seconds),
        Ok(_) => Err("must be from 0 to 3600".into()),
        Err(error) => Err(format!("{error}")),
    }
}

/// A number above 0.
fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".into()),
        Ok(number) => Ok(number),
        Err(error) => Err(format!("{error}")),
    }
}
