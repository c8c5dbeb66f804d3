//! The settings of a training: from the command line, from a file, and else from the network's recipe.

use crate::args::{Network, TrainSettings};
use crate::path_text;
use crate::recipe::Recipe;
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// All that decides what a training gives, by the names of the options: `config.toml` holds it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    #[serde(with = "path_text", default)]
    pub data: Option<PathBuf>,
    #[serde(with = "path_text", default)]
    pub val: Option<PathBuf>,
    pub network: Network,
    pub epochs: usize,
    pub steps_per_epoch: Option<usize>,
    pub validation_steps: Option<usize>,
    pub batch: usize,
    pub size: usize,
    pub learning_rate: f64,
    pub no_augment: bool,
    pub seed: u64,
    pub early_stopping: Option<usize>,
    pub checkpoint_every: Option<u64>,
    pub keep: usize,
}

impl Settings {
    /// What was `asked` for, else what stands in `file`, else what the network's recipe says.
    pub fn new(asked: &TrainSettings, file: Option<&Path>) -> Result<Self, Box<dyn Error>> {
        let mut given = file.map_or_else(|| Ok(Table::new()), read)?;
        given.extend(Table::try_from(asked)?);
        let at = |error: &dyn Error| match file {
            Some(file) => format!("{}: {}", file.display(), error.to_string().trim_end()),
            None => error.to_string(),
        };
        let network =
            given.get("network").cloned().map(Network::deserialize).transpose().map_err(|error| at(&error))?;
        let mut all = Table::try_from(Recipe::of(network.unwrap_or(Network::Thesis)))?;
        all.extend(given);
        if let Some((name, _)) = all.iter().find(|(name, value)| **value == Value::Integer(0) && *name != "seed") {
            return Err(at(&*Box::<dyn Error>::from(format!("{name} must be at least 1, got 0"))).into());
        }
        let mut settings: Self = all.try_into().map_err(|error| at(&error))?;
        if settings.val.is_some() && settings.data.is_none() {
            return Err("val is given without data: what should be learned from?".into());
        }
        for path in [&mut settings.data, &mut settings.val].into_iter().flatten() {
            // So that the file means the same wherever it is read from.
            *path = std::path::absolute(&*path)?;
        }
        Ok(settings)
    }

    /// As text for `config.toml`.
    pub fn text(&self) -> Result<String, toml::ser::Error> {
        let head = "# The settings of this training, as `train --config` and `train --resume` read them.\n";
        Ok(head.to_string() + &toml::to_string(self)?)
    }
}

fn read(file: &Path) -> Result<Table, Box<dyn Error>> {
    let told = |error: &dyn Error| format!("{}: {}", file.display(), error.to_string().trim_end());
    let text = fs::read_to_string(file).map_err(|error| told(&error))?;
    text.parse().map_err(|error: toml::de::Error| told(&error).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Args, Command};
    use clap::Parser;

    fn asked(line: &str) -> TrainSettings {
        match Args::try_parse_from(line.split_whitespace()).unwrap().command {
            Some(Command::Train(train)) => train.settings,
            _ => unreachable!("the line trains"),
        }
    }

    #[test]
    fn the_command_line_wins_over_the_file_and_the_file_over_the_recipe() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a file.toml");
        fs::write(&file, "epochs = 7\nbatch = 5\nno-augment = true\nlearning-rate = 0.25").unwrap();
        let settings = Settings::new(&asked("cvd train --batch 6 --data photos"), Some(&file)).unwrap();
        assert_eq!((settings.epochs, settings.batch, settings.size), (7, 6, 64));
        assert!(settings.no_augment && settings.data.as_ref().unwrap().is_absolute());
        fs::write(&file, settings.text().unwrap()).unwrap();
        assert_eq!(Settings::new(&asked("cvd train"), Some(&file)).unwrap(), settings);
        assert!(!Settings::new(&asked("cvd train --no-augment=false"), Some(&file)).unwrap().no_augment);
    }

    #[test]
    fn what_makes_no_sense_is_named_with_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.toml");
        for (text, expected) in [
            ("epoch = 3", "unknown field `epoch`"),
            ("epochs = 0", "epochs must be at least 1, got 0"),
            ("epochs = \"many\"", "epochs"),
            ("network = \"huge\"", "unknown variant `huge`"),
            ("epochs = ", "line 1"),
        ] {
            fs::write(&file, text).unwrap();
            let error = Settings::new(&asked("cvd train"), Some(&file)).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("config.toml"), "{error}");
        }
        assert!(Settings::new(&asked("cvd train"), Some(&folder.path().join("none"))).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_path_of_any_bytes_comes_back() {
        use std::os::unix::ffi::OsStringExt;
        let path = PathBuf::from(std::ffi::OsString::from_vec(b"/photos/gr\xfcn".to_vec()));
        let asked = TrainSettings { data: Some(path.clone()), ..TrainSettings::default() };
        let settings = Settings::new(&asked, None).unwrap();
        let again: Settings = toml::from_str(&settings.text().unwrap()).unwrap();
        assert_eq!(again.data, Some(path));
    }
}
