//! The command line.

use clap::{Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

#[derive(Parser)]
#[command(
    about = "Tells cats from dogs",
    after_help = "Examples:
  cats_vs_dogs                                          train on pictures drawn by the program
  cats_vs_dogs train --data photographs --epochs 10     train on a folder with one subfolder for each class
  cats_vs_dogs doctor photographs                       what is wrong with a folder before training on it
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
    Train(TrainArgs),
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
        Self::Train(TrainArgs::parse_from(["train"]))
    }
}

#[derive(Debug, Parser)]
pub struct TrainArgs {
    /// A folder with one subfolder for each class, or with training_set and test_set [default: drawn pictures]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Pictures to validate on [default: test_set, or a fifth of the data]
    #[arg(long, value_name = "DIR", requires = "data")]
    pub val: Option<PathBuf>,
    /// Passes of --steps-per-epoch steps
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = positive)]
    pub epochs: usize,
    /// Batches in an epoch [default: one pass over the data]
    #[arg(long, value_name = "N", value_parser = positive)]
    pub steps_per_epoch: Option<usize>,
    /// Batches to validate on [default: all]
    #[arg(long, value_name = "N", value_parser = positive)]
    pub validation_steps: Option<usize>,
    /// Pictures in a batch
    #[arg(long, default_value_t = 32, value_name = "N", value_parser = positive)]
    pub batch: usize,
    /// Height and width that pictures are resized to
    #[arg(long, default_value_t = 64, value_name = "PIXELS", value_parser = positive)]
    pub size: usize,
    /// The thesis' network, or a deeper one (thesis, 4.9)
    #[arg(long, value_enum, default_value_t = Network::Thesis)]
    pub network: Network,
    /// Adam's learning rate at the start; it falls to zero along a cosine
    #[arg(long, default_value_t = 1e-3, value_name = "F")]
    pub learning_rate: f64,
    /// Show every picture as it is, without shear, zoom and flip
    #[arg(long)]
    pub no_augment: bool,
    /// Threads; they change no result [default: all processors]
    #[arg(long, value_name = "N", value_parser = threads)]
    pub threads: Option<usize>,
    /// The seed of everything random
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
    /// Where to put the model [default: a new folder below runs]
    #[arg(long, value_name = "RUN_DIR")]
    pub out: Option<PathBuf>,
    /// Also write what was found as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

#[derive(Parser)]
pub struct EvaluateArgs {
    /// A model file
    #[arg(long, value_name = "FILE")]
    pub model: PathBuf,
    /// A folder with one subfolder for each class, or with training_set and test_set (then the latter)
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
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

#[derive(Debug, Clone, Copy, ValueEnum)]
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
