//! Which buffer holds which tensor. Pure: numbers in, numbers out.
//!
//! Step j runs forward at time j. With n steps the loss stands at time n, and step j runs backward at time 2n − j; what
//! waits for the way back to be over happens at time 2n + 1. A tensor has a buffer from when it is written until it was
//! read for the last time; then another one gets it.

use super::fuse::{Node, Program, Purpose, Step, Value};
use crate::kernels::cpu::activation::Activation;

pub(super) const WRITTEN: &str = "every value but the input has a buffer, and in training its gradient too";

/// The buffers of a plan, and who has them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Memory {
    /// Numbers for each sample, for each buffer.
    pub sizes: Vec<usize>,
    /// The buffer of each value; the input has none.
    values: Vec<Option<usize>>,
    /// The buffer of each value's gradient; the input has none.
    gradients: Vec<Option<usize>>,
    /// For steps whose input has a gradient already when they run backward: the buffer for their share of it.
    shares: Vec<Option<usize>>,
}

impl Memory {
    pub fn new(program: &Program, purpose: Purpose) -> Self {
        let count = program.nodes.len();
        let tensor = |of, value, life| Tensor { of, size: program.size(value), life };
        let mut tensors = Vec::new();
        for value in 1..program.values.len() {
            tensors.push(tensor(Of::Value(value), value, value_life(program, value, purpose)));
            if purpose == Purpose::Training {
                let first = if value == program.output { count } else { 2 * count - program.last_reader(value) };
                tensors.push(tensor(Of::Gradient(value), value, [first, program.done(program.writer(value))]));
            }
        }
        for (j, node) in program.nodes.iter().enumerate().filter(|_| purpose == Purpose::Training) {
            if node.input != 0 && program.last_reader(node.input) != j {
                tensors.push(tensor(Of::Share(j), node.input, [2 * count - j; 2]));
            }
        }
        let (buffers, sizes) = assign(&tensors);
        let mut memory = Self {
            sizes,
            values: vec![None; program.values.len()],
            gradients: vec![None; program.values.len()],
            shares: vec![None; count],
        };
        for (tensor, buffer) in tensors.iter().zip(buffers) {
            match tensor.of {
                Of::Value(value) => memory.values[value] = Some(buffer),
                Of::Gradient(value) => memory.gradients[value] = Some(buffer),
                Of::Share(node) => memory.shares[node] = Some(buffer),
            }
        }
        memory
    }

    pub fn value(&self, value: Value) -> Option<usize> {
        self.values[value]
    }

    pub fn gradient(&self, value: Value) -> Option<usize> {
        self.gradients[value]
    }

    pub fn share(&self, node: usize) -> Option<usize> {
        self.shares[node]
    }
}

enum Of {
    Value(Value),
    Gradient(Value),
    Share(usize),
}

struct Tensor {
    of: Of,
    size: usize,
    /// The times of the first writing and the last reading.
    life: [usize; 2],
}

impl Program {
    /// The step that writes a value.
    fn writer(&self, value: Value) -> usize {
        self.nodes.iter().position(|node| node.output == value).expect("a step writes each value but the input")
    }

    /// The steps that read a value.
    fn readers(&self, value: Value) -> impl Iterator<Item = usize> {
        let reads = move |node: &Node| node.input == value || node.step.other() == Some(value);
        self.nodes.iter().enumerate().filter(move |(_, node)| reads(node)).map(|(j, _)| j)
    }

    /// Whether step j, a sum, is the first to write the gradient of the value that it adds.
    pub fn begins_other(&self, j: usize, other: Value) -> bool {
        self.last_reader(other) == j && other != self.nodes[j].input
    }

    /// When step j has read for the last time.
    fn done(&self, j: usize) -> usize {
        let count = self.nodes.len();
        if self.nodes[j].step.may_wait() { 2 * count + 1 } else { 2 * count - j }
    }

    /// The last step that reads a value, and so the first to write its gradient.
    pub fn last_reader(&self, value: Value) -> usize {
        self.readers(value).max().unwrap_or_else(|| self.writer(value))
    }
}

fn value_life(program: &Program, value: Value, purpose: Purpose) -> [usize; 2] {
    let (count, writer) = (program.nodes.len(), program.writer(value));
    let read = if value == program.output { count } else { program.last_reader(value) };
    let for_readers = program.readers(value).filter(|&j| program.nodes[j].step.needs_input()).map(|j| program.done(j));
    let for_writer = program.nodes[writer].step.needs_output().then(|| 2 * count - writer);
    let needed = for_readers.chain(for_writer).max().filter(|_| purpose == Purpose::Training);
    [writer, needed.unwrap_or(read)]
}

impl Step {
    /// Whether the way back reads the step's input.
    pub fn needs_input(&self) -> bool {
        matches!(self, Self::Conv2D { .. } | Self::Dense { .. } | Self::BatchNorm { .. })
    }

    /// Whether the gradient of the step's weights, a product of its input and its output's gradient, may wait until the
    /// weights move: then nobody needs to write it down.
    pub fn may_wait(&self) -> bool {
        matches!(self, Self::Dense { .. })
    }

    /// Whether the way back reads the step's output: the slope of its activation is told from it.
    pub fn needs_output(&self) -> bool {
        match self {
            Self::Conv2D { tail, .. } | Self::BatchNorm { tail, .. } => !tail.tells_slope(),
            Self::Dense { activation, .. } | Self::Add { activation, .. } | Self::Activation(activation) => {
                *activation != Activation::Linear
            }
            _ => false,
        }
    }
}

/// A buffer for each tensor, and the buffers' sizes: in the order of their first writing, each takes the free buffer
/// that fits best.
fn assign(tensors: &[Tensor]) -> (Vec<usize>, Vec<usize>) {
    let mut order: Vec<usize> = (0..tensors.len()).collect();
    order.sort_by_key(|&index| tensors[index].life[0]);
    let (mut buffers, mut sizes, mut busy) = (vec![0; tensors.len()], Vec::<usize>::new(), Vec::<usize>::new());
    for index in order {
        let Tensor { size, life: [first, last], .. } = tensors[index];
        let free = (0..sizes.len()).filter(|&buffer| busy[buffer] < first);
        let best = free.min_by_key(|&buffer| (sizes[buffer] < size, sizes[buffer].abs_diff(size)));
        let buffer = best.unwrap_or_else(|| {
            sizes.push(0);
            busy.push(0);
            sizes.len() - 1
        });
        buffers[index] = buffer;
        sizes[buffer] = sizes[buffer].max(size);
        busy[buffer] = last;
    }
    (buffers, sizes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_tensors_that_live_at_once_share_a_buffer() {
        let mut random = crate::random::Key::new(1).named("memory").stream();
        for _ in 0..500 {
            let tensors: Vec<_> = (0..1 + random.below(12))
                .map(|value| {
                    let first = random.below(8);
                    Tensor { of: Of::Value(value), size: 1 + random.below(9), life: [first, first + random.below(4)] }
                })
                .collect();
            let (buffers, sizes) = assign(&tensors);
            for (a, first) in tensors.iter().enumerate() {
                assert!(first.size <= sizes[buffers[a]]);
                for (b, second) in tensors.iter().enumerate().filter(|&(b, _)| b != a && buffers[a] == buffers[b]) {
                    assert!(first.life[1] < second.life[0] || second.life[1] < first.life[0], "{a} and {b}");
                }
            }
        }
    }
}
