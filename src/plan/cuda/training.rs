//! Training steps on a GPU: one graph for each size of batch, over weights that stay there.

use super::layout::{Layout, assign};
use super::pass::{Draws, Kept, Pass, Settings, Way, scratch};
use super::tables::{GROUP, Input, Prepared, Recipe, Tables};
use super::{Arena, MOST, expect_countable, expect_known};
use crate::data::Pictures;
use crate::error::{Error, Result};
use crate::kernels::cuda::augment::{self, Fill};
use crate::kernels::cuda::loss::{LOSS_IS_NOT_FINITE, LossKind, loss};
use crate::kernels::cuda::update::Rule;
use crate::kernels::cuda::{Buffer, Gpu, Graph, Moment, Span, activation, batch_norm, reduce, update};
use crate::layers::{Chain, Layer};
use crate::losses::Formula;
use crate::plan::fuse::{Program, Purpose, Step, Value};
use crate::plan::memory::Memory;
use crate::plan::place::Place;
use ndarray::ArrayD;
use std::collections::HashMap;
use std::sync::Arc;

/// The way forward and back, and the update, of the first layers of a chain.
#[derive(Debug)]
pub(crate) struct CudaTraining {
    gpu: Arc<Gpu>,
    program: Program,
    memory: Memory,
    formula: Formula,
    threshold: f32,
    rule: Rule,
    arena: Arena,
    x: Buffer<f32>,
    kept: Vec<Kept>,
    settings: Vec<Settings>,
    scratch: Buffer<f32>,
    tables: Tables,
    dropouts: Vec<Place>,
    pictures: Option<Album>,
    parameters: Layout,
    theta: Buffer<f32>,
    gradients: Buffer<f32>,
    /// The optimizer's moments, by their names.
    moments: Vec<(&'static str, Buffer<f32>)>,
    average: Option<Buffer<f32>>,
    /// Σ g²
    norm: Buffer<f64>,
    state: Layout,
    moving: Buffer<f32>,
    /// For each size of batch that was met: none after the first time.
    graphs: HashMap<usize, Option<Graph>>,
}

/// Pictures that lie on the device, and what holds for all samples that are made of them.
#[derive(Debug)]
struct Album {
    bytes: Buffer<u8>,
    /// [H, W, C]
    shape: [usize; 3],
    fill: Fill,
    rescale: f32,
}

impl Album {
    fn new(gpu: &Gpu, pictures: &Pictures<'_>) -> Result<Self> {
        let Pictures { bytes, shape, rescale, augmentation, .. } = pictures;
        Ok(Self { bytes: Buffer::of(gpu, bytes)?, shape: *shape, fill: augmentation.fill(), rescale: *rescale })
    }
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
        let dropouts: Vec<_> = program.nodes.iter().filter(|node| matches!(node.step, Step::Dropout(_))).collect();
        let dropouts: Vec<_> = dropouts.into_iter().map(|node| node.place.clone()).collect();
        let outputs = program.size(program.output);
        expect_countable(&program, batch)?;
        // Pictures are counted in 16 bits, and the tables hold groups of batches.
        let most = if pictures.is_some() { u16::MAX.into() } else { MOST / GROUP / outputs.max(1) };
        if batch > most {
            return Err(Error::argument("plan", "batch", format!("at most {most} on a GPU"), batch));
        }
        let held = |pictures| Album::new(gpu, pictures);
        let moments = setup.moments.iter().map(|&name| Ok((name, parameters.zeros(gpu)?)));
        let room = scratch(&program, batch).max(reduce::check_scratch(parameters.len));
        Ok(Self {
            arena: Arena::new(gpu, &memory, batch)?,
            x: Buffer::zeros(gpu, batch * program.size(0))?,
            kept: program.nodes.iter().map(|node| Kept::new(gpu, node, batch)).collect::<Result<_>>()?,
            settings: program.nodes.iter().map(|node| Settings::of(node, chain)).collect(),
            scratch: Buffer::zeros(gpu, room)?,
            tables: Tables::new(gpu, batch, outputs, dropouts.len(), pictures.is_some())?,
            pictures: pictures.map(held).transpose()?,
            theta: parameters.zeros(gpu)?,
            gradients: parameters.zeros(gpu)?,
            moments: moments.collect::<Result<_>>()?,
            average: setup.average.then(|| parameters.zeros(gpu)).transpose()?,
            norm: Buffer::zeros(gpu, 1)?,
            moving: state.zeros(gpu)?,
            graphs: HashMap::new(),
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

    /// Gives the device the network's weights and state.
    pub fn write_network(&self, chain: &Chain<f32>) -> Result<()> {
        let views = chain.parameters();
        self.parameters.write(&self.gpu, &self.theta, views.iter().map(|(_, view)| view.view()))?;
        let views = chain.state();
        self.state.write(&self.gpu, &self.moving, views.iter().map(|(_, view)| view.view()))
    }

    /// Gives the network the device's weights and state. Nothing is changed where the device fails.
    pub fn read_network(&self, chain: &mut Chain<f32>) -> Result<()> {
        let parameters = self.parameters.read(&self.gpu, &self.theta)?;
        let state = self.state.read(&self.gpu, &self.moving)?;
        assign(chain.parameters_mut(), &parameters);
        assign(chain.state_mut(), &state);
        Ok(())
    }

    /// Gives the device an optimizer's moments, each as `parameter.moment`; those that are missing are 0.
    pub fn write_moments(&self, state: &[(String, ArrayD<f32>)]) -> Result<()> {
        self.moments.iter().try_for_each(|(moment, buffer)| self.write_named(state, moment, buffer))
    }

    /// The moments, as an optimizer restores them.
    pub fn read_moments(&self) -> Result<Vec<(String, ArrayD<f32>)>> {
        let read = self.moments.iter().map(|(moment, buffer)| self.read_named(moment, buffer));
        Ok(read.collect::<Result<Vec<_>>>()?.concat())
    }

    /// Gives the device the averaged weights, each as `parameter.ema`.
    pub fn write_average(&self, state: &[(String, ArrayD<f32>)]) -> Result<()> {
        self.average.iter().try_for_each(|buffer| self.write_named(state, AVERAGE, buffer))
    }

    /// The averaged weights, as an average restores them.
    pub fn read_average(&self) -> Result<Vec<(String, ArrayD<f32>)>> {
        self.average.as_ref().map_or(Ok(Vec::new()), |buffer| self.read_named(AVERAGE, buffer))
    }

    fn write_named(&self, state: &[(String, ArrayD<f32>)], suffix: &str, buffer: &Buffer<f32>) -> Result<()> {
        let of = |(name, shape): &(String, Vec<usize>)| {
            let name = format!("{name}.{suffix}");
            let found = state.iter().find(|(known, _)| *known == name);
            found.map_or_else(|| ArrayD::zeros(shape.as_slice()), |(_, tensor)| tensor.clone())
        };
        let tensors: Vec<_> = self.parameters.tensors().iter().map(of).collect();
        self.parameters.write(&self.gpu, buffer, tensors.iter().map(|tensor| tensor.view()))
    }

    fn read_named(&self, suffix: &str, buffer: &Buffer<f32>) -> Result<Vec<(String, ArrayD<f32>)>> {
        let names = self.parameters.tensors().iter().map(|(name, _)| format!("{name}.{suffix}"));
        Ok(names.zip(self.parameters.read(&self.gpu, buffer)?).collect())
    }

    /// Begins a group of steps of as many samples each. The device works on when this returns.
    pub fn begin(&mut self, group: &[Prepared], recipes: &[Recipe]) -> Result<()> {
        let gpu = self.gpu.clone();
        self.tables.write(&gpu, group, recipes, &self.dropouts)?;
        for step in group {
            let batch = step.samples();
            if let Input::Values(x) = &step.input {
                let x = x.as_slice().expect("batches are in standard layout");
                self.x.span().part(..x.len()).write(&gpu, x)?;
            }
            match self.graphs.remove(&batch) {
                // The first time kernels are loaded, which must not happen while they are captured.
                None => {
                    self.step(batch)?;
                    self.graphs.insert(batch, None);
                }
                Some(graph) => {
                    let mut graph = graph.map_or_else(|| Graph::capture(&gpu, || self.step(batch)), Ok)?;
                    graph.launch(&gpu)?;
                    self.graphs.insert(batch, Some(graph));
                }
            }
        }
        Ok(())
    }

    /// Does as many steps as a group has once more, all of `batch` samples: the milliseconds of one, by the device's clock.
    pub fn replay(&mut self, batch: usize) -> Result<f64> {
        let gpu = self.gpu.clone();
        self.tables.control.span().write(&gpu, &[0; 4])?;
        let graph = self.graphs.get_mut(&batch).and_then(Option::as_mut).expect("a group of such steps was done");
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
    pub fn read_gradients(&self) -> Result<Vec<ArrayD<f32>>> {
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

    /// Launches one step, from the samples to the new weights.
    fn step(&self, batch: usize) -> Result<()> {
        let (gpu, control) = (&*self.gpu, self.tables.control.span());
        if let Some(Album { bytes, shape: [h, w, c], fill, rescale }) = &self.pictures {
            let (rows, x) = (self.tables.rows.span().part(..GROUP * batch), self.value(0, batch));
            augment::augment(gpu, bytes.span(), rows, control, [batch, *h, *w, *c], *fill, *rescale, x)?;
        }
        let nodes = 0..self.program.nodes.len();
        nodes.clone().try_for_each(|j| self.forward(j, batch))?;
        self.loss(batch)?;
        nodes.rev().try_for_each(|j| self.backward(j, batch))?;
        reduce::check(gpu, self.gradients.span(), control, self.norm.span(), self.scratch.span())?;
        let moment = |index: usize| self.moments.get(index).map_or(Span::none(), |(_, buffer)| buffer.span());
        let average = self.average.as_ref().map_or(Span::none(), Buffer::span);
        let (theta, gradients, decayed) = (self.theta.span(), self.gradients.span(), self.parameters.decayed);
        let moments = [moment(0), moment(1)];
        let recipes = self.tables.recipes.span();
        let norm = self.norm.span();
        update::apply(gpu, self.rule, recipes, control, decayed, theta, gradients, moments, average, norm)?;
        self.follow()?;
        update::advance(gpu, control)
    }

    fn loss(&self, batch: usize) -> Result<()> {
        let output = self.program.output;
        let kind = match self.formula {
            Formula::Binary { from_logits: true } => LossKind::BinaryFromLogits,
            Formula::Binary { from_logits: false } => LossKind::Binary,
            Formula::Cross { from_logits: true } => LossKind::CrossFromLogits,
            Formula::Cross { from_logits: false } => LossKind::Cross,
            Formula::Squared => LossKind::MeanSquared,
        };
        let (shape, targets) = ([batch, self.program.size(output)], self.tables.targets(batch, self.threshold));
        let (z, dz) = (self.value(output, batch), self.gradient(output, batch).expect(WRITTEN));
        loss(&self.gpu, kind, shape, z, &targets, self.tables.control.span(), dz, self.tables.log.span())
    }

    /// Moves the statistics of all normalisations, unless the step was given up.
    fn follow(&self) -> Result<()> {
        let (gpu, control) = (&*self.gpu, self.tables.control.span());
        for (j, node) in self.program.nodes.iter().enumerate() {
            for (number, new) in node.state.clone().zip(&self.kept[j].statistics) {
                let moving = self.state.of(&self.moving, number);
                batch_norm::follow(gpu, control, moving, new.span(), self.settings[j].momentum)?;
            }
        }
        Ok(())
    }

    fn forward(&self, j: usize, batch: usize) -> Result<()> {
        let node = &self.program.nodes[j];
        let other = match node.step {
            Step::Add { other, .. } => self.value(other, batch),
            _ => Span::none(),
        };
        let numbers = [self.value(node.input, batch), other, self.value(node.output, batch)];
        self.pass(j, batch).forward(numbers, &self.kept[j], Some(self.draws(j)), [None; 2])
    }

    fn backward(&self, j: usize, batch: usize) -> Result<()> {
        let node = &self.program.nodes[j];
        let dy = self.gradient(node.output, batch).expect(WRITTEN);
        let len = batch * self.program.size(node.input);
        let share = self.memory.share(j).map(|buffer| self.arena.span(buffer, len));
        let way = Way {
            x: if node.step.needs_input() { self.value(node.input, batch) } else { Span::none() },
            y: if node.step.needs_output() { self.value(node.output, batch) } else { Span::none() },
            dy,
            dx: share.or(self.gradient(node.input, batch)),
            parameters: self.tensors(j, &self.gradients),
        };
        self.pass(j, batch).backward(way, &self.kept[j], self.draws(j))?;
        if let (Some(share), Some(dx)) = (share, self.gradient(node.input, batch)) {
            activation::add_into(&self.gpu, dx, share)?;
        }
        match node.step {
            Step::Add { other, .. } => self.give(j, other, dy, batch),
            _ => Ok(()),
        }
    }

    /// The other value of a sum gets the same gradient as the first.
    fn give(&self, j: usize, other: Value, dy: Span<'_, f32>, batch: usize) -> Result<()> {
        let Some(to) = self.gradient(other, batch) else { return Ok(()) };
        match self.program.last_reader(other) == j && other != self.program.nodes[j].input {
            true => activation::copy(&self.gpu, dy, to),
            false => activation::add_into(&self.gpu, to, dy),
        }
    }

    fn pass(&self, j: usize, batch: usize) -> Pass<'_> {
        Pass {
            gpu: &self.gpu,
            node: &self.program.nodes[j],
            batch,
            settings: self.settings[j],
            scratch: self.scratch.span(),
            parameters: self.tensors(j, &self.theta),
        }
    }

    /// The tensors of a step's layer in a buffer of all.
    fn tensors<'a>(&'a self, j: usize, buffer: &'a Buffer<f32>) -> [Option<Span<'a, f32>>; 2] {
        let mut numbers = self.program.nodes[j].parameters.clone();
        [(); 2].map(|()| numbers.next().map(|number| self.parameters.of(buffer, number)))
    }

    fn draws(&self, j: usize) -> Draws<'_> {
        let before = |node: &&crate::plan::fuse::Node| matches!(node.step, Step::Dropout(_));
        let number = self.program.nodes[..j].iter().filter(before).count();
        let (keys, control) = (self.tables.keys.span(), self.tables.control.span());
        Draws { keys, stride: self.dropouts.len(), number, control }
    }

    fn value(&self, value: Value, batch: usize) -> Span<'_, f32> {
        let len = batch * self.program.size(value);
        match self.memory.value(value) {
            Some(buffer) => self.arena.span(buffer, len),
            None => self.x.span().part(..len),
        }
    }

    fn gradient(&self, value: Value, batch: usize) -> Option<Span<'_, f32>> {
        self.memory.gradient(value).map(|buffer| self.arena.span(buffer, batch * self.program.size(value)))
    }
}

/// How `Ema` ends the names of its state.
const AVERAGE: &str = "ema";

const WRITTEN: &str = "every value but the input has a buffer, and in training its gradient too";
