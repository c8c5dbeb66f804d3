//! Whether a network is right as often as it says.
//!
//! Samples go into M equal bins by the probability of the predicted class, bin m holding (m/M, (m+1)/M]. With acc(b)
//! the share classified correctly in bin b, conf(b) the mean probability in it, and n(b) its samples,
//!
//! ECE = Σ_b n(b)/N · |acc(b) − conf(b)|     MCE = max_b |acc(b) − conf(b)|     (Guo et al., arXiv:1706.04599, eq. 3, 5)

use super::Classification;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// More tell nothing: the bins would be emptier than they are narrow.
const MOST_BINS: usize = 1000;

/// How far what a network says lies from how often it is right.
///
/// ```
/// use ndarray::array;
/// use tapetum::prelude::*;
/// // It says 90 %, and is right in two of four cases.
/// let said = array![[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.1, 0.9]];
/// let calibration: Calibration = Classification::new(said.view(), &[0, 1, 0, 1])?.calibration(15)?;
/// assert!((calibration.expected_error - 0.4).abs() < 1e-12);
/// assert_eq!((calibration.bins.len(), calibration.bins[0].accuracy), (1, 0.5));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// From low to high: the bins with at least one sample.
    pub bins: Vec<CalibrationBin>,
    /// The expected calibration error (ECE). It is never below 0, so that few samples make it too large.
    pub expected_error: f64,
    /// The error of the worst bin, however few its samples (MCE).
    pub largest_error: f64,
}

/// The samples whose predicted class was given about the same probability.
///
/// See [`Calibration`] for an example.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CalibrationBin {
    /// Probabilities above this one.
    pub low: f64,
    /// Up to and including this one.
    pub high: f64,
    /// How many samples; at least one.
    pub samples: usize,
    /// The mean probability of the predicted class.
    pub confidence: f64,
    /// The share classified correctly.
    pub accuracy: f64,
}

impl Classification {
    /// The calibration of the predicted class's probability, over so many bins of equal width. Guo et al. take 15.
    ///
    /// # Errors
    /// Where `bins` is not from 1 to 1000.
    pub fn calibration(&self, bins: usize) -> Result<Calibration> {
        if !(1..=MOST_BINS).contains(&bins) {
            return Err(Error::argument("calibration", "bins", format!("from 1 to {MOST_BINS}"), bins));
        }
        let edges: Vec<f64> = (0..=bins).map(|m| m as f64 / bins as f64).collect();
        let empty =
            |ends: &[f64]| CalibrationBin { low: ends[0], high: ends[1], samples: 0, confidence: 0.0, accuracy: 0.0 };
        let mut all: Vec<CalibrationBin> = edges.windows(2).map(empty).collect();
        for (label, class, p) in self.answers() {
            // The last bin ends at 1, and so does every probability.
            let place = edges[1..].partition_point(|&high| high < p).min(bins - 1);
            let bin = &mut all[place];
            bin.samples += 1;
            bin.confidence += p;
            bin.accuracy += f64::from(u8::from(label == class));
        }
        all.retain(|bin| bin.samples > 0);
        for bin in &mut all {
            bin.confidence /= bin.samples as f64;
            bin.accuracy /= bin.samples as f64;
        }
        let error = |bin: &CalibrationBin| (bin.accuracy - bin.confidence).abs();
        let expected_error = all.iter().map(|bin| bin.samples as f64 / self.len() as f64 * error(bin)).sum();
        let largest_error = all.iter().map(error).fold(0.0, f64::max);
        Ok(Calibration { bins: all, expected_error, largest_error })
    }
}

#[cfg(test)]
mod tests {
    use super::super::classification::tests::drawn;
    use super::*;
    use approx::assert_abs_diff_eq;
    use ndarray::array;

    #[test]
    fn the_errors_are_those_of_the_definition() {
        let said = drawn(300, 3, 20.0);
        let found = said.calibration(7).unwrap();
        let (mut expected, mut largest) = (0.0, 0.0f64);
        for m in 0..7 {
            let inside = |p: f64| p > f64::from(m) / 7.0 && p <= f64::from(m + 1) / 7.0;
            let bin: Vec<_> = said.answers().filter(|&(_, _, p)| inside(p)).collect();
            if !bin.is_empty() {
                let right = bin.iter().filter(|(label, class, _)| label == class).count() as f64;
                let gap = (right - bin.iter().map(|(_, _, p)| p).sum::<f64>()).abs();
                expected += gap / 300.0;
                largest = largest.max(gap / bin.len() as f64);
            }
        }
        assert_abs_diff_eq!(found.expected_error, expected, epsilon = 1e-12);
        assert_abs_diff_eq!(found.largest_error, largest, epsilon = 1e-12);
        assert_eq!(found.bins.iter().map(|bin| bin.samples).sum::<usize>(), 300);
    }

    #[test]
    fn a_probability_on_an_edge_goes_below_it() {
        let said = Classification::new(array![[0.6, 0.4], [0.0, 1.0], [0.5, 0.5]].view(), &[0, 1, 0]).unwrap();
        let bins = said.calibration(10).unwrap().bins;
        assert_eq!(
            bins.iter().map(|bin| [bin.low, bin.high]).collect::<Vec<_>>(),
            [[0.4, 0.5], [0.5, 0.6], [0.9, 1.0]]
        );
        assert!(said.calibration(0).is_err() && said.calibration(usize::MAX).is_err());
    }
}
