//! The folder of one training: its settings, its checkpoints, its model.

use crate::args::TrainArgs;
use crate::report;
use crate::settings::Settings;
use std::error::Error;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use tapetum::prelude::*;

pub struct RunFolder {
    pub path: PathBuf,
    pub settings: Settings,
    /// Nobody else can train in this folder as long as this is there.
    pub checkpoints: Checkpoints,
}

impl RunFolder {
    /// The folder to go on in, the one asked for, or a new one below `runs`, named by date and seed.
    pub fn open(args: &TrainArgs) -> Result<Self, Box<dyn Error>> {
        if let Some(path) = &args.resume {
            let config = path.join(CONFIG);
            if !config.is_file() {
                return Err(
                    format!("{}: no training has begun in this folder, it has no {CONFIG}", path.display()).into()
                );
            }
            return Self::with(path.clone(), Settings::new(&args.settings, Some(&config))?);
        }
        let settings = Settings::new(&args.settings, args.config.as_deref())?;
        let path = args.out.clone().map_or_else(|| new_folder(settings.seed), Ok)?;
        let folder = Self::with(path, settings)?;
        if !folder.checkpoints.files()?.is_empty() {
            let path = folder.path.display();
            return Err(format!("{path} holds a training: go on with --resume '{path}', or give another --out").into());
        }
        replace(&folder.path.join(CONFIG), &folder.settings.text()?)?;
        Ok(folder)
    }

    fn with(path: PathBuf, settings: Settings) -> Result<Self, Box<dyn Error>> {
        let checkpoints = Checkpoints::open(path.join("checkpoints"))?.keep(settings.keep);
        let checkpoints = match settings.checkpoint_every {
            Some(steps) => checkpoints.every_steps(steps),
            None => checkpoints,
        };
        Ok(Self { path, settings, checkpoints })
    }

    pub fn model(&self) -> PathBuf {
        self.path.join("model.safetensors")
    }

    /// Whether the training is over, and the report, its last file, was written after its last checkpoint.
    pub fn is_finished(&self) -> Result<bool, Box<dyn Error>> {
        let modified = |path: &Path| fs::metadata(path).and_then(|file| file.modified());
        let Some(newest) = self.checkpoints.newest()? else { return Ok(false) };
        let report = modified(&self.path.join(report::FILE)).ok();
        Ok(newest.checkpoint.is_finished() && report >= Some(modified(&newest.path)?))
    }
}

/// Its settings.
pub const CONFIG: &str = "config.toml";

/// A folder that no other training has made.
fn new_folder(seed: u64) -> Result<PathBuf, String> {
    let name = format!("{}_seed{seed}", jiff::Zoned::now().strftime("%Y-%m-%d_%H-%M-%S"));
    let told = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    fs::create_dir_all("runs").map_err(|error| told(Path::new("runs"), error))?;
    let mut path = Path::new("runs").join(&name);
    for number in 2.. {
        match fs::create_dir(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                path = Path::new("runs").join(format!("{name}_{number}"));
            }
            made => return made.map(|()| path.clone()).map_err(|error| told(&path, error)),
        }
    }
    unreachable!("there are more numbers than folders")
}

/// Writes a file: whoever is killed meanwhile leaves all of the old one or all of the new.
pub fn replace(path: &Path, text: &str) -> Result<(), String> {
    let half = path.with_added_extension("tmp");
    let write = || {
        let mut file = File::create(&half)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all())?;
        fs::rename(&half, path)
    };
    write().map_err(|error: std::io::Error| format!("{}: {error}", path.display()))
}
