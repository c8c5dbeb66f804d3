//! The command `predict`, and the handful of pictures shown after a training on drawn ones.

use crate::args::PredictArgs;
use crate::show::{contact_sheet, in_terminal};
use crate::{Outcome, pictures, write_json};
use serde::Serialize;
use std::path::Path;
use std::process::ExitCode;
use tapetum::data::DecodeLimits;
use tapetum::prelude::*;

/// What `--json` holds for each picture.
#[derive(Serialize)]
#[serde(untagged)]
enum Found {
    Class { path: String, class: String, probability: f64 },
    Failure { path: String, error: String },
}

pub fn run(args: &PredictArgs) -> Outcome {
    let bundle = Bundle::load(&args.model)?;
    let found: Vec<Found> = args.pictures.iter().map(|path| predict(&bundle, path)).collect();
    write_json(args.json.as_deref(), &found)?;
    let failed = found.iter().any(|found| matches!(found, Found::Failure { .. }));
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Says what is on one picture; a bad file does not stop the others.
fn predict(bundle: &Bundle, file: &Path) -> Found {
    let path = file.display().to_string();
    let prediction = Picture::open(file, &DecodeLimits::default()).and_then(|picture| bundle.predict_picture(&picture));
    match prediction {
        Ok(Prediction { class, probability, .. }) => {
            println!("{path}: {class} ({:.1} %)", 100.0 * probability);
            Found::Class { path, class, probability }
        }
        Err(error) => {
            eprintln!("error: {error}");
            Found::Failure { path, error: error.to_string() }
        }
    }
}

/// Draws a few new pictures, says what is on each, and shows them with the answers.
pub fn show_some(bundle: &Bundle, size: usize, seed: u64, folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let key = Key::new(seed).named("drawn to be predicted");
    let some = (0..6).map(|number| pictures::draw(number, key, size)).collect::<Result<Vec<Picture>>>()?;
    let answers: Vec<Prediction> = some.iter().map(|picture| bundle.predict_picture(picture)).collect::<Result<_>>()?;
    let path = folder.join("predictions.png");
    contact_sheet(&some, some.len(), 2)?.save(&path)?;
    println!("\nSix new pictures (also in {}):", path.display());
    in_terminal(&some);
    for (number, answer) in answers.iter().enumerate() {
        let truth = ["cats", "dogs"][number % 2];
        let verdict = if answer.class == truth { "right" } else { "wrong" };
        println!("{}. {} ({:.1} %): {verdict}", number + 1, answer.class, 100.0 * answer.probability);
    }
    Ok(())
}
