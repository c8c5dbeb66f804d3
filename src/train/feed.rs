//! What a training reads: batches, alone or in groups that a device works off without asking.

use crate::data::{Batch, Batches, Dataset, Order};
#[cfg(feature = "cuda")]
use crate::data::{ImageSet, Pictures};
use crate::error::Result;
#[cfg(feature = "cuda")]
use crate::kernels::cuda::augment::Row;
#[cfg(feature = "cuda")]
use ndarray::ArrayD;
use rayon::prelude::*;

/// A batch, read or only chosen.
pub(super) struct Drawn {
    /// Without x, where `pictures` are there.
    pub batch: Batch,
    /// Which pictures on the device its samples are, and how they are changed.
    #[cfg(feature = "cuda")]
    pub pictures: Option<Vec<Row>>,
}

/// The batches of a data set, numbered by the step.
pub(super) struct Feed<'d> {
    batches: Batches<'d>,
    /// Where samples are made on the device, the pictures that they are made of.
    #[cfg(feature = "cuda")]
    pictures: Option<Pictures<'d>>,
    /// Steps that are done without asking.
    together: usize,
}

impl<'d> Feed<'d> {
    pub fn new(data: &'d dyn Dataset, batch_size: usize, seed: u64, order: Order) -> Result<Self> {
        Ok(Self {
            batches: Batches::new(data, batch_size, seed, order)?,
            #[cfg(feature = "cuda")]
            pictures: None,
            together: 1,
        })
    }

    pub fn steps_per_pass(&self) -> usize {
        self.batches.steps_per_pass()
    }

    /// The batch of one step, or of as many that follow each other as may be done together, have as many samples, and
    /// are not more than `most`.
    pub fn group(&self, step: u64, most: usize) -> Result<Vec<Drawn>> {
        let samples = self.batches.size(step);
        let steps = (step..).take(self.together.min(most)).take_while(|&step| self.batches.size(step) == samples);
        let steps: Vec<_> = steps.collect();
        // Collected before they are looked at, so that of several errors always the first is told.
        steps.into_par_iter().map(|step| self.one(step)).collect::<Vec<_>>().into_iter().collect()
    }

    #[cfg(not(feature = "cuda"))]
    fn one(&self, step: u64) -> Result<Drawn> {
        Ok(Drawn { batch: self.batches.batch(step)? })
    }
}

#[cfg(feature = "cuda")]
impl<'d> Feed<'d> {
    fn one(&self, step: u64) -> Result<Drawn> {
        let Some(pictures) = &self.pictures else {
            return Ok(Drawn { batch: self.batches.batch(step)?, pictures: None });
        };
        let (indices, key) = self.batches.drawn(step);
        let changes = indices.iter().map(|&index| pictures.row(index, key.at(index as u64))).collect();
        Ok(Drawn { batch: self.batches.labelled(indices, ArrayD::zeros(vec![0]))?, pictures: Some(changes) })
    }

    /// For a device that does groups of steps.
    pub fn for_device(&mut self, data: &'d dyn Dataset, together: usize) -> Option<&Pictures<'d>> {
        let any: &dyn std::any::Any = data;
        self.together = together;
        self.pictures = any.downcast_ref::<ImageSet>().and_then(ImageSet::pictures);
        self.pictures.as_ref()
    }
}
