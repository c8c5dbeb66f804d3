//! From a data set to batches: a pure function of the seed and the step, whoever asks, in whatever order.
//!
//! S = ⌈len / batch⌉ steps make a pass, the last one with what is left. Step s is batch s mod S of pass ⌊s / S⌋.

use super::{Dataset, SampleTarget};
use crate::error::{Error, Result};
use crate::random::Key;
use crate::shape::volume;
use crate::target::Target;
use ndarray::{ArrayD, IxDyn};
use rayon::prelude::*;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// In which order a pass goes through the samples.
///
/// ```
/// use tapetum::data::{Batches, Order};
/// use tapetum::prelude::*;
/// let data = ArraySet::new(ndarray::ArrayD::zeros(vec![5, 1]), vec![0; 5])?;
/// let order = |order| Batches::new(&data, 5, 1, order)?.batch(0).map(|batch| batch.indices);
/// assert_eq!(order(Order::InOrder)?, [0, 1, 2, 3, 4]);
/// let mut shuffled = order(Order::Shuffled)?;
/// shuffled.sort();
/// assert_eq!(shuffled, [0, 1, 2, 3, 4]);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Each pass in another random order, drawn from the seed: for training.
    Shuffled,
    /// As they lie: for evaluation and prediction.
    InOrder,
}

/// The samples of one step.
///
/// ```
/// use ndarray::array;
/// use tapetum::data::{Batch, Batches, Order};
/// use tapetum::prelude::*;
/// let data = ArraySet::new(array![[1.0], [2.0], [3.0]].into_dyn(), vec![0, 1, 0])?;
/// let Batch { x, target, weights, indices } = Batches::new(&data, 2, 1, Order::InOrder)?.batch(1)?;
/// assert_eq!((x, target), (array![[3.0]].into_dyn(), Target::Labels(vec![0])));
/// assert_eq!((weights, indices), (None, vec![2]));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// x [n, …]
    pub x: ArrayD<f32>,
    /// One target for each sample.
    pub target: Target<f32>,
    /// One weight for each sample; none where all count 1.
    pub weights: Option<Vec<f64>>,
    /// Which samples of the data set these are.
    pub indices: Vec<usize>,
}

/// The batches of a data set, numbered by the step: 0, 1, 2, … without end, pass after pass.
///
/// ```
/// use tapetum::data::{ArraySet, Batches, Order};
/// let x = ndarray::array![[1.0], [2.0], [3.0], [4.0], [5.0]].into_dyn();
/// let data = ArraySet::new(x, vec![0, 1, 0, 1, 0])?;
/// let batches = Batches::new(&data, 2, 1, Order::InOrder)?;
/// assert_eq!(batches.steps_per_pass(), 3);
/// assert_eq!(batches.batch(2)?.x, ndarray::array![[5.0]].into_dyn());
/// # Ok::<(), tapetum::Error>(())
/// ```
pub struct Batches<'a> {
    data: &'a dyn Dataset,
    batch_size: usize,
    order: Order,
    shuffle: Key,
    augment: Key,
    /// The order of the pass asked for last: only kept, never needed.
    latest: Mutex<Option<(u64, Arc<[usize]>)>>,
}

impl<'a> Batches<'a> {
    /// Batches of `batch_size` samples. The order of a pass, and what augmentation does in it, depend on `seed` alone.
    ///
    /// # Errors
    /// Where the data set has no samples, the samples have no entries, or the batch size is zero or beyond memory.
    pub fn new(data: &'a dyn Dataset, batch_size: usize, seed: u64, order: Order) -> Result<Self> {
        if batch_size == 0 {
            return Err(Error::argument("batches", "batch_size", "at least 1", batch_size));
        }
        if data.is_empty() {
            return Err(Error::data("the data set has no samples"));
        }
        let batch_size = batch_size.min(data.len());
        if volume("batches", &[&[batch_size], data.sample_shape()].concat())? == 0 {
            return Err(Error::shape("batches", "samples with at least one entry", data.sample_shape()));
        }
        let key = Key::new(seed);
        let (shuffle, augment) = (key.named("shuffle"), key.named("augment"));
        Ok(Self { data, batch_size, order, shuffle, augment, latest: Mutex::new(None) })
    }

    /// S = ⌈len / batch⌉
    pub fn steps_per_pass(&self) -> usize {
        self.data.len().div_ceil(self.batch_size)
    }

    /// The batch of one step.
    ///
    /// # Errors
    /// Where a sample cannot be read, or labels and values are mixed.
    pub fn batch(&self, step: u64) -> Result<Batch> {
        let (indices, key) = self.drawn(step);
        let shape = [&[indices.len()], self.data.sample_shape()].concat();
        let volume = self.data.sample_shape().iter().product();
        let mut x = vec![0.0; indices.len() * volume];
        let read = |(out, &index): (&mut [f32], &usize)| self.data.read(index, key.at(index as u64), out);
        let samples = x.par_chunks_mut(volume).zip(&indices);
        // Collected before they are looked at, so that of several errors always the first is told.
        samples.map(read).collect::<Vec<_>>().into_iter().collect::<Result<()>>()?;
        let x = ArrayD::from_shape_vec(IxDyn(&shape), x).expect("a number for each entry was read");
        self.labelled(indices, x)
    }

    /// The samples of one step, and the key from which sample i draws its numbers `at(i)`.
    pub(crate) fn drawn(&self, step: u64) -> (Vec<usize>, Key) {
        let steps = self.steps_per_pass() as u64;
        let (pass, place) = (step / steps, (step % steps) as usize);
        let order = self.pass(pass);
        let rest = &order[place * self.batch_size..];
        (rest[..self.batch_size.min(rest.len())].to_vec(), self.augment.at(pass))
    }

    /// How many samples a step has.
    pub(crate) fn size(&self, step: u64) -> usize {
        let place = (step % self.steps_per_pass() as u64) as usize;
        self.batch_size.min(self.data.len() - place * self.batch_size)
    }

    /// The batch of these samples, with `x` for what was read of them.
    pub(crate) fn labelled(&self, indices: Vec<usize>, x: ArrayD<f32>) -> Result<Batch> {
        Ok(Batch { x, target: self.target(&indices)?, weights: self.weights(&indices), indices })
    }

    /// The samples in the order of one pass.
    fn pass(&self, pass: u64) -> Arc<[usize]> {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        match &*latest {
            Some((kept, order)) if *kept == pass || self.order == Order::InOrder => order.clone(),
            _ => {
                let mut order: Vec<usize> = (0..self.data.len()).collect();
                if self.order == Order::Shuffled {
                    self.shuffle.at(pass).stream().shuffle(&mut order);
                }
                latest.insert((pass, order.into())).1.clone()
            }
        }
    }

    fn target(&self, indices: &[usize]) -> Result<Target<f32>> {
        let mixed = || Error::data("a data set must give labels for all samples, or as many values for each");
        match self.data.target(indices[0]) {
            SampleTarget::Label(_) => {
                let label = |&index: &usize| match self.data.target(index) {
                    SampleTarget::Label(label) => Ok(label),
                    SampleTarget::Values(_) => Err(mixed()),
                };
                Ok(Target::Labels(indices.iter().map(label).collect::<Result<_>>()?))
            }
            SampleTarget::Values(first) => {
                let shape = [&[indices.len()], self.data.target_shape().unwrap_or(&[first.len()])].concat();
                let mut values = Vec::with_capacity(first.len() * indices.len());
                for &index in indices {
                    match self.data.target(index) {
                        SampleTarget::Values(row) if row.len() == first.len() => values.extend_from_slice(row),
                        _ => return Err(mixed()),
                    }
                }
                let count = values.len();
                let values = ArrayD::from_shape_vec(IxDyn(&shape), values);
                let values = values.map_err(|_| Error::shape("batches", format!("targets {shape:?}"), &[count]))?;
                Ok(Target::Values(values))
            }
        }
    }

    fn weights(&self, indices: &[usize]) -> Option<Vec<f64>> {
        let weights: Vec<f64> = indices.iter().map(|&index| self.data.weight(index)).collect();
        weights.iter().any(|&weight| weight != 1.0).then_some(weights)
    }
}

impl fmt::Debug for Batches<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { batch_size, order, .. } = self;
        write!(f, "Batches of {batch_size} from {} samples, {order:?}", self.data.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::ArraySet;
    use ndarray::array;

    /// Samples of two numbers: their index, and one drawn from the key.
    struct Drawn(usize);

    impl Dataset for Drawn {
        fn len(&self) -> usize {
            self.0
        }

        fn sample_shape(&self) -> &[usize] {
            &[2]
        }

        fn read(&self, index: usize, key: Key, out: &mut [f32]) -> Result<()> {
            out.copy_from_slice(&[index as f32, key.stream().unit() as f32]);
            Ok(())
        }

        fn target(&self, index: usize) -> SampleTarget<'_> {
            SampleTarget::Label(index % 3)
        }
    }

    #[test]
    fn a_pass_has_every_sample_once_and_the_next_another_order() {
        let data = Drawn(10);
        let batches = Batches::new(&data, 4, 7, Order::Shuffled).unwrap();
        assert_eq!(batches.steps_per_pass(), 3);
        let pass = |number: u64| {
            let batches: Vec<Batch> = (0..3).map(|step| batches.batch(number * 3 + step).unwrap()).collect();
            assert_eq!(batches.iter().map(|batch| batch.indices.len()).collect::<Vec<_>>(), [4, 4, 2]);
            batches.iter().flat_map(|batch| batch.indices.clone()).collect::<Vec<_>>()
        };
        let passes = [pass(0), pass(1), pass(1_000_000)];
        for pass in &passes {
            let mut sorted = pass.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..10).collect::<Vec<_>>());
        }
        assert!(passes[0] != passes[1] && passes[1] != passes[2] && passes[0] != (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn a_batch_is_its_samples() {
        let data = Drawn(5);
        let batch = Batches::new(&data, 2, 1, Order::InOrder).unwrap().batch(4).unwrap();
        assert_eq!((batch.indices, batch.target), (vec![2, 3], Target::Labels(vec![2, 0])));
        let drawn = |index| Key::new(1).named("augment").at(1).at(index).stream().unit() as f32;
        assert_eq!(batch.x, array![[2.0, drawn(2)], [3.0, drawn(3)]].into_dyn());
        assert_eq!(batch.weights, None);
    }

    #[test]
    fn neither_threads_nor_the_order_of_asking_change_a_batch() {
        let data = Drawn(50);
        let batches = Batches::new(&data, 8, 3, Order::Shuffled).unwrap();
        let forwards: Vec<Batch> = (0..21).map(|step| batches.batch(step).unwrap()).collect();
        for threads in [1, 2, 8] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let backwards: Vec<Batch> = pool.install(|| (0..21).rev().map(|s| batches.batch(s).unwrap()).collect());
            assert!(forwards.iter().eq(backwards.iter().rev()));
            let at_once: Vec<Batch> =
                pool.install(|| (0..21).into_par_iter().map(|step| batches.batch(step).unwrap()).collect());
            assert_eq!(forwards, at_once);
        }
        let other = Batches::new(&data, 8, 4, Order::Shuffled).unwrap().batch(0).unwrap();
        assert_ne!(forwards[0].indices, other.indices);
    }

    #[test]
    fn values_keep_their_shape_and_weights_come_along() {
        let y = ArrayD::from_shape_fn(IxDyn(&[3, 2, 2]), |at| (at[0] * 4 + at[1] * 2 + at[2]) as f32);
        let data = ArraySet::new(ArrayD::zeros(IxDyn(&[3, 1])), y.clone()).unwrap();
        let data = data.weights(vec![1.0, 1.0, 0.5]).unwrap();
        let batches = Batches::new(&data, 2, 1, Order::InOrder).unwrap();
        let first = batches.batch(0).unwrap();
        assert_eq!(first.target, Target::Values(y.slice_axis(ndarray::Axis(0), (0..2).into()).to_owned()));
        assert_eq!((first.weights, batches.batch(1).unwrap().weights), (None, Some(vec![0.5])));
    }

    #[test]
    fn what_makes_no_batch_is_an_error() {
        assert!(Batches::new(&Drawn(5), 0, 1, Order::InOrder).is_err());
        assert!(Batches::new(&Drawn(0), 1, 1, Order::InOrder).is_err());
        let hollow = ArraySet::new(ArrayD::zeros(IxDyn(&[2, 0])), vec![0, 1]).unwrap();
        assert!(Batches::new(&hollow, 1, 1, Order::InOrder).is_err());
        let data = Drawn(5);
        let all = Batches::new(&data, usize::MAX, 1, Order::InOrder).unwrap();
        assert_eq!((all.steps_per_pass(), all.batch(u64::MAX).unwrap().indices.len()), (1, 5));
    }
}
