//! The command `evaluate`.

use crate::args::EvaluateArgs;
use crate::{Outcome, pictures, write_json};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::process::ExitCode;
use tapetum::prelude::*;

/// As many as Guo et al. (arXiv:1706.04599) take.
const BINS: usize = 15;

/// All that is measured.
struct Found {
    classes: Vec<String>,
    said: Classification,
    per_class: Vec<ClassMetrics>,
    /// None where there are no pictures of a class, or no others.
    auc: Vec<Option<Estimate>>,
    calibration: Calibration,
    /// What would fit these pictures best, and the calibration error that it would leave; none where none fits.
    softened: Option<(Temperature, f64)>,
}

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
    let trainer = args.on.brought(trainer);
    let found = Found::of(trainer.classify(&data)?, bundle.class_names)?;
    println!("{found}");
    write_json(args.json.as_deref(), &found.json())?;
    Ok(ExitCode::SUCCESS)
}

impl Found {
    fn of(said: Classification, classes: Vec<String>) -> Result<Self> {
        let calibration = said.calibration(BINS)?;
        let softened = match Temperature::fit(&said) {
            Ok(temperature) => Some((temperature, temperature.apply(&said).calibration(BINS)?.expected_error)),
            Err(_) => None,
        };
        let auc = (0..said.classes()).map(|class| said.roc(class).ok().map(|roc| roc.auc)).collect();
        Ok(Self { classes, per_class: said.per_class(), auc, calibration, softened, said })
    }

    fn json(&self) -> Value {
        json!({
            "images": self.said.len(),
            "accuracy": self.said.accuracy().value,
            "accuracy_interval": self.said.accuracy().interval,
            "loss": self.said.log_loss(),
            "classes": self.classes,
            "confusion": self.said.confusion(),
            "per_class": self.per_class,
            "roc_auc": self.auc,
            "calibration": self.calibration,
            "temperature_fitted_here": self.softened.map(|(temperature, error)| json!({
                "value": temperature.value,
                "expected_error": error,
            })),
        })
    }
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{} pictures; in brackets 95 % intervals\n", self.said.len())?;
        writeln!(f, "accuracy  {}", self.said.accuracy())?;
        writeln!(f, "loss      {:.4}\n", self.said.log_loss())?;
        f.write_str(&table(&self.class_rows()))?;
        f.write_char('\n')?;
        f.write_str(&table(&self.confusion_rows()))?;
        let Calibration { expected_error, largest_error, .. } = self.calibration;
        let worst = format!("{largest_error:.4} in the worst of {BINS} bins");
        write!(f, "\ncalibration error  {expected_error:.4} expected, {worst}")?;
        match self.softened {
            Some((Temperature { value }, error)) => write!(
                f,
                "\ntemperature {value:.3} would fit these pictures best and leave {error:.4} of it: \
                 fitted on what it is judged on, that is too good to claim"
            ),
            None => write!(f, "\nno temperature would fit these pictures best"),
        }
    }
}

impl Found {
    /// A row for each class.
    fn class_rows(&self) -> Vec<Vec<String>> {
        let head = ["class", "pictures", "precision", "recall", "F1", "ROC-AUC"].map(String::from).to_vec();
        let row = |((name, class), auc): ((&String, &ClassMetrics), &Option<Estimate>)| {
            let share = |estimate: Estimate| estimate.to_string();
            let auc = auc.map_or("none".into(), share);
            vec![
                name.clone(),
                class.support.to_string(),
                share(class.precision),
                share(class.recall),
                share(class.f1),
                auc,
            ]
        };
        [head].into_iter().chain(self.classes.iter().zip(&self.per_class).zip(&self.auc).map(row)).collect()
    }

    /// The confusion matrix: a row for each true class, a column for each answer.
    fn confusion_rows(&self) -> Vec<Vec<String>> {
        let head = ["is ↓  answered →".to_string()].into_iter().chain(self.classes.iter().cloned()).collect();
        let row = |(name, row): (&String, Vec<usize>)| {
            [name.clone()].into_iter().chain(row.iter().map(usize::to_string)).collect()
        };
        [head].into_iter().chain(self.classes.iter().zip(self.said.confusion()).map(row)).collect()
    }
}

/// Rows of cells, each column as wide as its widest; names to the left, numbers to the right.
fn table(rows: &[Vec<String>]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    let cell = |(column, text): (usize, &String)| match widths[column] {
        width if column == 0 => format!("{text:width$}"),
        width => format!("  {text:>width$}"),
    };
    let line = |row: &Vec<String>| row.iter().enumerate().map(cell).collect::<String>() + "\n";
    rows.iter().map(line).collect()
}
