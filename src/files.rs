//! Files that are there whole or not at all.

use crate::error::{Error, Result};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Replaces the file at `path` by `bytes`: whoever opens it sees all of the old or all of the new, even after a
/// power cut. The temporary file beside it has a fixed name, so that one left by a crash is overwritten next time.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = temporary_beside(path).ok_or_else(|| Error::file(path, "this is not the name of a file"))?;
    let result =
        write_durably(&temporary, bytes).and_then(|()| fs::rename(&temporary, path)).and_then(|()| sync_folder(path));
    result.map_err(|error| {
        let _ = fs::remove_file(&temporary);
        Error::file(path, error)
    })
}

/// The file that becomes the one at `path`; none where `path` names no file.
pub(crate) fn temporary_beside(path: &Path) -> Option<PathBuf> {
    let mut name = OsString::from(".");
    name.push(path.file_name()?);
    name.push(".tmp");
    Some(path.with_file_name(name))
}

fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes a folder, with those it is in, where there is none.
#[cfg(feature = "bundle")]
pub(crate) fn create_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).and_then(|()| sync_folder(path)).map_err(|error| Error::file(path, error))
}

/// A rename is durable once the folder is.
fn sync_folder(path: &Path) -> io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_replaces_and_leaves_nothing_beside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a file");
        write_atomically(&path, b"old").unwrap();
        write_atomically(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failure_keeps_the_old_file_and_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing").join("file");
        assert!(write_atomically(&missing, b"x").unwrap_err().to_string().contains("missing"));
        // A folder cannot be replaced by a file.
        let error = write_atomically(folder.path(), b"x").unwrap_err();
        assert!(error.to_string().starts_with(&folder.path().display().to_string()));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(write_atomically(Path::new("/"), b"x").is_err());
    }
}
