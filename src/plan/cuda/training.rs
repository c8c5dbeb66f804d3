//! Training steps on a GPU: one graph for each size of batch, over weights that stay there.

use super::album::Album;
use super::graphs::Graphs;
use super::layout::Layout;
use super::moving::may_wait;
use super::pass::{Kept, Settings, scratch};
use super::tables::{GROUP, Input, Prepared, Recipe, Tables};
use super::{Arena, MOST, expect_countable, expect_known};
use crate::data::Pictures;
use crate::error::{Error, Result};
use crate::kernels::cuda::loss::LOSS_IS_NOT_FINITE;
use crate::kernels::cuda::reduce::UNSURE;
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
    /// The steps whose weights may move while their gradient is made.
    pub(super) may_wait: Vec<usize>,
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
    /// Whether the norm of all gradients is clipped: then every one is written down before the first weight moves.
    pub clips: bool,
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
        let may_wait = if setup.clips { Vec::new() } else { may_wait(&program) };
        let weights: Vec<_> = may_wait.iter().map(|&j| program.nodes[j].parameters.start).collect();
        let (parameters, state) = (Layout::new(&chain.parameters(), &weights), Layout::new(&chain.state(), &[]));
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
        let factors = may_wait.iter().flat_map(|&j| [program.nodes[j].input, program.nodes[j].output]);
        let looked_at = [parameters.len].into_iter().chain(factors.map(|value| batch * program.size(value)));
        let room = scratch(&program, batch).max(reduce::check_scratch(looked_at));
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
            may_wait,
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
        self.tables.write(&self.gpu, group, recipes, &self.dropouts)?;
        group.iter().try_for_each(|step| self.launch(step))
    }

    fn launch(&mut self, step: &Prepared<'_>) -> Result<()> {
        let (gpu, batch) = (self.gpu.clone(), step.samples());
        self.write_input(step)?;
        let mut graphs = take(&mut self.graphs);
        let done = graphs.run(&gpu, batch, || self.step(batch, self.waiting(batch)));
        self.graphs = graphs;
        done
    }

    fn write_input(&self, step: &Prepared<'_>) -> Result<()> {
        let Input::Values(x) = &step.input else { return Ok(()) };
        let x = x.as_slice().expect("batches are in standard layout");
        self.x.span().part(..x.len()).write(&self.gpu, x)
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

    /// Waits for the group that was begun last.
    ///
    /// A step is given up where a gradient that nobody writes down may not be finite. It is done again here, with all
    /// gradients written and looked at before the first weight moves, and those behind it follow.
    pub fn finish(&mut self, group: &[Prepared<'_>]) -> Result<Logged> {
        loop {
            let control = self.tables.control.read(&self.gpu)?;
            let done = (control[0] as usize).min(group.len());
            if control[1] != UNSURE {
                return self.logged(group.len(), done, &control);
            }
            self.tables.control.span().write(&self.gpu, &[control[0], 0, 0, 0])?;
            self.write_input(&group[done])?;
            self.step(group[done].samples(), &[])?;
            group[done + 1..].iter().try_for_each(|step| self.launch(step))?;
        }
    }

    fn logged(&self, steps: usize, done: usize, control: &[u32]) -> Result<Logged> {
        let log = self.tables.log.span().part(..2 * steps).read(&self.gpu)?;
        let (log, _) = log.as_chunks::<2>();
        let halted = match control[1] {
            0 => None,
            LOSS_IS_NOT_FINITE => Some(("the loss".to_string(), f64::from(log[done][0]))),
            place => {
                let name = self.parameters.name_at(place as usize - 1);
                Some((format!("the gradient of {name}"), f64::from(f32::from_bits(control[2]))))
            }
        };
        Ok(Logged { steps: log[..done].to_vec(), halted })
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
