//! Which fused steps a chain of layers becomes. Pure: nothing is computed here, and nothing allocated for a batch.
//!
//! Steps stand in the order of the layers, those of a Residual before those of its shortcut. Each writes one value.

use super::place::Place;
use crate::element::Element;
use crate::error::Result;
use crate::kernels::cpu::activation::Activation;
use crate::kernels::cpu::conv2d::Conv2DShape;
use crate::kernels::cpu::pool2d::Pool2DShape;
use crate::kernels::cpu::tail::Tail;
use crate::layers::*;
use std::any::Any;
use std::ops::Range;

/// What a plan is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Training,
    /// Nothing is kept for a way back, and moving averages are part of the weights.
    Inference,
}

/// A tensor between two steps, by its number; 0 is the network's input.
pub(super) type Value = usize;

/// Work that is done at once. Shapes are those of one sample.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// Convolution, bias, activation and max pooling, strip by strip; in inference also a normalisation in between.
    Conv2D {
        shape: Conv2DShape,
        tail: Tail,
        norm: Option<Place>,
    },
    /// Matrix product, bias and activation.
    Dense {
        inputs: usize,
        units: usize,
        activation: Activation,
    },
    /// Normalisation, activation and max pooling.
    BatchNorm {
        picture: [usize; 3],
        tail: Tail,
    },
    /// An activation on its own.
    Activation(Activation),
    MaxPool2D(Pool2DShape),
    AveragePool2D {
        shape: Pool2DShape,
        count_pad: bool,
    },
    /// With the share that is left out.
    Dropout(f64),
    /// The end of a Residual: the sum with the value of its shortcut, and an activation.
    Add {
        other: Value,
        activation: Activation,
    },
    /// A layer that the plan does not know: its own passes.
    Own,
}

/// A step, and what it stands for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub step: Step,
    pub input: Value,
    pub output: Value,
    /// The shapes of both, as the layers of this step have them.
    pub shapes: [Vec<usize>; 2],
    /// The layer that holds the parameters.
    pub place: Place,
    /// All layers of the step: `conv2d_1 + relu_1 + maxpool2d_1`.
    pub name: String,
    /// The layer's tensors, counted over all layers.
    pub parameters: Range<usize>,
    pub state: Range<usize>,
}

/// The steps of a network.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Program {
    pub nodes: Vec<Node>,
    /// The shape of each value, as its readers have it: flat, where a Flatten follows.
    pub values: Vec<Vec<usize>>,
    pub output: Value,
}

impl Step {
    /// The value that a sum adds to its input.
    pub fn other(&self) -> Option<Value> {
        match self {
            Self::Add { other, .. } => Some(*other),
            _ => None,
        }
    }

    /// The multiplications of one sample on the way forward.
    pub fn products(&self) -> usize {
        match self {
            Self::Conv2D { shape, .. } => {
                shape.geometry.pixels() * shape.geometry.taps() * shape.c_in / shape.groups * shape.c_out
            }
            Self::Dense { inputs, units, .. } => inputs * units,
            _ => 0,
        }
    }
}

impl Program {
    /// The steps of the first `count` layers of a built chain.
    pub fn new<E: Element>(chain: &Chain<E>, count: usize, input: &[usize], purpose: Purpose) -> Result<Self> {
        let program = Self { nodes: Vec::new(), values: vec![input.to_vec()], output: 0 };
        let mut fuser = Fuser { program, purpose, shared: vec![] };
        let mut output = fuser.layers(listed(chain, &Place::default(), "", count), 0)?;
        if fuser.program.nodes.is_empty() {
            output = fuser.identity(output);
        }
        Ok(Self { output, ..fuser.program })
    }

    /// Numbers of one sample of a value.
    pub fn size(&self, value: Value) -> usize {
        self.values[value].iter().product()
    }
}

/// A layer, where it stands, and its name.
#[derive(Clone)]
struct Listed<'a, E: Element> {
    layer: &'a dyn Layer<E>,
    place: Place,
    name: String,
}

impl<'a, E: Element> Listed<'a, E> {
    fn is<T: 'static>(&self) -> Option<&'a T> {
        let any: &dyn Any = self.layer;
        any.downcast_ref()
    }

    fn activation(&self) -> Option<Activation> {
        let leaky = |layer: &LeakyReLU| Some(layer.alpha()).filter(|&alpha| alpha > 0.0).map(Activation::LeakyRelu);
        None.or(self.is::<ReLU>().map(|_| Activation::Relu))
            .or(self.is::<LeakyReLU>().and_then(leaky))
            .or(self.is::<Sigmoid>().map(|_| Activation::Sigmoid))
            .or(self.is::<Tanh>().map(|_| Activation::Tanh))
    }
}

/// The first `count` layers of a chain at `place`.
fn listed<'a, E: Element>(chain: &'a Chain<E>, place: &Place, prefix: &str, count: usize) -> Vec<Listed<'a, E>> {
    let layers = chain.layers().take(count).enumerate();
    layers
        .map(|(number, (name, layer))| Listed { layer, place: place.layer(number), name: format!("{prefix}{name}") })
        .collect()
}

struct Fuser {
    program: Program,
    purpose: Purpose,
    /// Inputs of the Residual blocks around: other steps read them too, in their own shape.
    shared: Vec<Value>,
}

impl Fuser {
    /// Appends the steps of `layers` that begin with `value`; returns the value they end in.
    fn layers<E: Element>(&mut self, layers: Vec<Listed<'_, E>>, mut value: Value) -> Result<Value> {
        let mut rest = Rest { layers: layers.into_iter().peekable() };
        while let Some(first) = rest.layers.next() {
            value = self.step(first, &mut rest, value)?;
        }
        Ok(value)
    }

    fn step<E: Element>(&mut self, first: Listed<'_, E>, rest: &mut Rest<'_, E>, value: Value) -> Result<Value> {
        let training = self.purpose == Purpose::Training;
        let input = self.program.values[value].clone();
        let output = first.layer.output_shape(&input)?;
        if let Some(residual) = first.is::<Residual<E>>() {
            return self.residual(&first, residual, rest, value);
        }
        if first.is::<Flatten>().is_some() && !self.shared.contains(&value) {
            self.program.values[value] = output;
            return Ok(value);
        }
        if first.is::<Dropout>().is_some() && !training {
            return Ok(value);
        }
        let mut names = vec![first.name.clone()];
        let step = if let Some(conv) = first.is::<Conv2D<E>>() {
            let shape = conv.shape([1, input[0], input[1], input[2]])?;
            let norm = if training { None } else { rest.norm(&mut names) };
            Step::Conv2D { shape, tail: rest.tail(&output, &mut names), norm }
        } else if first.is::<Dense<E>>().is_some() {
            Step::Dense { inputs: input[0], units: output[0], activation: rest.activation(&mut names) }
        } else if first.is::<BatchNorm<E>>().is_some() {
            let picture = match input[..] {
                [h, w, c] => [h, w, c],
                _ => [1, input[..input.len() - 1].iter().product(), input[input.len() - 1]],
            };
            let tail = match input.len() {
                3 => rest.tail(&output, &mut names),
                _ => Tail { activation: rest.activation(&mut names), pool: None },
            };
            Step::BatchNorm { picture, tail }
        } else if let Some(activation) = first.activation() {
            Step::Activation(activation)
        } else if let Some(shape) = max_pooling(&first, &input)? {
            Step::MaxPool2D(shape)
        } else if let Some((shape, count_pad)) = average_pooling(&first, &input)? {
            Step::AveragePool2D { shape, count_pad }
        } else if let Some(rate) = first.is::<Dropout>().and_then(Dropout::drawn_rate) {
            Step::Dropout(rate)
        } else {
            Step::Own
        };
        let output = match &step {
            Step::Conv2D { tail: Tail { pool: Some(pool), .. }, .. }
            | Step::BatchNorm { tail: Tail { pool: Some(pool), .. }, .. } => {
                vec![pool.output[0], pool.output[1], output[2]]
            }
            _ => output,
        };
        Ok(self.push(step, value, output, &first, names.join(" + ")))
    }

    fn residual<E: Element>(
        &mut self,
        block: &Listed<'_, E>,
        residual: &Residual<E>,
        rest: &mut Rest<'_, E>,
        value: Value,
    ) -> Result<Value> {
        let (layers, shortcut) = residual.paths();
        let prefix = format!("{}.", block.name);
        self.shared.push(value);
        let f = self.layers(listed(layers, &block.place, &prefix, layers.layers().len()), value)?;
        let s = match shortcut {
            Some(layer) => {
                let shortcut = Listed { layer, place: block.place.shortcut(), name: format!("{prefix}shortcut") };
                self.layers(vec![shortcut], value)?
            }
            None => value,
        };
        self.shared.pop();
        let mut names = vec![block.name.clone()];
        let step = Step::Add { other: s, activation: rest.activation(&mut names) };
        let output = self.program.values[f].clone();
        Ok(self.push(step, f, output, block, names.join(" + ")))
    }

    /// A network without a step gives what it gets.
    fn identity(&mut self, input: Value) -> Value {
        let shape = self.program.values[input].clone();
        self.program.values.push(shape.clone());
        let step = Step::Activation(Activation::Linear);
        let (place, name) = (Place::default(), "identity".to_string());
        self.program.nodes.push(Node {
            step,
            input,
            output: 1,
            shapes: [shape.clone(), shape],
            place,
            name,
            parameters: 0..0,
            state: 0..0,
        });
        1
    }

    fn push<E: Element>(
        &mut self,
        step: Step,
        input: Value,
        shape: Vec<usize>,
        layer: &Listed<'_, E>,
        name: String,
    ) -> Value {
        // The tensors of a Residual are those of the layers inside, which have steps of their own.
        let holds = !matches!(step, Step::Add { .. });
        let count = |known: usize, own: usize| known..known + if holds { own } else { 0 };
        let last = self.program.nodes.last();
        let parameters = count(last.map_or(0, |node| node.parameters.end), layer.layer.parameters().len());
        let state = count(last.map_or(0, |node| node.state.end), layer.layer.state().len());
        let shapes = [self.program.values[input].clone(), shape.clone()];
        self.program.values.push(shape);
        let output = self.program.values.len() - 1;
        let place = layer.place.clone();
        self.program.nodes.push(Node { step, input, output, shapes, place, name, parameters, state });
        output
    }
}

/// The layers that no step has taken yet.
struct Rest<'a, E: Element> {
    layers: std::iter::Peekable<std::vec::IntoIter<Listed<'a, E>>>,
}

impl<E: Element> Rest<'_, E> {
    /// Takes the next layer if `what` finds in it what it looks for.
    fn take<T>(&mut self, names: &mut Vec<String>, what: impl FnOnce(&Listed<'_, E>) -> Option<T>) -> Option<T> {
        let found = what(self.layers.peek()?)?;
        names.extend(self.layers.next().map(|layer| layer.name));
        Some(found)
    }

    fn activation(&mut self, names: &mut Vec<String>) -> Activation {
        self.take(names, |layer| layer.activation()).unwrap_or(Activation::Linear)
    }

    fn norm(&mut self, names: &mut Vec<String>) -> Option<Place> {
        self.take(names, |layer| layer.is::<BatchNorm<E>>().map(|_| layer.place.clone()))
    }

    /// The activation and the pooling of pictures [H, W, C] that follow, in either order.
    fn tail(&mut self, picture: &[usize], names: &mut Vec<String>) -> Tail {
        let mut activation = self.activation(names);
        let pool = match (activation.passes_maxima(), picture) {
            (true, &[h, w, c]) => self.take(names, |layer| {
                let shape = layer.is::<MaxPool2D>()?.shape([1, h, w, c]).ok()?;
                Some(shape.geometry).filter(Tail::takes)
            }),
            _ => None,
        };
        if activation == Activation::Linear && pool.is_some() {
            activation = self.activation(names);
        }
        Tail { activation, pool }
    }
}

fn max_pooling<E: Element>(layer: &Listed<'_, E>, input: &[usize]) -> Result<Option<Pool2DShape>> {
    let &[h, w, c] = input else { return Ok(None) };
    match (layer.is::<MaxPool2D>(), layer.is::<GlobalMaxPool2D>()) {
        (Some(pool), _) => pool.shape([1, h, w, c]).map(Some),
        (_, Some(_)) => GlobalMaxPool2D::shape([1, h, w, c]).map(Some),
        _ => Ok(None),
    }
}

fn average_pooling<E: Element>(layer: &Listed<'_, E>, input: &[usize]) -> Result<Option<(Pool2DShape, bool)>> {
    let &[h, w, c] = input else { return Ok(None) };
    match (layer.is::<AveragePool2D>(), layer.is::<GlobalAveragePool2D>()) {
        (Some(pool), _) => Ok(Some((pool.shape([1, h, w, c])?, pool.counts_padding()))),
        (_, Some(_)) => Ok(Some((GlobalAveragePool2D::shape([1, h, w, c])?, false))),
        _ => Ok(None),
    }
}
