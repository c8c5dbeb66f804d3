//! Precision, recall and F1, from true positives (TP), false positives (FP) and false negatives (FN):
//!
//! precision = TP / (TP + FP)     recall = TP / (TP + FN)     F1 = 2 TP / (2 TP + FP + FN)
//!
//! F1 = 2 J / (1 + J) of the share J = TP / (TP + FP + FN), and grows with it: Wilson's interval of J, put into the
//! same function, is F1's (Lam, Gopal & Qian, arXiv:2309.14621: the indirect method).

use super::{Classification, Estimate};
use serde::{Deserialize, Serialize};

/// How well one class is told from the others.
///
/// ```
/// use ndarray::array;
/// use tapetum::prelude::*;
/// let said = array![[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.3, 0.7]];
/// let [_, dog]: [ClassMetrics; 2] = Classification::new(said.view(), &[0, 0, 1, 1])?.per_class().try_into().unwrap();
/// assert_eq!((dog.precision.value, dog.recall.value, dog.f1.value), (2.0 / 3.0, 1.0, 0.8));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ClassMetrics {
    /// Of the samples called so, the share that is. 0 without interval where none was called so.
    pub precision: Estimate,
    /// Of the samples that are, the share called so. 0 without interval where none is.
    pub recall: Estimate,
    /// The harmonic mean of both. 0 without interval where none is and none was called so.
    pub f1: Estimate,
    /// How many samples are of the class.
    pub support: usize,
}

impl Classification {
    /// Precision, recall and F1 of each class against the rest.
    pub fn per_class(&self) -> Vec<ClassMetrics> {
        let confusion = self.confusion();
        let of = |class: usize| {
            let hits = confusion[class][class];
            let support = confusion[class].iter().sum();
            let called: usize = confusion.iter().map(|row| row[class]).sum();
            ClassMetrics {
                precision: Estimate::share(hits, called),
                recall: Estimate::share(hits, support),
                f1: Estimate::share(hits, called + support - hits).map(|j| 2.0 * j / (1.0 + j)),
                support,
            }
        };
        (0..self.classes()).map(of).collect()
    }
}
