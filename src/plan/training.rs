//! A training step through fused steps, over buffers that are allocated once.

use super::cpu::{Kept, Pass, Way, view, view_mut};
use super::fuse::{Node, Program, Purpose, Value};
use super::memory::{Memory, WRITTEN};
use super::{StepTime, grown, in_order};
use crate::element::Element;
use crate::error::Result;
use crate::kernels::cpu::gemm::Matrix;
use crate::kernels::cpu::update::Gradient;
use crate::kernels::cpu::vector::{add_into, first_not_finite};
use crate::layers::{BatchNorm, Chain, Conv2D, Dense, Layer};
use crate::random::Key;
use ndarray::{ArrayD, ArrayViewD, ArrayViewMutD, IxDyn};
use std::any::Any;
use std::mem::take;
use std::time::Instant;

/// The way forward and back through the first layers of a chain, for batches of any size up to the largest so far.
///
/// The parameters stay in the layers; their gradients and the new values of their state are kept here.
#[derive(Debug)]
pub(crate) struct TrainingPlan<E: Element> {
    program: Program,
    memory: Memory,
    buffers: Vec<Vec<E>>,
    kept: Vec<Kept<E>>,
    /// A copy of an input that is not in standard layout.
    input: Vec<E>,
    /// The samples of the latest pass.
    batch: usize,
    /// Names and shapes of the parameters.
    parameters: Vec<(String, Vec<usize>)>,
    gradients: Vec<ArrayD<E>>,
    /// The steps whose weights' gradient is not written down, but made while the weights move.
    waiting: Vec<bool>,
    state_names: Vec<String>,
    state: Vec<ArrayD<E>>,
    /// The time of each step's latest passes, in milliseconds.
    times: Vec<[f64; 2]>,
}

/// What is told a parameter's number, its values, and its gradient.
type Update<'a, E> = dyn FnMut(usize, &mut [E], Gradient<'_, E>) + 'a;

impl<E: Element> TrainingPlan<E> {
    /// For the first `count` layers of a built chain.
    pub fn new(chain: &Chain<E>, count: usize, input: &[usize]) -> Result<Self> {
        let program = Program::new(chain, count, input, Purpose::Training)?;
        let memory = Memory::new(&program, Purpose::Training);
        let of_shape = |views: Vec<(String, ArrayViewD<'_, E>)>| -> Vec<(String, Vec<usize>)> {
            views.into_iter().map(|(name, view)| (name, view.shape().to_vec())).collect()
        };
        let zeros =
            |shapes: &[(String, Vec<usize>)]| shapes.iter().map(|(_, shape)| ArrayD::zeros(IxDyn(shape))).collect();
        let (parameters, state) = (of_shape(chain.parameters()), of_shape(chain.state()));
        Ok(Self {
            buffers: memory.sizes.iter().map(|_| Vec::new()).collect(),
            kept: program.nodes.iter().map(|_| Kept::default()).collect(),
            input: Vec::new(),
            batch: 0,
            gradients: zeros(&parameters),
            waiting: vec![false; program.nodes.len()],
            state: zeros(&state),
            parameters,
            times: vec![[0.0; 2]; program.nodes.len()],
            state_names: state.into_iter().map(|(name, _)| name).collect(),
            program,
            memory,
        })
    }

    /// x [N, …] through all steps. Random numbers come from `key`, as in the layers' own passes.
    pub fn forward(&mut self, chain: &Chain<E>, x: &ArrayViewD<'_, E>, key: Key) -> Result<()> {
        self.batch = x.shape()[0];
        let sizes = self.buffers.iter_mut().zip(&self.memory.sizes);
        sizes.into_iter().try_for_each(|(buffer, size)| grown(buffer, self.batch, *size))?;
        let mut copy = take(&mut self.input);
        let numbers = in_order(x, &mut copy);
        let result = (0..self.program.nodes.len()).try_for_each(|j| {
            let begun = Instant::now();
            let result = self.step_forward(j, chain, numbers, key);
            self.times[j][0] = begun.elapsed().as_secs_f64() * 1e3;
            result
        });
        self.input = copy;
        result
    }

    fn step_forward(&mut self, j: usize, chain: &Chain<E>, x: &[E], key: Key) -> Result<()> {
        let node = &self.program.nodes[j];
        let out = self.memory.value(node.output).expect(WRITTEN);
        let other = node.step.other();
        let (mut buffer, mut kept) = (take(&mut self.buffers[out]), take(&mut self.kept[j]));
        let y = &mut buffer[..self.len(node.output)];
        let (input, other) = (self.value(node.input, x), other.map_or(&[][..], |other| self.value(other, x)));
        let training = Some((&mut kept, node.place.key(key)));
        let result = self.pass(j, chain).forward(input, other, None, y, training);
        (self.buffers[out], self.kept[j]) = (buffer, kept);
        result
    }

    /// The output of the latest pass [N, …], and where to write its gradient.
    pub fn head(&mut self) -> (ArrayViewD<'_, E>, ArrayViewMutD<'_, E>) {
        let output = self.program.output;
        let (len, sample) = (self.len(output), &self.program.values[output]);
        let [y, dy] = [self.memory.value(output), self.memory.gradient(output)].map(|buffer| buffer.expect(WRITTEN));
        let [y, dy] = self.buffers.get_disjoint_mut([y, dy]).expect("both are alive at the loss");
        (view(&y[..len], self.batch, sample), view_mut(&mut dy[..len], self.batch, sample))
    }

    /// From the output's gradient, as written into [`head`](Self::head), to those of all parameters. `x` is that of
    /// the way forward. With `wait` a gradient that is sure to be finite may wait for [`update`](Self::update).
    pub fn backward(&mut self, chain: &Chain<E>, x: &ArrayViewD<'_, E>, wait: bool) -> Result<()> {
        let copy = take(&mut self.input);
        let numbers = x.as_slice().unwrap_or(&copy);
        let result = (0..self.program.nodes.len()).rev().try_for_each(|j| {
            let begun = Instant::now();
            let result = self.step_backward(j, chain, numbers, wait);
            self.times[j][1] = begun.elapsed().as_secs_f64() * 1e3;
            result
        });
        self.input = copy;
        result
    }

    fn step_backward(&mut self, j: usize, chain: &Chain<E>, x: &[E], wait: bool) -> Result<()> {
        let node = &self.program.nodes[j];
        let (output, input) = (node.output, node.input);
        let from = self.memory.gradient(output).expect(WRITTEN);
        let to = self.memory.share(j).or(self.memory.gradient(input));
        let mut dy = take(&mut self.buffers[from]);
        let mut dx = to.map(|to| take(&mut self.buffers[to]));
        let mut kept = take(&mut self.kept[j]);
        let mut waits = wait && node.step.may_wait();
        let [mut gradients, mut state] = [&mut self.gradients, &mut self.state].map(take);
        let result = self.pass(j, chain).backward(Way {
            x: if node.step.needs_input() { self.value(input, x) } else { &[] },
            y: if node.step.needs_output() { self.value(output, x) } else { &[] },
            kept: &mut kept,
            dy: &mut dy[..self.len(output)],
            dx: dx.as_mut().map(|dx| &mut dx[..self.len(input)]),
            parameters: &mut gradients[node.parameters.clone()],
            state: &mut state[node.state.clone()],
            waits: &mut waits,
        });
        (self.gradients, self.state, self.kept[j], self.waiting[j]) = (gradients, state, kept, waits);
        if let (Some(to), Some(dx)) = (to, dx) {
            if self.memory.share(j).is_some() {
                self.add(input, &dx);
            }
            self.buffers[to] = dx;
        }
        if let Some(other) = self.program.nodes[j].step.other() {
            self.give(j, other, &dy);
        }
        self.buffers[from] = dy;
        result
    }

    /// The other value of a sum gets the same gradient as the first.
    fn give(&mut self, j: usize, other: Value, dy: &[E]) {
        let Some(buffer) = self.memory.gradient(other) else { return };
        match self.program.begins_other(j, other) {
            true => {
                let len = self.len(other);
                self.buffers[buffer][..len].copy_from_slice(&dy[..len]);
            }
            false => self.add(other, dy),
        }
    }

    /// Adds a share to the gradient of a value.
    fn add(&mut self, value: Value, share: &[E]) {
        let len = self.len(value);
        let buffer = self.memory.gradient(value).expect(WRITTEN);
        add_into(&mut self.buffers[buffer][..len], &share[..len]);
    }

    /// The steps with their latest times.
    pub fn steps(&self) -> impl Iterator<Item = StepTime> {
        let times = self.program.nodes.iter().zip(&self.times).zip(&self.waiting);
        times.map(|((node, &[forward_ms, backward_ms]), &waits)| {
            let forward_flops = self.flops(node);
            let gradients = u8::from(self.memory.gradient(node.input).is_some()) + u8::from(!waits);
            let backward_flops = forward_flops * f64::from(gradients);
            StepTime { name: node.name.clone(), forward_ms, backward_ms, forward_flops, backward_flops }
        })
    }

    /// Multiplications and additions of the gradients that were made while the weights moved.
    pub fn waiting_flops(&self) -> f64 {
        let nodes = self.program.nodes.iter().zip(&self.waiting);
        nodes.filter(|(_, waits)| **waits).map(|(node, _)| self.flops(node)).sum()
    }

    /// Those of a step's way forward.
    fn flops(&self, node: &Node) -> f64 {
        2.0 * node.step.products() as f64 * self.batch as f64
    }

    /// Names and shapes of all parameters, in the layers' order.
    pub fn parameters(&self) -> &[(String, Vec<usize>)] {
        &self.parameters
    }

    /// The gradients of all parameters, of the latest way back; of those that wait, some that are finite.
    pub fn gradients(&self) -> &[ArrayD<E>] {
        &self.gradients
    }

    /// The same, to change them.
    pub fn gradients_mut(&mut self) -> &mut [ArrayD<E>] {
        &mut self.gradients
    }

    /// Tells `update` every parameter's number, its values, and its gradient. `x` is that of the way forward.
    pub fn update(&self, chain: &mut Chain<E>, x: &ArrayViewD<'_, E>, update: &mut Update<'_, E>) {
        let x = x.as_slice().unwrap_or(&self.input);
        for (j, node) in self.program.nodes.iter().enumerate().filter(|(_, node)| !node.parameters.is_empty()) {
            let mut each = |index: usize, values: &mut [E]| {
                let number = node.parameters.start + index;
                let gradient = match self.waiting[j] && index == 0 {
                    true => Gradient::Product(self.factors(j, x)),
                    false => Gradient::Entries(numbers(&self.gradients[number])),
                };
                update(number, values, gradient);
            };
            let layer = node.place.of_mut(chain);
            if !numbers_of(layer, &mut each) {
                for (index, (_, mut view)) in layer.parameters_mut().into_iter().enumerate().take(node.parameters.len())
                {
                    let mut values = view.as_standard_layout().into_owned();
                    each(index, values.as_slice_mut().expect("just brought to standard layout"));
                    view.assign(&values);
                }
            }
        }
    }

    /// What the gradient of a step's weights is the product of: xᵀ [D, N] and dy [N, F].
    fn factors<'a>(&'a self, j: usize, x: &'a [E]) -> [Matrix<'a, E>; 2] {
        let node = &self.program.nodes[j];
        let from = self.memory.gradient(node.output).expect(WRITTEN);
        let dy = &self.buffers[from][..self.len(node.output)];
        let [d, f] = [node.input, node.output].map(|value| self.program.size(value));
        [Matrix::rows(self.value(node.input, x), self.batch, d).transposed(), Matrix::rows(dy, self.batch, f)]
    }

    /// Gives the layers the new values of their state.
    pub fn set_state(&self, chain: &mut Chain<E>) {
        for node in self.program.nodes.iter().filter(|node| !node.state.is_empty()) {
            let new = &self.state[node.state.clone()];
            let layer = node.place.of_mut(chain);
            let any: &mut dyn Any = layer;
            match any.downcast_mut::<BatchNorm<E>>().and_then(|norm| norm.channels_mut().ok()) {
                Some(of) => {
                    let moving = [&mut of.moving_mean, &mut of.moving_variance];
                    moving.into_iter().zip(new).for_each(|(to, new)| to.copy_from_slice(numbers(new)));
                }
                None => {
                    node.place.of_mut(chain).state_mut().iter_mut().zip(new).for_each(|((_, to), new)| to.assign(new))
                }
            }
        }
    }

    /// The first gradient or new value of a state that is not finite: its tensor's name, and the number.
    pub fn not_finite(&self) -> Option<(&str, f64)> {
        // Of a step that waits, the first parameter has none that was written down.
        let written = self.program.nodes.iter().zip(&self.waiting);
        let written = written.flat_map(|(node, &waits)| node.parameters.clone().skip(usize::from(waits)));
        let parameters = written.map(|number| (self.parameters[number].0.as_str(), &self.gradients[number]));
        let state = self.state_names.iter().map(String::as_str).zip(&self.state);
        parameters
            .chain(state)
            .find_map(|(name, tensor)| first_not_finite(numbers(tensor)).map(|number| (name, number.as_f64())))
    }

    fn pass<'a>(&'a self, j: usize, chain: &'a Chain<E>) -> Pass<'a, E> {
        Pass { node: &self.program.nodes[j], chain, batch: self.batch }
    }

    /// The numbers of a value in the latest pass.
    fn value<'a>(&'a self, value: Value, x: &'a [E]) -> &'a [E] {
        match self.memory.value(value) {
            Some(buffer) => &self.buffers[buffer][..self.len(value)],
            None => x,
        }
    }

    fn len(&self, value: Value) -> usize {
        self.batch * self.program.size(value)
    }
}

fn numbers<E>(tensor: &ArrayD<E>) -> &[E] {
    tensor.as_slice().expect("gradients are in standard layout")
}

/// Tells `each` the parameters of the layers that can give them without allocating; false for others.
fn numbers_of<E: Element>(layer: &mut dyn Layer<E>, each: &mut dyn FnMut(usize, &mut [E])) -> bool {
    let any: &mut dyn Any = layer;
    let tensors = if let Some(conv) = any.downcast_mut::<Conv2D<E>>() {
        conv.numbers_mut()
    } else if let Some(dense) = any.downcast_mut::<Dense<E>>() {
        dense.numbers_mut()
    } else if let Some(norm) = any.downcast_mut::<BatchNorm<E>>() {
        norm.channels_mut().ok().map(|of| (of.gamma.as_mut_slice(), Some(of.beta.as_mut_slice())))
    } else {
        return false;
    };
    if let Some((first, second)) = tensors {
        each(0, first);
        second.into_iter().for_each(|second| each(1, second));
    }
    true
}
