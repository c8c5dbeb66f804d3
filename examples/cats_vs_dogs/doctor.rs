//! The command `doctor`: what is wrong with a folder of pictures.

use crate::args::DoctorArgs;
use crate::{Outcome, pictures, write_json};
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
    let bar = pictures::reading(&args.folder);
    let progress = |done: usize, all: usize| pictures::show(&bar, done, all);
    let diagnosis = examine(&args.folder, &DoctorOptions { progress: Some(&progress), ..DoctorOptions::default() })?;
    bar.finish_and_clear();
    println!("{diagnosis}");
    let healthy = diagnosis.is_healthy();
    write_json(args.json.as_deref(), &Found { healthy, diagnosis: &diagnosis })?;
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
