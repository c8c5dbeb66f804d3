//! Labels beside probabilities, and what can be counted from them.

use super::Estimate;
use crate::error::{Error, Result};
use ndarray::{Array2, ArrayView1, ArrayView2};

/// How far from 1 the probabilities of a sample may add up to: those of a softmax in `f32` miss it by about 10⁻⁶.
const TOLERANCE: f64 = 1e-4;

/// What a network said about labelled samples, ready to be judged.
///
/// ```
/// use ndarray::array;
/// use tapetum::prelude::*;
/// let probabilities = array![[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.3, 0.7]]; // of cat and dog
/// let said = Classification::new(probabilities.view(), &[0, 0, 1, 1])?;
/// assert_eq!(said.predicted(), [0, 1, 1, 1]);
/// assert_eq!(said.confusion(), [[1, 1], [0, 2]]);
/// assert_eq!(said.accuracy().value, 0.75);
/// assert_eq!(said.roc(1)?.auc.value, 1.0); // every dog is given more "dog" than any cat
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Classification {
    labels: Vec<usize>,
    probabilities: Array2<f64>,
}

impl Classification {
    /// `probabilities` [N, K], a row for each sample and a column for each of K ≥ 2 classes, beside N labels.
    ///
    /// # Errors
    /// Where there is no sample, the two have other lengths, a label is no class, or a row is not of numbers from 0
    /// to 1 that add up to 1, to within 10⁻⁴.
    pub fn new(probabilities: ArrayView2<'_, f64>, labels: &[usize]) -> Result<Self> {
        let (samples, classes) = probabilities.dim();
        if samples != labels.len() || classes < 2 {
            let expected = format!("probabilities [{}, K ≥ 2]", labels.len());
            return Err(Error::shape("classification", expected, probabilities.shape()));
        }
        if samples == 0 {
            return Err(Error::data("there are no samples to judge"));
        }
        for (sample, (row, &label)) in probabilities.rows().into_iter().zip(labels).enumerate() {
            if label >= classes {
                return Err(Error::data(format!("sample {sample} has the label {label} of {classes} classes")));
            }
            expect_probabilities(sample, row)?;
        }
        Ok(Self { labels: labels.to_vec(), probabilities: probabilities.to_owned() })
    }

    /// The same labels beside other probabilities.
    pub(super) fn with(&self, probabilities: Array2<f64>) -> Self {
        Self { labels: self.labels.clone(), probabilities }
    }

    /// How many samples there are: at least one.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is none: never.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// How many classes there are.
    pub fn classes(&self) -> usize {
        self.probabilities.ncols()
    }

    /// What each sample is.
    pub fn labels(&self) -> &[usize] {
        &self.labels
    }

    /// What the network said of each sample, [N, K].
    pub fn probabilities(&self) -> ArrayView2<'_, f64> {
        self.probabilities.view()
    }

    /// The most probable class of each sample, the first of equal ones.
    pub fn predicted(&self) -> Vec<usize> {
        self.answers().map(|(_, class, _)| class).collect()
    }

    /// The share classified correctly, with Wilson's score interval.
    pub fn accuracy(&self) -> Estimate {
        Estimate::share(self.answers().filter(|(label, class, _)| label == class).count(), self.len())
    }

    /// `confusion[true class][predicted class]`: samples, K × K.
    pub fn confusion(&self) -> Vec<Vec<usize>> {
        let mut confusion = vec![vec![0; self.classes()]; self.classes()];
        self.answers().for_each(|(label, class, _)| confusion[label][class] += 1);
        confusion
    }

    /// Mean −ln p of the true class: the cross-entropy. Infinite where a true class was given the probability 0.
    pub fn log_loss(&self) -> f64 {
        let losses = self.probabilities.rows().into_iter().zip(&self.labels).map(|(row, &label)| -row[label].ln());
        losses.sum::<f64>() / self.len() as f64
    }

    /// The label, the predicted class and its probability, sample by sample.
    pub(super) fn answers(&self) -> impl Iterator<Item = (usize, usize, f64)> {
        self.labels.iter().zip(self.probabilities.rows()).map(|(&label, row)| {
            let first_of_largest = |best: (usize, f64), next: (usize, f64)| if next.1 > best.1 { next } else { best };
            let (class, p) = row.iter().copied().enumerate().reduce(first_of_largest).expect("at least two classes");
            (label, class, p)
        })
    }
}

fn expect_probabilities(sample: usize, row: ArrayView1<'_, f64>) -> Result<()> {
    let wrong = |what: String| {
        let probabilities = "must lie from 0 to 1 and add up to 1";
        Err(Error::data(format!("the probabilities of sample {sample} {probabilities}, got {what}")))
    };
    if let Some(p) = row.iter().find(|p| !(0.0..=1.0).contains(*p)) {
        return wrong(p.to_string());
    }
    match row.sum() {
        sum if (sum - 1.0).abs() > TOLERANCE => wrong(format!("a sum of {sum}")),
        _ => Ok(()),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::random::Key;
    use ndarray::array;

    /// Samples of a network that is right more often than not; ties where `steps` is small.
    pub fn drawn(samples: usize, classes: usize, steps: f64) -> Classification {
        let mut random = Key::new(7).named("metrics").stream();
        let labels: Vec<usize> = (0..samples).map(|_| random.below(classes)).collect();
        let score = |(sample, class)| {
            let sign = if labels[sample] == class { 0.6 * random.unit() } else { 0.0 };
            1.0 + (steps * (0.4 * random.unit() + sign)).round()
        };
        let mut p = Array2::from_shape_fn((samples, classes), score);
        p.rows_mut().into_iter().for_each(|mut row| row /= row.sum());
        Classification::new(p.view(), &labels).unwrap()
    }

    #[test]
    fn counts_are_those_of_a_loop() {
        let said = drawn(200, 3, 8.0);
        let mut confusion = [[0; 3]; 3];
        for (row, &label) in said.probabilities().rows().into_iter().zip(said.labels()) {
            let largest = row.iter().copied().fold(0.0, f64::max);
            confusion[label][row.iter().position(|&p| p == largest).unwrap()] += 1;
        }
        assert_eq!(said.confusion(), confusion);
        assert_eq!(said.accuracy().value, (0..3).map(|class| confusion[class][class]).sum::<usize>() as f64 / 200.0);
        assert_eq!((said.len(), said.classes(), said.is_empty()), (200, 3, false));
    }

    #[test]
    fn ties_go_to_the_first_class_and_half_is_not_more_than_half() {
        let said = Classification::new(array![[0.5, 0.5], [0.3, 0.7]].view(), &[0, 1]).unwrap();
        assert_eq!(said.predicted(), [0, 1]);
    }

    #[test]
    fn log_loss_is_the_mean_of_minus_ln_p() {
        let said = Classification::new(array![[0.25, 0.75], [0.5, 0.5]].view(), &[1, 0]).unwrap();
        assert_eq!(said.log_loss(), (-(0.75f64.ln()) - 0.5f64.ln()) / 2.0);
        let wrong = Classification::new(array![[0.0, 1.0]].view(), &[0]).unwrap();
        assert_eq!(wrong.log_loss(), f64::INFINITY);
    }

    #[test]
    fn what_cannot_be_judged_is_refused() {
        let refused = |p: Array2<f64>, labels: &[usize]| Classification::new(p.view(), labels).unwrap_err().to_string();
        assert_eq!(
            refused(array![[0.5, 0.5]], &[0, 1]),
            "classification: expected probabilities [2, K ≥ 2], got [1, 2]"
        );
        assert_eq!(refused(array![[1.0]], &[0]), "classification: expected probabilities [1, K ≥ 2], got [1, 1]");
        assert_eq!(refused(Array2::zeros((0, 2)), &[]), "there are no samples to judge");
        assert_eq!(refused(array![[0.5, 0.5]], &[2]), "sample 0 has the label 2 of 2 classes");
        let error = "the probabilities of sample 1 must lie from 0 to 1 and add up to 1, got ";
        for (row, found) in [
            ([f64::NAN, 0.5], "NaN"),
            ([-0.5, 1.5], "-0.5"),
            ([0.5, f64::INFINITY], "inf"),
            ([0.5, 0.25], "a sum of 0.75"),
        ] {
            assert_eq!(refused(array![[0.5, 0.5], row], &[0, 0]), format!("{error}{found}"));
        }
    }
}
