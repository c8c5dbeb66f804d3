//! Temperature scaling: one number that makes a network less sure of itself, or more, and changes no answer.
//!
//! q_k = p_k^β / Σ_j p_j^β,  β = 1/T, is softmax(z / T) of p = softmax(z): a constant added to z changes nothing.
//! The best T makes the labels most probable (Guo et al., arXiv:1706.04599, 4.2). With l = ln p and y the label,
//!
//! L(β) = Σ_n (ln Σ_k e^{β l_nk} − β l_ny)      L′(β) = Σ_n (Σ_k q_nk l_nk − l_ny)
//!
//! L is convex, so that L′ has one zero, which is found by halving.

use super::Classification;
use crate::error::{Error, Result};
use ndarray::Array2;
use serde::{Deserialize, Serialize};

/// Beyond this, and below its inverse, a temperature says that there is none.
const MOST: f64 = 1e3;

/// What probabilities are softened by: above 1 the network was too sure of itself, below 1 not sure enough.
///
/// It has to be fitted on other data than it is judged on: on the same data, it flatters.
///
/// ```
/// use ndarray::array;
/// use tapetum::prelude::*;
/// // It says 90 %, and is right in three of four cases.
/// let said = array![[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.1, 0.9]];
/// let said = Classification::new(said.view(), &[0, 0, 0, 1])?;
/// let temperature = Temperature::fit(&said)?;
/// let honest = temperature.apply(&said);
/// assert!((honest.probabilities()[[0, 0]] - 0.75).abs() < 1e-9);
/// assert_eq!(honest.predicted(), said.predicted());
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Temperature {
    /// T: logits are divided by it.
    pub value: f64,
}

impl Temperature {
    /// The temperature at which the labels are most probable.
    ///
    /// # Errors
    /// Where there is none from 1/1000 to 1000: all samples are right, or no better than by chance, or a true class
    /// was given the probability 0.
    pub fn fit(said: &Classification) -> Result<Self> {
        let slope = |beta| said.slope(beta);
        let (mut low, mut high) = (MOST.recip().ln(), MOST.ln());
        if said.log_loss().is_infinite() {
            return Err(Error::data("no temperature fits: a true class was given the probability 0"));
        }
        if slope(high.exp()) <= 0.0 {
            return Err(Error::data("no temperature fits: the more certain, the better, as all answers are right"));
        }
        if slope(low.exp()) >= 0.0 {
            return Err(Error::data("no temperature fits: the less certain, the better; the answers are chance"));
        }
        // 64 halvings leave less than an f64 can tell apart.
        for _ in 0..64 {
            let middle = f64::midpoint(low, high);
            if slope(middle.exp()) < 0.0 { low = middle } else { high = middle }
        }
        Ok(Self { value: (-f64::midpoint(low, high)).exp() })
    }

    /// The same samples, their probabilities at this temperature.
    pub fn apply(&self, said: &Classification) -> Classification {
        let mut scaled = Array2::zeros(said.probabilities().dim());
        for (p, mut q) in said.probabilities().rows().into_iter().zip(scaled.rows_mut()) {
            q.assign(&p.mapv(f64::ln));
            soften(q.as_slice_mut().expect("rows of a new array"), self.value.recip());
        }
        said.with(scaled)
    }
}

impl Classification {
    /// L′(β)
    fn slope(&self, beta: f64) -> f64 {
        let mut q = vec![0.0; self.classes()];
        let of = |(p, &label): (ndarray::ArrayView1<'_, f64>, &usize)| {
            q.iter_mut().zip(p).for_each(|(q, p)| *q = p.ln());
            soften(&mut q, beta);
            // What has the probability 0 keeps it, and 0 · −∞ would make NaN of it.
            let mean: f64 = q.iter().zip(p).filter(|&(&q, _)| q > 0.0).map(|(q, p)| q * p.ln()).sum();
            mean - p[label].ln()
        };
        self.probabilities().rows().into_iter().zip(self.labels()).map(of).sum()
    }
}

/// Logarithms l become e^{β l} / Σ e^{β l}.
fn soften(l: &mut [f64], beta: f64) {
    let largest = l.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    l.iter_mut().for_each(|l| *l = (beta * (*l - largest)).exp());
    let sum: f64 = l.iter().sum();
    l.iter_mut().for_each(|l| *l /= sum);
}

#[cfg(test)]
mod tests {
    use super::super::classification::tests::drawn;
    use super::*;
    use approx::assert_abs_diff_eq;
    use ndarray::array;

    #[test]
    fn no_temperature_nearby_is_better() {
        let said = drawn(300, 3, 1e9);
        let best = Temperature::fit(&said).unwrap();
        let loss = |value| Temperature { value }.apply(&said).log_loss();
        assert!(loss(best.value) < said.log_loss());
        for factor in [0.9, 0.999, 1.001, 1.1] {
            assert!(loss(best.value * factor) > loss(best.value), "{factor}");
        }
        assert_eq!(best.apply(&said).predicted(), said.predicted());
        // What is at its best temperature stays as it is.
        assert_abs_diff_eq!(Temperature::fit(&best.apply(&said)).unwrap().value, 1.0, epsilon = 1e-9);
    }

    #[test]
    fn it_divides_the_logits() {
        let softmax = |z: [f64; 3]| {
            let e = z.map(f64::exp);
            e.map(|value| value / e.iter().sum::<f64>())
        };
        let z = [0.5, -2.0, 3.0];
        let said = Classification::new(array![softmax(z)].view(), &[2]).unwrap();
        let scaled = Temperature { value: 2.5 }.apply(&said);
        for (found, expected) in scaled.probabilities().iter().zip(softmax(z.map(|z| z / 2.5))) {
            assert_abs_diff_eq!(*found, expected, epsilon = 1e-14);
        }
    }

    #[test]
    fn where_there_is_none_it_says_why() {
        let refused = |p: Array2<f64>, labels: &[usize]| {
            Temperature::fit(&Classification::new(p.view(), labels).unwrap()).unwrap_err().to_string()
        };
        assert!(refused(array![[0.9, 0.1], [0.2, 0.8]], &[0, 1]).contains("as all answers are right"));
        assert!(refused(array![[0.9, 0.1], [0.2, 0.8]], &[1, 0]).contains("chance"));
        assert!(refused(array![[0.5, 0.5]], &[1]).contains("no temperature fits"));
        assert!(refused(array![[1.0, 0.0], [0.5, 0.5]], &[1, 0]).contains("the probability 0"));
        // A probability of 0 for another class is no obstacle.
        let said = Classification::new(array![[0.8, 0.2, 0.0], [0.3, 0.6, 0.1], [0.7, 0.2, 0.1]].view(), &[0, 0, 0]);
        assert!(Temperature::fit(&said.unwrap()).unwrap().value.is_finite());
    }
}
