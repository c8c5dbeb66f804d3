//! Training steps on a GPU: one graph for each size of batch, over weights that stay there.

use super::album::Album;
use super::graphs::Graphs;
use super::layout::Layout;
use super::pass::{Kept, Settings, scratch};
use super::tables::{GROUP, Input, Prepared, Recipe, Tables};
use super::{Arena, MOST, expect_countable, expect_known};
use crate::data::Pictures;
use crate::error::{Error, Result};
use crate::kernels::cuda::loss::LOSS_IS_NOT_FINITE;
use crate::kernels::cuda::update::Rule;
use crate::kernels::cuda::{Buffer, Gpu, Moment, reduce};
use crate::layers::{Chain, Layer};
use crate::losses::Formula;
use crate::plan::fuse::{Program, Purpose, Step};
use crate::plan::memory::Memory;
use crate::plan::place::Place;
use std::mem::take;
use std::sync::Arc;

/// The way forward and back, and the update, of the first layers of a chain.
#[derive(Debug)]
pub(crate) struct CudaTraining {
    pub(super) gpu: Arc<Gpu>,
    pub(super) program: Program,
    pub(super) memory: Memory,
    pub(super) formula: Formula,
    pub(super) threshold: f32,
    pub(super) rule: Rule,
    pub(super) arena: Arena,
    pub(super) x: Buffer<f32>,
    pub(super) kept: Vec<Kept>,
    pub(super) settings: Vec<Settings>,
    pub(super) scratch: Buffer<f32>,
    pub(super) tables: Tables,
    pub(super) dropouts: Vec<Place>,
    pub(super) pictures: Option<Album>,
    pub(super) parameters: Layout,
    pub(super) theta: Buffer<f32>,
    pub(super) gradients: Buffer<f32>,
    /// The optimizer's moments, by their names.
    pub(super) moments: Vec<(&'static str, Buffer<f32>)>,
    pub(super) average: Option<Buffer<f32>>,
    /// Σ g²
    pub(super) norm: Buffer<f64>,
    pub(super) state: Layout,
    pub(super) moving: Buffer<f32>,
    pub(super) graphs: Graphs,
}

/// What a group of steps came to.
#[derive(Debug)]
pub(crate) struct Logged {
    /// Loss and number of right answers of each step that was done.
    pub steps: Vec<[f32; 2]>,
    /// What was not finite in the step after them, if that was so: nothing was changed since then.
    pub halted: Option<(String, f64)>,
}

/// What a training is, apart from its network.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Setup {
    pub formula: Formula,
    /// What a single output has to be above to be an answer for class 1.
    pub threshold: f32,
    pub rule: Rule,
    pub moments: &'static [&'static str],
    pub average: bool,
}

impl CudaTraining {
    /// For the first `count` layers of a built chain, and batches of up to `batch` samples. With `pictures` they lie on
    /// the device, and every batch is made of them there.
    pub fn new(
        gpu: &Arc<Gpu>,
        (chain, count, input): (&Chain<f32>, usize, &[usize]),
        batch: usize,
        setup: Setup,
        pictures: Option<&Pictures<'_>>,
    ) -> Result<Self> {
        let program = Program::new(chain, count, input, Purpose::Training)?;
        expect_known(gpu, &program)?;
        let memory = Memory::new(&program, Purpose::Training);
        let (parameters, state) = (Layout::new(&chain.parameters()), Layout::new(&chain.state()));
        let dropouts = program.nodes.iter().filter(|node| matches!(node.step, Step::Dropout(_)));
        let dropouts: Vec<_> = dropouts.map(|node| node.place.clone()).collect();
        let outputs = program.size(program.output);
        expect_countable(&program, batch)?;
        // Pictures are counted in 16 bits, and the tables hold groups of batches.
        let most = (MOST / GROUP / outputs.max(1)).min(if pictures.is_some() { u16::MAX.into() } else { MOST });
        if batch > most {
            return Err(Error::argument("plan", "batch", format!("at most {most} on a GPU"), batch));
        }
        let moments = setup.moments.iter().map(|&name| Ok((name, parameters.zeros(gpu)?)));
        let room = scratch(&program, batch).max(reduce::check_scratch(parameters.len));
        Ok(Self {
            arena: Arena::new(gpu, &memory, batch)?,
            x: Buffer::zeros(gpu, batch * program.size(0))?,
            kept: program.nodes.iter().map(|node| Kept::new(gpu, node, batch)).collect::<Result<_>>()?,
            settings: program.nodes.iter().map(|node| Settings::of(node, chain)).collect(),
            scratch: Buffer::zeros(gpu, room)?,
            tables: Tables::new(gpu, batch, outputs, dropouts.len(), pictures.is_some())?,
            pictures: pictures.map(|pictures| Album::new(gpu, pictures)).transpose()?,
            theta: parameters.zeros(gpu)?,
            gradients: parameters.zeros(gpu)?,
            moments: moments.collect::<Result<_>>()?,
            average: setup.average.then(|| parameters.zeros(gpu)).transpose()?,
            norm: Buffer::zeros(gpu, 1)?,
            moving: state.zeros(gpu)?,
            graphs: Graphs::default(),
            formula: setup.formula,
            threshold: setup.threshold,
            rule: setup.rule,
            gpu: gpu.clone(),
            program,
            memory,
            dropouts,
            parameters,
            state,
        })
    }

    /// Refuses a chain with a layer that has no kernel.
    pub fn expect_known(gpu: &Gpu, (chain, count, input): (&Chain<f32>, usize, &[usize])) -> Result<()> {
        expect_known(gpu, &Program::new(chain, count, input, Purpose::Training)?)
    }

    /// Begins a group of steps of as many samples each. The device works on when this returns.
    pub fn begin(&mut self, group: &[Prepared<'_>], recipes: &[Recipe]) -> Result<()> {
        let gpu = self.gpu.clone();
        self.tables.write(&gpu, group, recipes, &self.dropouts)?;
        for step in group {
            let batch = step.samples();
            if let Input::Values(x) = &step.input {
                let x = x.as_slice().expect("batches are in standard layout");
                self.x.span().part(..x.len()).write(&gpu, x)?;
            }
            let mut graphs = take(&mut self.graphs);
            let done = graphs.run(&gpu, batch, || self.step(batch));
            self.graphs = graphs;
            done?;
        }
        Ok(())
    }

    /// Does as many steps as a group has once more, all of `batch` samples: the milliseconds of one, by the device's clock.
    pub fn replay(&mut self, batch: usize) -> Result<f64> {
        let gpu = self.gpu.clone();
        self.tables.control.span().write(&gpu, &[0; 4])?;
        let graph = self.graphs.of(batch).expect("a group of such steps was done");
        let begun = Moment::now(&gpu)?;
        (0..GROUP).try_for_each(|_| graph.launch(&gpu))?;
        let ended = Moment::now(&gpu)?;
        gpu.finish()?;
        Ok(begun.until(&gpu, &ended)? / GROUP as f64)
    }

    /// Waits for the group of so many steps that was begun last.
    pub fn finish(&self, steps: usize) -> Result<Logged> {
        let control = self.tables.control.read(&self.gpu)?;
        let log = self.tables.log.span().part(..2 * steps).read(&self.gpu)?;
        let (log, _) = log.as_chunks::<2>();
        let done = (control[0] as usize).min(steps);
        let halted = match control[1] {
            0 => None,
            LOSS_IS_NOT_FINITE => Some(("the loss".to_string(), f64::from(log[done][0]))),
            place => Some(self.not_finite(place as usize - 1)?),
        };
        Ok(Logged { steps: log[..done].to_vec(), halted })
    }

    /// The name of the gradient that holds the number at `place`, and that number.
    fn not_finite(&self, place: usize) -> Result<(String, f64)> {
        let name = self.parameters.name_at(place);
        let number = self.gradients.span().part(place..place + 1).read(&self.gpu)?[0];
        Ok((format!("the gradient of {name}"), f64::from(number)))
    }

    /// The gradients of the latest step.
    #[cfg(test)]
    pub fn read_gradients(&self) -> Result<Vec<ndarray::ArrayD<f32>>> {
        self.parameters.read(&self.gpu, &self.gradients)
    }

    /// Spoils all that a step has to write before it reads it.
    #[cfg(test)]
    pub fn poison(&self) {
        let statistics = self.kept.iter().flat_map(|kept| &kept.statistics);
        for buffer in [&self.arena.numbers, &self.x, &self.scratch].into_iter().chain(statistics) {
            let span = buffer.span();
            span.write(&self.gpu, &vec![f32::NAN; span.len()]).expect("the device has it");
        }
    }
}
