//! Samples and targets from arrays.

use super::image_set::expect_labels;
use super::{Dataset, SampleTarget, expect_sample, split_places};
use crate::error::{Error, Result};
use crate::random::Key;
use crate::target::Target;
use ndarray::{ArrayD, Axis};

/// Samples x [N, …] in memory, with a label or a row of values for each.
///
/// Values `[N]` count as `[N, 1]`, one number for each sample.
///
/// ```
/// use tapetum::data::{ArraySet, Dataset};
/// let x = ndarray::array![[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]].into_dyn();
/// let xor = ArraySet::new(x, vec![0, 1, 1, 0])?;
/// assert_eq!((xor.len(), xor.sample_shape()), (4, &[2][..]));
/// # Ok::<(), tapetum::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct ArraySet {
    /// [N, …], rows after one another.
    x: ArrayD<f32>,
    target: Target<f32>,
    class_names: Vec<String>,
    /// [N]; empty where all samples count 1.
    weights: Vec<f64>,
}

impl ArraySet {
    /// Samples x [N, …] with `Vec<usize>` labels or `ArrayD<f32>` values [N, …].
    ///
    /// # Errors
    /// Where there is not one target for each sample.
    pub fn new(x: ArrayD<f32>, target: impl Into<Target<f32>>) -> Result<Self> {
        let target = match target.into() {
            Target::Values(values) if values.ndim() == 1 => Target::Values(values.insert_axis(Axis(1))),
            target => target,
        };
        let n = *x.shape().first().ok_or_else(|| Error::shape("array set", "samples x [N, …]", x.shape()))?;
        let found: &[usize] = match &target {
            Target::Labels(labels) => &[labels.len()],
            Target::Values(values) => values.shape(),
        };
        if found.first() != Some(&n) {
            return Err(Error::shape("array set", format!("targets [{n}, …] for samples {:?}", x.shape()), found));
        }
        let target = match target {
            Target::Values(values) => Target::Values(in_rows(values)),
            labels => labels,
        };
        Ok(Self { x: in_rows(x), target, class_names: Vec::new(), weights: Vec::new() })
    }

    /// With names for the classes.
    ///
    /// # Errors
    /// Where a label has no name.
    pub fn class_names(mut self, names: Vec<String>) -> Result<Self> {
        if let Target::Labels(labels) = &self.target {
            expect_labels(labels, &names)?;
        }
        self.class_names = names;
        Ok(self)
    }

    /// With a weight for each sample.
    ///
    /// # Errors
    /// Where there is not one for each sample, or one is negative or not finite.
    pub fn weights(mut self, weights: Vec<f64>) -> Result<Self> {
        if weights.len() != self.len() {
            return Err(Error::shape("array set", format!("weights [{}]", self.len()), &[weights.len()]));
        }
        if let Some(weight) = weights.iter().find(|weight| !(weight.is_finite() && **weight >= 0.0)) {
            return Err(Error::argument("array set", "weights", "finite and at least 0", weight));
        }
        self.weights = weights;
        Ok(self)
    }

    /// Training and validation samples: of every class, or of all samples where they have values, `fraction` at random
    /// (rounded) goes to the second.
    ///
    /// # Errors
    /// Where `fraction` is not between 0 and 1, or one of the two would be empty.
    pub fn split(&self, fraction: f64, key: Key) -> Result<(Self, Self)> {
        let places = match &self.target {
            Target::Labels(labels) => split_places("array set", labels, fraction, key)?,
            Target::Values(_) => split_places("array set", &vec![0; self.len()], fraction, key)?,
        };
        let [train, validation] = places.map(|places| self.select(&places));
        Ok((train, validation))
    }

    /// The samples at these places.
    fn select(&self, places: &[usize]) -> Self {
        let rows = |array: &ArrayD<f32>| in_rows(array.select(Axis(0), places));
        Self {
            x: rows(&self.x),
            target: match &self.target {
                Target::Labels(labels) => Target::Labels(places.iter().map(|&place| labels[place]).collect()),
                Target::Values(values) => Target::Values(rows(values)),
            },
            class_names: self.class_names.clone(),
            // Empty where all count 1.
            weights: places.iter().filter_map(|&place| self.weights.get(place).copied()).collect(),
        }
    }
}

/// The same array, its rows after one another in memory.
fn in_rows(array: ArrayD<f32>) -> ArrayD<f32> {
    if array.is_standard_layout() { array } else { array.as_standard_layout().into_owned() }
}

/// Row `index` of an array [N, …].
fn row(array: &ArrayD<f32>, index: usize) -> &[f32] {
    let length = array.shape()[1..].iter().product::<usize>();
    &array.as_slice().expect("rows lie after one another since `new`")[index * length..][..length]
}

impl Dataset for ArraySet {
    fn len(&self) -> usize {
        self.x.shape()[0]
    }

    fn sample_shape(&self) -> &[usize] {
        &self.x.shape()[1..]
    }

    fn class_names(&self) -> &[String] {
        &self.class_names
    }

    fn read(&self, index: usize, _key: Key, out: &mut [f32]) -> Result<()> {
        expect_sample("array set", index, self.len())?;
        let sample = row(&self.x, index);
        if out.len() != sample.len() {
            let expected = format!("room for a sample {:?}", self.sample_shape());
            return Err(Error::shape("array set", expected, &[out.len()]));
        }
        out.copy_from_slice(sample);
        Ok(())
    }

    fn target(&self, index: usize) -> SampleTarget<'_> {
        match &self.target {
            Target::Labels(labels) => SampleTarget::Label(labels[index]),
            Target::Values(values) => SampleTarget::Values(row(values, index)),
        }
    }

    fn target_shape(&self) -> Option<&[usize]> {
        match &self.target {
            Target::Labels(_) => None,
            Target::Values(values) => Some(&values.shape()[1..]),
        }
    }

    fn weight(&self, index: usize) -> f64 {
        self.weights.get(index).copied().unwrap_or(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{IxDyn, array};

    #[test]
    fn samples_come_row_by_row_whatever_the_layout() {
        let x = array![[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]].reversed_axes().into_dyn();
        let set = ArraySet::new(x, array![7.0, 8.0].into_dyn()).unwrap();
        let mut sample = [0.0; 3];
        set.read(1, Key::new(0), &mut sample).unwrap();
        assert_eq!(sample, [4.0, 5.0, 6.0]);
        assert_eq!((set.target(1), set.target_shape()), (SampleTarget::Values(&[8.0]), Some(&[1][..])));
    }

    #[test]
    fn a_split_keeps_samples_with_what_belongs_to_them() {
        let x = ArrayD::from_shape_fn(IxDyn(&[20, 1]), |i| i[0] as f32);
        let labels: Vec<usize> = (0..20).map(|n| usize::from(n % 4 == 0)).collect();
        let names = ["a", "b"].map(String::from).to_vec();
        let labelled = ArraySet::new(x.clone(), labels).unwrap().class_names(names).unwrap();
        let labelled = labelled.weights((0..20).map(f64::from).collect()).unwrap();
        let valued = ArraySet::new(x.clone(), x).unwrap();
        for set in [labelled, valued] {
            let (train, validation) = set.split(0.4, Key::new(1)).unwrap();
            assert_eq!((train.len(), validation.len()), (12, 8));
            let mut seen = Vec::new();
            for (part, at) in [&train, &validation].into_iter().flat_map(|p| (0..p.len()).map(move |at| (p, at))) {
                let n = row(&part.x, at)[0] as usize;
                assert_eq!((part.target(at), part.weight(at)), (set.target(n), set.weight(n)));
                seen.push(n);
            }
            seen.sort_unstable();
            assert!(seen.into_iter().eq(0..20));
            let second = (0..8).filter(|&at| validation.target(at) == SampleTarget::Label(1)).count();
            assert_eq!(second, if set.target_shape().is_none() { 2 } else { 0 });
            assert!([0.0, 1.0, f64::NAN, 1e-9].iter().all(|&fraction| set.split(fraction, Key::new(1)).is_err()));
        }
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let x = || ArrayD::zeros(IxDyn(&[2, 3]));
        assert!(ArraySet::new(x(), vec![0]).is_err());
        assert!(ArraySet::new(x(), ArrayD::zeros(IxDyn(&[3, 2]))).is_err());
        assert!(ArraySet::new(x(), ArrayD::zeros(IxDyn(&[]))).is_err());
        assert!(ArraySet::new(ArrayD::zeros(IxDyn(&[])), vec![0]).is_err());
        let set = ArraySet::new(x(), vec![0, 1]).unwrap();
        assert!(set.read(2, Key::new(0), &mut [0.0; 3]).is_err());
        assert!(set.read(0, Key::new(0), &mut [0.0; 2]).is_err());
        assert!(set.clone().class_names(vec!["a".into()]).is_err());
        assert!(set.clone().weights(vec![1.0]).is_err());
        assert!(set.clone().weights(vec![1.0, f64::NAN]).is_err());
        assert_eq!(set.weights(vec![0.0, 2.0]).unwrap().weight(1), 2.0);
    }
}
