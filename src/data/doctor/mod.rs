//! What is wrong with a folder of pictures, told before a network learns from it. Nothing on disk is changed.
//!
//! `survey` lists sets, classes and files, also where training would refuse them; `look` reads each picture once and
//! keeps a kilobyte of it; `likeness` says when two pictures are the same one and `duplicates` finds all of them;
//! `pictures` and `folders` judge the rest. `diagnosis` is what comes out, `kind` what can be found, `display` its
//! words.

mod diagnosis;
mod display;
mod duplicates;
mod folders;
mod kind;
mod likeness;
mod look;
mod pictures;
mod survey;

pub use diagnosis::{ClassReport, Diagnosis, Finding, SetReport, Sizes, Spread};
pub use kind::{FindingKind, Severity};

use super::DecodeLimits;
use super::image_folder::counted;
use crate::error::Result;
use look::Look;
use rayon::prelude::*;
use std::path::Path;
use survey::Survey;

/// How [`examine`] reads the files.
///
/// ```
/// use tapetum::data::{DoctorOptions, examine};
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path();
/// let progress = |done: usize, all: usize| println!("{done} of {all}");
/// let diagnosis = examine(path, &DoctorOptions { progress: Some(&progress), ..DoctorOptions::default() })?;
/// assert!(!diagnosis.is_healthy()); // an empty folder
/// # Ok::<(), tapetum::Error>(())
/// ```
#[derive(Clone, Copy, Default)]
pub struct DoctorOptions<'a> {
    /// What a single file may ask for. Training should use the same.
    pub limits: DecodeLimits,
    /// Called after each file with the number of files done, 1 more each time, and the number of files in all.
    pub progress: Option<&'a (dyn Fn(usize, usize) + Sync)>,
}

/// Says what is wrong with a folder of pictures: one with a subfolder for each class, or one with `training_set` and
/// `test_set`, as [`ImageFolder`](super::ImageFolder) opens them.
///
/// Pictures are decoded as for training, so both agree on what is damaged. The same picture is found again where it
/// was copied, stored in another format, resized, compressed, made brighter or mirrored; cropped or turned ones are
/// not. Files are read in parallel; of each, a kilobyte is kept. The comparison of all with all takes a second or two
/// for 25,000 pictures. The findings are the same for any number of threads.
///
/// ```no_run
/// use tapetum::data::{DoctorOptions, FindingKind, examine};
/// let diagnosis = examine("photographs", &DoctorOptions::default())?;
/// println!("{diagnosis}");
/// for leak in diagnosis.findings.iter().filter(|finding| finding.kind == FindingKind::Leak) {
///     println!("{:?}", leak.paths);
/// }
/// # Ok::<(), tapetum::Error>(())
/// ```
///
/// # Errors
/// Where there is no such folder or it cannot be read. All that is wrong with what lies in it is a finding.
pub fn examine(path: impl AsRef<Path>, options: &DoctorOptions<'_>) -> Result<Diagnosis> {
    let path = path.as_ref();
    let Survey { mut sets, files, mut findings } = Survey::of(path)?;
    let done = counted(options.progress, files.len());
    let look = |file: &survey::File| {
        let look = Look::at(&file.path, &options.limits);
        done();
        look
    };
    let looks: Vec<_> = files.par_iter().map(look).collect();
    for (file, look) in files.iter().zip(&looks) {
        sets[file.set].classes[file.class].count(look.is_ok());
        findings.extend(pictures::judge(&file.path, look));
    }
    sets.iter_mut().for_each(SetReport::weigh);
    findings.extend(folders::judge(&sets));
    let looks: Vec<Option<Look>> = looks.into_iter().map(|look| look.ok()).collect();
    findings.extend(duplicates::judge(&sets, &files, &looks));
    findings.sort_by_key(|finding| finding.kind);
    Ok(Diagnosis { folder: path.into(), sets, sizes: Sizes::of(looks.iter().flatten()), findings })
}
