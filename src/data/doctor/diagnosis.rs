//! What the doctor says.

use super::look::Look;
use super::{FindingKind, Severity};
use serde::{Serialize, Serializer};
use std::path::{Path, PathBuf};

/// All that [`examine`](super::examine) found in a folder. `{}` shows it as a text for people; as JSON it is complete.
///
/// ```
/// use tapetum::data::{DoctorOptions, FindingKind, examine};
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path();
/// # std::fs::create_dir(path.join("cats")).unwrap();
/// std::fs::write(path.join("cats/1.jpg"), "no picture").unwrap();
/// let diagnosis = examine(path, &DoctorOptions::default())?;
/// let kinds: Vec<FindingKind> = diagnosis.findings.iter().map(|finding| finding.kind).collect();
/// assert_eq!(kinds, [FindingKind::FewClasses, FindingKind::EmptyClass, FindingKind::Damaged]);
/// assert!(!diagnosis.is_healthy());
/// println!("{diagnosis}");
/// # Ok::<(), tapetum::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Diagnosis {
    /// The folder.
    #[serde(serialize_with = "as_text")]
    pub folder: PathBuf,
    /// Training and test, or the one set there is.
    pub sets: Vec<SetReport>,
    /// How large the pictures are; none where there is no picture.
    pub sizes: Option<Sizes>,
    /// What was found, the harmful first; of one kind in the order of the files.
    pub findings: Vec<Finding>,
}

impl Diagnosis {
    /// Whether nothing was found that would harm training.
    pub fn is_healthy(&self) -> bool {
        self.count(Severity::Harmful) == 0
    }

    /// How many findings are as bad as that.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }
}

/// The pictures of one set: training, test, or all.
///
/// ```
/// use tapetum::data::{DoctorOptions, examine};
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path();
/// # for file in ["cats/1.ppm", "dogs/2.ppm", "dogs/3.ppm"] {
/// #     std::fs::create_dir_all(path.join(file).parent().unwrap()).unwrap();
/// #     std::fs::write(path.join(file), "P3 1 1 255  1 2 3").unwrap();
/// # }
/// let set = &examine(path, &DoctorOptions::default())?.sets[0];
/// assert_eq!((set.name.as_str(), set.imbalance), ("pictures", Some(2.0))); // a cat, two dogs
/// # Ok::<(), tapetum::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SetReport {
    /// `training_set`, `test_set`, or `pictures` where there are no two sets.
    pub name: String,
    /// The set's folder.
    #[serde(serialize_with = "as_text")]
    pub path: PathBuf,
    /// The classes, in the order of their labels.
    pub classes: Vec<ClassReport>,
    /// The pictures of the largest class for each one of the smallest that has any; none without pictures.
    pub imbalance: Option<f64>,
    /// How many files and folders are hidden: their names begin with a dot.
    pub hidden: usize,
    /// How many other files are no pictures.
    pub others: usize,
}

impl SetReport {
    pub(super) fn weigh(&mut self) {
        let counts = || self.classes.iter().map(|class| class.pictures).filter(|&count| count > 0);
        self.imbalance = counts().max().zip(counts().min()).map(|(max, min)| max as f64 / min as f64);
    }
}

/// The pictures of one class.
///
/// ```
/// use tapetum::data::{ClassReport, DoctorOptions, examine};
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path();
/// # std::fs::create_dir(path.join("cats")).unwrap();
/// # std::fs::write(path.join("cats/1.ppm"), "P3 1 1 255  1 2 3").unwrap();
/// # std::fs::write(path.join("cats/2.jpg"), "no picture").unwrap();
/// let cats = &examine(path, &DoctorOptions::default())?.sets[0].classes[0];
/// assert_eq!(*cats, ClassReport { name: "cats".into(), path: path.join("cats"), pictures: 1, unusable: 1 });
/// # Ok::<(), tapetum::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClassReport {
    /// The folder's name.
    pub name: String,
    /// The folder.
    #[serde(serialize_with = "as_text")]
    pub path: PathBuf,
    /// How many pictures it has.
    pub pictures: usize,
    /// How many more there would be if they could be decoded.
    pub unusable: usize,
}

impl ClassReport {
    pub(super) fn count(&mut self, usable: bool) {
        match usable {
            true => self.pictures += 1,
            false => self.unusable += 1,
        }
    }
}

/// How large the pictures are, once turned upright.
///
/// ```
/// use tapetum::data::{DoctorOptions, examine};
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path();
/// # std::fs::create_dir(path.join("cats")).unwrap();
/// # std::fs::write(path.join("cats/1.ppm"), "P3 2 1 255  1 2 3  4 5 6").unwrap();
/// let sizes = examine(path, &DoctorOptions::default())?.sizes.expect("there is a picture");
/// assert_eq!((sizes.width.max, sizes.height.max, sizes.aspect_ratio.median), (2.0, 1.0, 2.0));
/// # Ok::<(), tapetum::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Sizes {
    /// In pixels.
    pub width: Spread,
    /// In pixels.
    pub height: Spread,
    /// Width · height in millions of pixels.
    pub megapixels: Spread,
    /// Width / height.
    pub aspect_ratio: Spread,
}

impl Sizes {
    pub(super) fn of<'a>(looks: impl Iterator<Item = &'a Look>) -> Option<Self> {
        let sizes: Vec<[f64; 2]> = looks.map(|look| [look.width as f64, look.height as f64]).collect();
        let spread = |value: fn(&[f64; 2]) -> f64| Spread::of(sizes.iter().map(value).collect());
        Some(Self {
            width: spread(|size| size[0])?,
            height: spread(|size| size[1])?,
            megapixels: spread(|size| size[0] * size[1] / 1e6)?,
            aspect_ratio: spread(|size| size[0] / size[1])?,
        })
    }
}

/// The least, the middle and the greatest of some numbers; of two in the middle, the greater.
///
/// ```
/// use tapetum::data::Spread;
/// let width = Spread { min: 42.0, median: 447.0, max: 1050.0 };
/// assert_eq!(format!("{width:.0}"), "42 to 1050, median 447");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The least.
    pub min: f64,
    /// Half of the numbers are at most this.
    pub median: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        Some(Self { min: *values.first()?, median: values[values.len() / 2], max: *values.last()? })
    }
}

/// One thing that was found.
///
/// ```
/// use tapetum::data::{DoctorOptions, Severity, examine};
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path();
/// # std::fs::create_dir(path.join("cats")).unwrap();
/// std::fs::write(path.join("cats/1.jpg"), "").unwrap();
/// let diagnosis = examine(path, &DoctorOptions::default())?;
/// let finding = diagnosis.findings.last().expect("the file is damaged");
/// assert_eq!(finding.severity, Severity::Harmful);
/// assert_eq!(finding.paths, [path.join("cats/1.jpg")]);
/// assert_eq!(finding.detail, "the file is empty");
/// # Ok::<(), tapetum::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is.
    pub kind: FindingKind,
    /// Whether it would harm training.
    pub severity: Severity,
    /// The files, or the folder.
    #[serde(serialize_with = "all_as_text")]
    pub paths: Vec<PathBuf>,
    /// What is the matter with them.
    pub detail: String,
    /// What to do.
    pub advice: &'static str,
}

impl Finding {
    pub(super) fn new(kind: FindingKind, paths: Vec<PathBuf>, detail: impl Into<String>) -> Self {
        Self { kind, severity: kind.severity(), paths, detail: detail.into(), advice: kind.advice() }
    }

    pub(super) fn at(kind: FindingKind, path: &Path, detail: impl Into<String>) -> Self {
        Self::new(kind, vec![path.into()], detail)
    }
}

// serde refuses paths that are no UTF-8. A report must not fail for one.
fn as_text<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

fn all_as_text<S: Serializer>(paths: &[PathBuf], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(paths.iter().map(|path| path.to_string_lossy()))
}
