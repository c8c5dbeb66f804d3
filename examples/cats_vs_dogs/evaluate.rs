//! The command `evaluate`.

use crate::args::EvaluateArgs;
use crate::{Outcome, pictures, write_json};
use serde_json::json;
use std::process::ExitCode;
use tapetum::prelude::*;

pub fn run(args: &EvaluateArgs) -> Outcome {
    let bundle = Bundle::load(&args.model)?;
    let preprocessing = bundle.preprocessing.clone().ok_or("this model was not made for pictures")?;
    let data = pictures::for_evaluation(&args.data, &preprocessing)?;
    if data.class_names() != bundle.class_names {
        return Err(format!("the model knows {:?}, the folder has {:?}", bundle.class_names, data.class_names()).into());
    }
    let trainer = match bundle.model.output_shape() {
        [1] => Trainer::new(bundle.model, BinaryCrossEntropy::default(), Adam::new(0.0)),
        _ => Trainer::new(bundle.model, CrossEntropy::default(), Adam::new(0.0)),
    };
    let found = trainer.evaluate(&data)?;
    let accuracy = found.accuracy.unwrap_or(0.0);
    println!("{} pictures: accuracy {accuracy:.4}, loss {:.4}\n", found.samples, found.loss);
    print!("{}", table(&bundle.class_names, &found.confusion));
    let json = json!({
        "images": found.samples,
        "accuracy": accuracy,
        "loss": found.loss,
        "classes": bundle.class_names,
        "confusion": found.confusion,
    });
    write_json(args.json.as_deref(), &json)?;
    Ok(ExitCode::SUCCESS)
}

/// The confusion matrix: a row for each true class, a column for each answer.
fn table(classes: &[String], confusion: &[Vec<usize>]) -> String {
    let width = classes.iter().map(|class| class.chars().count()).max().unwrap_or(0).max(6);
    let cell = |text: &str| format!("{text:>width$}  ");
    let head: String = classes.iter().map(|class| cell(class)).collect();
    let mut table = format!("{}{head}← answered\n", cell("is ↓"));
    for (class, row) in classes.iter().zip(confusion) {
        let counts: String = row.iter().map(|count| cell(&count.to_string())).collect();
        table.push_str(&format!("{}{counts}\n", cell(class)));
    }
    table
}
