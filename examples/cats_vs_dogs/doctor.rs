//! The command `doctor`: what is wrong with a folder of pictures.

use crate::args::DoctorArgs;
use crate::{Outcome, write_json};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::process::ExitCode;
use tapetum::data::{Diagnosis, DoctorOptions, examine};

/// What `--json` holds.
#[derive(Serialize)]
struct Found<'a> {
    healthy: bool,
    #[serde(flatten)]
    diagnosis: &'a Diagnosis,
}

pub fn run(args: &DoctorArgs) -> Outcome {
    let style = ProgressStyle::with_template("{msg} {pos}/{len} [{bar:30}] ETA {eta}").expect("a valid template");
    let bar = ProgressBar::new(0).with_style(style).with_message(format!("reading {}", args.folder.display()));
    let progress = |done: usize, all: usize| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    };
    let diagnosis = examine(&args.folder, &DoctorOptions { progress: Some(&progress), ..DoctorOptions::default() })?;
    bar.finish_and_clear();
    println!("{diagnosis}");
    let healthy = diagnosis.is_healthy();
    write_json(args.json.as_deref(), &Found { healthy, diagnosis: &diagnosis })?;
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
