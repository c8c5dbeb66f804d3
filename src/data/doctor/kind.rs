//! What can be found, how bad it is, and what to do about it.

use serde::Serialize;

/// Whether a finding would harm training.
///
/// ```
/// use tapetum::data::{FindingKind, Severity};
/// assert_eq!(FindingKind::Leak.severity(), Severity::Harmful);
/// assert_eq!(FindingKind::WrongEnding.severity(), Severity::Note);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It would stop training, mislead it, or make what is measured untrue.
    Harmful,
    /// Worth knowing.
    Note,
}

/// What the doctor looks for; the harmful ones come first.
///
/// ```
/// use tapetum::data::FindingKind;
/// assert_eq!(FindingKind::Blank.title(), "blank pictures");
/// assert_eq!(FindingKind::Blank.advice(), "Delete them: there is nothing on them to learn.");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FindingKind {
    /// A set has fewer than two classes.
    FewClasses,
    /// No picture of a class can be used.
    EmptyClass,
    /// Training and test have different classes.
    ClassMismatch,
    /// The largest class has at least four times as many pictures as the smallest.
    Imbalance,
    /// A file or folder that cannot be opened.
    Unreadable,
    /// A file that is named like a picture and gives none: damaged, truncated, beyond the limits.
    Damaged,
    /// The same picture in training and test.
    Leak,
    /// The same picture in two classes.
    ConflictingLabels,
    /// Nothing but one colour.
    Blank,
    /// The same pixels more than once in one class of one set.
    Duplicate,
    /// The same picture more than once in one class of one set: resized, compressed, mirrored.
    NearDuplicate,
    /// A picture of few pixels.
    Tiny,
    /// A picture that is far wider than high, or higher than wide.
    Stretched,
    /// The name's ending tells of another kind of file than the content.
    WrongEnding,
    /// Pictures in none of the folders that training reads.
    OutsideClasses,
    /// A file among the pictures that is none.
    NotAPicture,
}

impl FindingKind {
    /// Whether it would harm training.
    ///
    /// From 4 : 1 on, whoever always answers the larger of two classes is right in 80 % of the cases, about as good
    /// as a small network; so such an imbalance counts as harmful.
    pub fn severity(self) -> Severity {
        match self <= Self::Blank {
            true => Severity::Harmful,
            false => Severity::Note,
        }
    }

    /// What many of them are called.
    pub fn title(self) -> &'static str {
        self.words().0
    }

    /// What to do about it.
    pub fn advice(self) -> &'static str {
        self.words().1
    }

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::FewClasses => (
                "too few classes",
                "Give each class a folder with its pictures; there must be two or more. With test pictures, the \
                 folders beside each other are called training_set and test_set.",
            ),
            Self::EmptyClass => ("classes without a picture", "Add pictures, or move the folder away."),
            Self::ClassMismatch => ("different classes", "Give training and test the same folders."),
            Self::Imbalance => (
                "unequal classes",
                "Add pictures to the small class, or move some of the large one away: a network that always answers \
                 the large class is right most of the time.",
            ),
            Self::Unreadable => ("files that cannot be opened", "Mend the link or the permissions, or delete them."),
            Self::Damaged => ("damaged files", "Fetch them again, or delete them: training leaves them out."),
            Self::Leak => (
                "leaks from training to test",
                "Delete one of each: on pictures that it has learned from, a network looks better than it is.",
            ),
            Self::ConflictingLabels => (
                "pictures in two classes",
                "Keep each where it belongs, and delete it elsewhere: nobody can learn both answers.",
            ),
            Self::Blank => ("blank pictures", "Delete them: there is nothing on them to learn."),
            Self::Duplicate => {
                ("duplicates", "Keep one of each: copies count twice, and a random split can put them on both sides.")
            }
            Self::NearDuplicate => {
                ("near duplicates", "Look at them, and keep one of each: a random split can put them on both sides.")
            }
            Self::Tiny => ("tiny pictures", "Replace them by larger ones: enlarging shows no more of them."),
            Self::Stretched => ("long pictures", "Crop them: they are squeezed into the network's shape."),
            Self::WrongEnding => {
                ("wrong endings", "Rename them when other programs are to read them; here the content counts.")
            }
            Self::OutsideClasses => (
                "pictures outside the classes",
                "Move them into their class if they should be learned from: they are left out.",
            ),
            Self::NotAPicture => ("files that are no pictures", "They are left out; nothing needs to be done."),
        }
    }
}
