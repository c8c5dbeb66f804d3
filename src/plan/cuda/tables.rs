//! What differs from step to step, laid down on the device for a group of steps: then the host need not say anything
//! between them.

use crate::error::Result;
use crate::kernels::cuda::augment::Row;
use crate::kernels::cuda::loss::Targets;
use crate::kernels::cuda::{Buffer, Gpu};
use crate::losses::Rows;
use crate::plan::place::Place;
use crate::random::Key;
use ndarray::{CowArray, IxDyn};

/// Steps in a group, at most. Their losses come back together.
pub(crate) const GROUP: usize = 64;

/// A step whose batch is chosen.
#[derive(Debug, Clone)]
pub(crate) struct Prepared<'a> {
    pub input: Input<'a>,
    pub rows: Rows,
    /// From which Dropout draws.
    pub key: Key,
}

/// Where a step's samples come from.
#[derive(Debug, Clone)]
pub(crate) enum Input<'a> {
    /// From the host: x [N, …], in standard layout.
    Values(CowArray<'a, f32, IxDyn>),
    /// From pictures that lie on the device: which, and how they are changed.
    Pictures(&'a [Row]),
}

impl Prepared<'_> {
    /// N
    pub fn samples(&self) -> usize {
        self.rows.weights.len()
    }

    /// The samples' pictures, where they lie on the device.
    fn pictures(&self) -> &[Row] {
        match &self.input {
            Input::Pictures(rows) => rows,
            Input::Values(_) => &[],
        }
    }
}

/// Numbers of an optimizer's step: see `update`.
pub(super) type Recipe = [f32; 8];

/// Tables with a row for each step of a group.
#[derive(Debug)]
pub(super) struct Tables {
    /// The step, counted within the group, and whether one was given up.
    pub control: Buffer<u32>,
    pub recipes: Buffer<f32>,
    pub keys: Buffer<u64>,
    pub rows: Buffer<Row>,
    values: Buffer<f32>,
    weights: Buffer<f32>,
    labels: Buffer<i32>,
    scale: Buffer<f32>,
    /// Loss, and number of right answers.
    pub log: Buffer<f32>,
    /// K
    outputs: usize,
}

impl Tables {
    /// For batches of `batch` samples with K outputs, and so many dropouts; `pictures` where they lie on the device.
    pub fn new(gpu: &Gpu, batch: usize, outputs: usize, dropouts: usize, pictures: bool) -> Result<Self> {
        let samples = GROUP * batch;
        Ok(Self {
            control: Buffer::zeros(gpu, 4)?,
            recipes: Buffer::zeros(gpu, GROUP * size_of::<Recipe>() / size_of::<f32>())?,
            keys: Buffer::zeros(gpu, GROUP * dropouts)?,
            rows: Buffer::zeros(gpu, if pictures { samples } else { 0 })?,
            values: Buffer::zeros(gpu, samples * outputs)?,
            weights: Buffer::zeros(gpu, samples)?,
            labels: Buffer::zeros(gpu, samples)?,
            scale: Buffer::zeros(gpu, GROUP)?,
            log: Buffer::zeros(gpu, 2 * GROUP)?,
            outputs,
        })
    }

    /// Lays down a group of steps, all of as many samples.
    pub fn write(&self, gpu: &Gpu, group: &[Prepared<'_>], recipes: &[Recipe], dropouts: &[Place]) -> Result<()> {
        let write = |buffer: &Buffer<f32>, numbers: Vec<f32>| buffer.span().part(..numbers.len()).write(gpu, &numbers);
        write(&self.recipes, recipes.concat())?;
        write(&self.values, group.iter().flat_map(|step| step.rows.values.iter().copied()).collect())?;
        write(&self.weights, group.iter().flat_map(|step| step.rows.weights.iter().copied()).collect())?;
        write(&self.scale, group.iter().map(|step| 1.0 / step.rows.count.max(1) as f32).collect())?;
        let labels: Vec<_> = group.iter().flat_map(|step| step.rows.labels.iter().copied()).collect();
        self.labels.span().part(..labels.len()).write(gpu, &labels)?;
        let keys: Vec<_> =
            group.iter().flat_map(|step| dropouts.iter().map(|place| place.key(step.key).number())).collect();
        self.keys.span().part(..keys.len()).write(gpu, &keys)?;
        let pictures: Vec<_> = group.iter().flat_map(|step| step.pictures().iter().copied()).collect();
        self.rows.span().part(..pictures.len()).write(gpu, &pictures)?;
        self.control.span().write(gpu, &[0; 4])
    }

    /// The targets of groups of `batch` samples a step.
    pub fn targets(&self, batch: usize, threshold: f32) -> Targets<'_> {
        let samples = GROUP * batch;
        Targets {
            values: self.values.span().part(..samples * self.outputs),
            weights: self.weights.span().part(..samples),
            labels: self.labels.span().part(..samples),
            scale: self.scale.span(),
            threshold,
        }
    }
}
