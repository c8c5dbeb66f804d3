//! Where a training puts its files.

use std::path::{Path, PathBuf};

/// The folder asked for, or a new one below `runs`, named by date and seed.
pub fn create(asked: Option<&Path>, seed: u64) -> Result<PathBuf, String> {
    let folder = match asked {
        Some(folder) => folder.to_path_buf(),
        None => Path::new("runs").join(format!("{}_seed{seed}", jiff::Zoned::now().strftime("%Y-%m-%d_%H-%M-%S"))),
    };
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(folder)
}
