//! Cats and dogs, from a folder of photographs to a trained model and its predictions.
//!
//! Without arguments it draws its own pictures, so that a machine without data and network has something to
//! learn. With `--data` it trains on photographs: one subfolder for each class.

mod args;
mod bench;
mod colour;
mod doctor;
mod evaluate;
mod explain;
mod networks;
mod path_text;
mod pictures;
mod predict;
mod recipe;
mod report;
mod run_folder;
mod settings;
mod show;
mod sight;
mod signals;
mod train;

use args::{Args, Command};
use clap::Parser;
use std::process::ExitCode;

/// What a command ends with: done, or done with failures that it has told of.
type Outcome = Result<ExitCode, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let args = Args::parse();
    signals::end_with_a_pipe().map_err(Into::into).and_then(|()| run(args)).unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

fn run(args: Args) -> Outcome {
    match args.command.unwrap_or_default() {
        Command::Train(train) => train::run(&train),
        Command::Evaluate(evaluate) => evaluate::run(&evaluate),
        Command::Predict(predict) => predict::run(&predict),
        Command::Doctor(doctor) => doctor::run(&doctor),
        Command::Explain(explain) => explain::run(&explain),
        Command::Bench(bench) => bench::run(&bench),
        Command::Summary { model } => networks::summary(model.as_deref()),
    }
}

/// Writes what a command found, for programs to read.
fn write_json(path: Option<&std::path::Path>, found: &impl serde::Serialize) -> Result<(), String> {
    let Some(path) = path else { return Ok(()) };
    let mut text = serde_json::to_string_pretty(found).map_err(|error| error.to_string())?;
    text.push('\n');
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}
