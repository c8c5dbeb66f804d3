//! How well one class's probability parts its samples from the rest, whatever the threshold.
//!
//! AUC = P(a sample of the class is given more than one of the rest), ties counting half, over all m · n pairs. With
//! V₁ᵢ the share of the rest below sample i of the class, and V₀ⱼ the share of the class above sample j of the rest,
//!
//! var AUC = var V₁ / m + var V₀ / n        (DeLong, DeLong & Clarke-Pearson 1988, Biometrics 44:837)
//!
//! Samples with the same probability have the same V, so that one walk down the sorted probabilities gives all of it.

use super::estimate::Z;
use super::{Classification, Estimate};
use crate::error::{Error, Result};
use serde::Serialize;

/// The receiver operating characteristic of one class against the rest.
///
/// ```
/// use ndarray::array;
/// use tapetum::prelude::*;
/// let said = array![[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.5, 0.5]];
/// let roc: RocCurve = Classification::new(said.view(), &[0, 0, 1, 1])?.roc(1)?;
/// assert_eq!(roc.auc.value, 0.75); // of four pairs of a dog and a cat, three are in order
/// let corner = roc.points[2];
/// assert_eq!((corner.threshold, corner.false_positive_rate, corner.true_positive_rate), (0.6, 0.5, 0.5));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RocCurve {
    /// From (0, 0), where nothing is called so, to (1, 1): a point for each probability that occurs, falling.
    pub points: Vec<RocPoint>,
    /// The area under the curve, with DeLong's interval cut at 0 and 1. No interval where either side has fewer than
    /// two samples, or all pairs agree: the variance is then unknown, or 0 whatever the number of samples.
    pub auc: Estimate,
}

/// What calling all samples at or above a threshold by the class's name would do.
///
/// See [`RocCurve`] for an example.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RocPoint {
    /// Of the rest, the share called so.
    pub false_positive_rate: f64,
    /// Of the class, the share called so.
    pub true_positive_rate: f64,
    /// The probability from which on; infinite at the first point.
    pub threshold: f64,
}

/// Samples with the same probability.
struct Tie {
    p: f64,
    /// Of the class.
    positive: f64,
    /// Of the rest.
    negative: f64,
}

impl Classification {
    /// The curve of `class` against the rest, and the area under it.
    ///
    /// # Errors
    /// Where there is no such class, or no sample of it, or none of the rest.
    pub fn roc(&self, class: usize) -> Result<RocCurve> {
        if class >= self.classes() {
            return Err(Error::argument("roc", "class", format!("below {}", self.classes()), class));
        }
        let ties = self.ties(class);
        let m: f64 = ties.iter().map(|tie| tie.positive).sum();
        let n = self.len() as f64 - m;
        if m == 0.0 || n == 0.0 {
            let of = if m == 0.0 { "no sample is" } else { "all samples are" };
            return Err(Error::data(format!("{of} of class {class}: a ROC curve needs samples of it and of others")));
        }
        let (mut above, mut points) = ([0.0; 2], vec![RocPoint::new([0.0; 2], f64::INFINITY)]);
        // V₁ and V₀ of each tie, and how often they occur.
        let (mut v1, mut v0) = (Vec::new(), Vec::new());
        for tie in ties {
            v1.push(((n - above[0] - tie.negative / 2.0) / n, tie.positive));
            v0.push(((above[1] + tie.positive / 2.0) / m, tie.negative));
            above = [above[0] + tie.negative, above[1] + tie.positive];
            points.push(RocPoint::new([above[0] / n, above[1] / m], tie.p));
        }
        let auc = v1.iter().map(|(v, count)| v * count).sum::<f64>() / m;
        let variance = |v: &[(f64, f64)], count: f64| {
            v.iter().map(|(v, times)| times * (v - auc).powi(2)).sum::<f64>() / (count - 1.0) / count
        };
        let known = m > 1.0 && n > 1.0 && auc > 0.0 && auc < 1.0;
        let reach = Z * (variance(&v1, m) + variance(&v0, n)).sqrt();
        let interval = known.then(|| [(auc - reach).max(0.0), (auc + reach).min(1.0)]);
        Ok(RocCurve { points, auc: Estimate { value: auc, interval } })
    }

    /// The samples by their probability of `class`, falling.
    fn ties(&self, class: usize) -> Vec<Tie> {
        let column = self.probabilities();
        let mut samples: Vec<_> = column.column(class).iter().copied().zip(self.labels()).collect();
        samples.sort_by(|a, b| b.0.total_cmp(&a.0));
        let tied = samples.chunk_by(|a, b| a.0 == b.0).map(|tied| {
            let positive = tied.iter().filter(|&&(_, &label)| label == class).count() as f64;
            Tie { p: tied[0].0, positive, negative: tied.len() as f64 - positive }
        });
        tied.collect()
    }
}

impl RocPoint {
    fn new([false_positive_rate, true_positive_rate]: [f64; 2], threshold: f64) -> Self {
        Self { false_positive_rate, true_positive_rate, threshold }
    }
}

#[cfg(test)]
mod tests {
    use super::super::classification::tests::drawn;
    use super::*;
    use approx::assert_abs_diff_eq;
    use ndarray::array;

    /// The definition: every pair of a sample of the class and one of the rest.
    fn pairs(said: &Classification, class: usize) -> (f64, f64) {
        let scores = |of: bool| -> Vec<f64> {
            let p = said.probabilities();
            let samples = said.labels().iter().zip(p.rows());
            samples.filter(|&(&label, _)| (label == class) == of).map(|(_, row)| row[class]).collect()
        };
        let (x, y) = (scores(true), scores(false));
        let wins = |x: f64, y: f64| if x > y { 1.0 } else { f64::from(u8::from(x == y)) / 2.0 };
        let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
        let v1: Vec<f64> = x.iter().map(|&x| mean(&y.iter().map(|&y| wins(x, y)).collect::<Vec<_>>())).collect();
        let v0: Vec<f64> = y.iter().map(|&y| mean(&x.iter().map(|&x| wins(x, y)).collect::<Vec<_>>())).collect();
        let spread = |v: &[f64]| {
            v.iter().map(|value| (value - mean(v)).powi(2)).sum::<f64>() / (v.len() - 1) as f64 / v.len() as f64
        };
        (mean(&v1), (spread(&v1) + spread(&v0)).sqrt())
    }

    #[test]
    fn the_area_and_its_interval_are_those_of_all_pairs() {
        for (classes, steps) in [(2, 5.0), (2, 1e9), (3, 8.0)] {
            let said = drawn(150, classes, steps);
            for class in 0..classes {
                let (auc, deviation) = pairs(&said, class);
                let roc = said.roc(class).unwrap();
                assert_abs_diff_eq!(roc.auc.value, auc, epsilon = 1e-12);
                let [low, high] = roc.auc.interval.unwrap();
                assert_abs_diff_eq!(low, auc - 1.959963984540054 * deviation, epsilon = 1e-12);
                assert_abs_diff_eq!(high, (auc + 1.959963984540054 * deviation).min(1.0), epsilon = 1e-12);
            }
        }
    }

    #[test]
    fn the_area_under_the_points_is_the_area() {
        let roc = drawn(150, 3, 8.0).roc(1).unwrap();
        let below = |pair: &[RocPoint]| {
            let width = pair[1].false_positive_rate - pair[0].false_positive_rate;
            width * (pair[0].true_positive_rate + pair[1].true_positive_rate) / 2.0
        };
        assert_abs_diff_eq!(roc.points.windows(2).map(below).sum::<f64>(), roc.auc.value, epsilon = 1e-12);
        assert_eq!(roc.points[0].threshold, f64::INFINITY);
        let last = roc.points.last().unwrap();
        assert_eq!((last.false_positive_rate, last.true_positive_rate), (1.0, 1.0));
        assert!(roc.points.is_sorted_by(|a, b| a.threshold > b.threshold));
    }

    #[test]
    fn where_no_interval_exists_there_is_none() {
        let auc = |said: ndarray::Array2<f64>, labels: &[usize]| {
            Classification::new(said.view(), labels).unwrap().roc(1).unwrap().auc
        };
        let perfect = array![[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.4, 0.6]];
        assert_eq!(auc(perfect.clone(), &[0, 0, 1, 1]), Estimate { value: 1.0, interval: None });
        assert_eq!(auc(perfect, &[0, 1, 0, 0]), Estimate { value: 1.0 / 3.0, interval: None });
    }

    #[test]
    fn a_curve_needs_both_sides() {
        let said = Classification::new(array![[0.9, 0.1, 0.0], [0.8, 0.1, 0.1]].view(), &[0, 0]).unwrap();
        let refused = |class| said.roc(class).unwrap_err().to_string();
        assert!(refused(0).starts_with("all samples are of class 0"));
        assert!(refused(2).starts_with("no sample is of class 2"));
        assert_eq!(refused(3), "roc: class must be below 3, got 3");
    }
}
