//! Inference on a GPU: one graph for each size of batch, over weights that are written once.

use super::graphs::Graphs;
use super::pass::{Kept, Pass, Settings, scratch};
use super::{Arena, expect_countable, expect_known};
use crate::error::Result;
use crate::kernels::cuda::{Buffer, Gpu, Span};
use crate::layers::Chain;
use crate::plan::Forward;
use crate::plan::cpu::Folded;
use crate::plan::fuse::{Node, Program, Purpose, Step, Value};
use crate::plan::in_order;
use crate::plan::memory::Memory;
use ndarray::ArrayViewD;
use std::mem::take;
use std::sync::Arc;

/// Samples that go through the steps together, at most.
const TOGETHER: usize = 256;

/// The way forward through the first layers of a chain as they were when it was made.
#[derive(Debug)]
pub(crate) struct CudaInference {
    gpu: Arc<Gpu>,
    program: Program,
    memory: Memory,
    steps: Vec<OnDevice>,
    /// Made for the first batch.
    room: Option<Room>,
    /// A copy of an input that is not in standard layout.
    input: Vec<f32>,
}

/// What a step has on the device.
#[derive(Debug)]
struct OnDevice {
    parameters: Vec<Buffer<f32>>,
    moving: Vec<Buffer<f32>>,
    settings: Settings,
}

/// Buffers for batches up to a size, and the graphs over them.
#[derive(Debug)]
struct Room {
    batch: usize,
    x: Buffer<f32>,
    arena: Arena,
    kept: Vec<Kept>,
    scratch: Buffer<f32>,
    graphs: Graphs,
}

impl CudaInference {
    /// For the first `count` layers of a built chain.
    pub fn new(gpu: &Arc<Gpu>, chain: &Chain<f32>, count: usize, input: &[usize]) -> Result<Self> {
        let program = Program::new(chain, count, input, Purpose::Inference)?;
        expect_known(gpu, &program)?;
        let memory = Memory::new(&program, Purpose::Inference);
        let upload = |(_, view): (String, ArrayViewD<'_, f32>)| {
            Buffer::of(gpu, view.as_standard_layout().as_slice().expect("made standard above"))
        };
        let uploaded = |views: Vec<_>| views.into_iter().map(upload).collect::<Result<Vec<_>>>();
        let on_device = |node: &Node| {
            // The identity of a network without layers stands nowhere.
            let layer = || node.place.of(chain);
            let parameters = match &node.step {
                Step::Conv2D { norm: Some(norm), .. } => {
                    let Folded { weight, bias } = Folded::new(layer(), norm.of(chain))?;
                    vec![Buffer::of(gpu, &weight)?, Buffer::of(gpu, &bias)?]
                }
                Step::Conv2D { .. } | Step::Dense { .. } | Step::BatchNorm { .. } => uploaded(layer().parameters())?,
                _ => Vec::new(),
            };
            let moving = match &node.step {
                Step::BatchNorm { .. } => uploaded(layer().state())?,
                _ => Vec::new(),
            };
            Ok(OnDevice { parameters, moving, settings: Settings::of(node, chain) })
        };
        let steps = program.nodes.iter().map(on_device).collect::<Result<_>>()?;
        Ok(Self { gpu: gpu.clone(), steps, program, memory, room: None, input: Vec::new() })
    }

    fn room(&self, batch: usize) -> Result<Room> {
        let gpu = &*self.gpu;
        expect_countable(&self.program, batch)?;
        Ok(Room {
            batch,
            x: Buffer::zeros(gpu, batch * self.program.size(0))?,
            arena: Arena::new(gpu, &self.memory, batch)?,
            kept: self.program.nodes.iter().map(|node| Kept::new(gpu, node, batch)).collect::<Result<_>>()?,
            scratch: Buffer::zeros(gpu, scratch(&self.program, batch))?,
            graphs: Graphs::default(),
        })
    }

    fn batches(&mut self, x: &[f32], y: &mut [f32]) -> Result<()> {
        let [x_size, y_size] = [0, self.program.output].map(|value| self.program.size(value));
        let batch = (x.len() / x_size).min(TOGETHER);
        let mut room = match self.room.take() {
            Some(room) if room.batch >= batch => room,
            _ => self.room(batch)?,
        };
        for (x, y) in x.chunks(batch * x_size).zip(y.chunks_mut(batch * y_size)) {
            let batch = x.len() / x_size;
            room.x.span().part(..x.len()).write(&self.gpu, x)?;
            let mut graphs = take(&mut room.graphs);
            graphs.run(&self.gpu, batch, || self.forward(&room, batch))?;
            room.graphs = graphs;
            self.value(&room, self.program.output, batch).read_into(&self.gpu, y)?;
        }
        self.room = Some(room);
        Ok(())
    }

    fn forward(&self, room: &Room, batch: usize) -> Result<()> {
        for (j, node) in self.program.nodes.iter().enumerate() {
            let step = &self.steps[j];
            let pass = Pass {
                gpu: &self.gpu,
                node,
                batch,
                settings: step.settings,
                scratch: room.scratch.span(),
                parameters: [step.parameters.first().map(Buffer::span), step.parameters.get(1).map(Buffer::span)],
            };
            let other = node.step.other().map_or(Span::none(), |other| self.value(room, other, batch));
            let numbers = [self.value(room, node.input, batch), other, self.value(room, node.output, batch)];
            let moving = [step.moving.first().map(Buffer::span), step.moving.get(1).map(Buffer::span)];
            pass.forward(numbers, &room.kept[j], None, moving)?;
        }
        Ok(())
    }

    fn value<'a>(&self, room: &'a Room, value: Value, batch: usize) -> Span<'a, f32> {
        let len = batch * self.program.size(value);
        match self.memory.value(value) {
            Some(buffer) => room.arena.span(buffer, len),
            None => room.x.span().part(..len),
        }
    }
}

impl Forward<f32> for CudaInference {
    fn output(&self) -> &[usize] {
        &self.program.values[self.program.output]
    }

    fn run(&mut self, _: &Chain<f32>, x: &ArrayViewD<'_, f32>, y: &mut [f32]) -> Result<()> {
        if x.is_empty() {
            return Ok(());
        }
        let mut copy = take(&mut self.input);
        let result = self.batches(in_order(x, &mut copy), y);
        self.input = copy;
        result
    }
}
