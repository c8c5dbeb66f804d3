//! What lies in a folder of pictures. Training and the doctor see the same.

use super::decode;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Everything in and below a folder, in the byte order of the names.
#[derive(Default)]
pub(super) struct Listing {
    /// Pictures, and what is named like one and is none.
    pub pictures: Vec<PathBuf>,
    /// Other files.
    pub others: Vec<PathBuf>,
    /// How many files and folders have a name that begins with a dot.
    pub hidden: usize,
    /// Folders that could not be read.
    pub unreadable: Vec<(PathBuf, io::Error)>,
}

impl Listing {
    pub fn below(path: &Path) -> Self {
        let mut listing = Self::default();
        listing.enter(path, &mut HashSet::new());
        listing
    }

    /// Each folder is entered once, so links in a circle end.
    fn enter(&mut self, path: &Path, entered: &mut HashSet<PathBuf>) {
        let found = path.canonicalize().and_then(|folder| match entered.insert(folder) {
            true => entries(path),
            false => Ok((Vec::new(), 0)),
        });
        match found {
            Err(error) => self.unreadable.push((path.into(), error)),
            Ok((entries, hidden)) => {
                self.hidden += hidden;
                for entry in entries {
                    if entry.is_dir() {
                        self.enter(&entry, entered);
                    } else if is_picture(&entry) {
                        self.pictures.push(entry);
                    } else {
                        self.others.push(entry);
                    }
                }
            }
        }
    }
}

/// What lies in a folder, in byte order of the names, and how many hidden things do beside it.
pub(super) fn entries(path: &Path) -> io::Result<(Vec<PathBuf>, usize)> {
    let mut names = fs::read_dir(path)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
    let all = names.len();
    names.retain(|name| !name.as_encoded_bytes().starts_with(b"."));
    let hidden = all - names.len();
    names.sort_unstable_by(|a, b| a.as_encoded_bytes().cmp(b.as_encoded_bytes()));
    Ok((names.into_iter().map(|name| path.join(name)).collect(), hidden))
}

/// The folders of training and of test pictures, where there are both, as in the thesis.
pub(super) fn training_and_test(path: &Path) -> Option<[PathBuf; 2]> {
    let both = ["training_set", "test_set"].map(|name| path.join(name));
    both.iter().all(|folder| folder.is_dir()).then_some(both)
}

/// The name of a file or folder, for people.
pub(super) fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Endings of picture files, to tell a picture that was destroyed from a file that never was one.
const ENDINGS: [&str; 14] =
    ["avif", "bmp", "gif", "ico", "jpeg", "jpg", "pgm", "png", "pnm", "ppm", "qoi", "tif", "tiff", "webp"];

/// Whether a file is a picture by its content, or should be one by its name. What cannot be opened, and a broken
/// link, goes by its name as well: loading then tells what is wrong.
pub(super) fn is_picture(path: &Path) -> bool {
    let mut start = Vec::new();
    let readable = path.metadata().is_ok_and(|file| file.is_file());
    if readable && let Ok(file) = File::open(path) {
        let _ = file.take(32).read_to_end(&mut start);
    }
    let ending = path.extension().and_then(OsStr::to_str).map(str::to_ascii_lowercase);
    decode::format(&start).is_some() || ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str()))
}
