//! The sets, classes and files of a folder: also of one that training refuses.

use super::{ClassReport, Finding, FindingKind, SetReport};
use crate::data::listing::{self, Listing};
use crate::error::{Error, Result};
use std::path::{Path, PathBuf};

/// A picture, or what is named like one.
pub(super) struct File {
    pub path: PathBuf,
    /// Its place among the sets.
    pub set: usize,
    /// Its place among the set's classes.
    pub class: usize,
}

/// What there is before a picture is opened.
#[derive(Default)]
pub(super) struct Survey {
    /// Without counts of pictures yet.
    pub sets: Vec<SetReport>,
    pub files: Vec<File>,
    pub findings: Vec<Finding>,
}

impl Survey {
    /// # Errors
    /// Where the folder cannot be read.
    pub fn of(path: &Path) -> Result<Self> {
        let (entries, _) = listing::entries(path).map_err(|error| Error::file(path, error))?;
        let mut survey = Self::default();
        match listing::training_and_test(path) {
            None => survey.add_set("pictures".into(), path),
            Some(both) => {
                both.iter().for_each(|set| survey.add_set(listing::name(set), set));
                let beside = entries.iter().filter(|entry| !both.contains(entry));
                for entry in beside.filter(|entry| entry.is_dir() || listing::is_picture(entry)) {
                    survey.find(FindingKind::OutsideClasses, entry, "only training_set and test_set are read");
                }
            }
        }
        Ok(survey)
    }

    fn add_set(&mut self, name: String, path: &Path) {
        let (entries, hidden) = listing::entries(path).unwrap_or_else(|error| {
            self.find(FindingKind::Unreadable, path, error.to_string());
            Default::default()
        });
        let set = SetReport { name, path: path.into(), classes: Vec::new(), imbalance: None, hidden, others: 0 };
        self.sets.push(set);
        for entry in entries {
            if entry.is_dir() {
                self.add_class(&entry);
            } else if listing::is_picture(&entry) {
                self.find(FindingKind::OutsideClasses, &entry, "it lies beside the folders of the classes");
            } else {
                self.add_other(&entry);
            }
        }
    }

    fn add_class(&mut self, path: &Path) {
        let found = Listing::below(path);
        found.others.iter().for_each(|other| self.add_other(other));
        for (path, error) in found.unreadable {
            self.find(FindingKind::Unreadable, &path, error.to_string());
        }
        let place = self.sets.len() - 1;
        let set = &mut self.sets[place];
        set.hidden += found.hidden;
        set.classes.push(ClassReport { name: listing::name(path), path: path.into(), pictures: 0, unusable: 0 });
        let class = set.classes.len() - 1;
        self.files.extend(found.pictures.into_iter().map(|path| File { path, set: place, class }));
    }

    fn add_other(&mut self, path: &Path) {
        self.sets.last_mut().expect("a set was begun").others += 1;
        self.find(FindingKind::NotAPicture, path, "neither its name nor its content is a picture's");
    }

    fn find(&mut self, kind: FindingKind, path: &Path, detail: impl Into<String>) {
        self.findings.push(Finding::at(kind, path, detail));
    }
}
