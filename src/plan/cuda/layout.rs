//! Tensors side by side in one buffer, so that one kernel can update them all.

use crate::error::Result;
use crate::kernels::cuda::{Buffer, Gpu, Span};
use ndarray::{ArrayD, ArrayViewD, ArrayViewMutD, IxDyn};
use std::ops::Range;

/// Every tensor begins at a multiple of so many numbers: 256 bytes. What lies between stays 0.
pub(super) const ALIGNED: usize = 64;

/// Where each tensor lies: those that were asked to be the first, the others of several axes, and those of one, which
/// weight decay leaves alone.
#[derive(Debug)]
pub(super) struct Layout {
    tensors: Vec<(String, Vec<usize>)>,
    places: Vec<Range<usize>>,
    /// Where the tensors of one axis begin.
    pub decayed: usize,
    pub len: usize,
}

impl Layout {
    /// The tensors of these numbers come first, in this order; all of them have several axes.
    pub fn new(views: &[(String, ArrayViewD<'_, f32>)], first: &[usize]) -> Self {
        let tensors: Vec<_> = views.iter().map(|(name, view)| (name.clone(), view.shape().to_vec())).collect();
        let rank = |number: &usize| match first.iter().position(|first| first == number) {
            Some(place) => place,
            None if tensors[*number].1.len() > 1 => first.len(),
            None => first.len() + 1,
        };
        let mut order: Vec<_> = (0..tensors.len()).collect();
        order.sort_by_key(rank);
        let mut places = vec![0..0; tensors.len()];
        let (mut len, mut decayed) = (0, 0);
        for number in order {
            let shape = &tensors[number].1;
            places[number] = len..len + shape.iter().product::<usize>();
            len = places[number].end.next_multiple_of(ALIGNED);
            decayed = if shape.len() > 1 { len } else { decayed };
        }
        Self { tensors, places, decayed, len }
    }

    /// Room for all tensors, zeros at first.
    pub fn zeros(&self, gpu: &Gpu) -> Result<Buffer<f32>> {
        Buffer::zeros(gpu, self.len)
    }

    /// Where the tensor of this number lies.
    pub fn place(&self, number: usize) -> Range<usize> {
        self.places[number].clone()
    }

    /// Where the next tensor begins.
    pub fn end(&self, number: usize) -> usize {
        self.places[number].end.next_multiple_of(ALIGNED)
    }

    /// The tensor of this number.
    pub fn of<'a>(&self, buffer: &'a Buffer<f32>, number: usize) -> Span<'a, f32> {
        buffer.span().part(self.place(number))
    }

    /// The name of the tensor that holds the number at `place`.
    pub fn name_at(&self, place: usize) -> &str {
        let found = self.places.iter().position(|tensor| tensor.contains(&place));
        found.map_or("a number beside all parameters", |number| &self.tensors[number].0)
    }

    /// Names and shapes, in their order.
    pub fn tensors(&self) -> &[(String, Vec<usize>)] {
        &self.tensors
    }

    /// Overwrites `buffer` with tensors in their order.
    pub fn write<'a>(
        &self,
        gpu: &Gpu,
        buffer: &Buffer<f32>,
        tensors: impl Iterator<Item = ArrayViewD<'a, f32>>,
    ) -> Result<()> {
        let mut numbers = vec![0.0; self.len];
        for (place, tensor) in self.places.iter().zip(tensors) {
            numbers[place.clone()].iter_mut().zip(&tensor).for_each(|(to, from)| *to = *from);
        }
        buffer.span().write(gpu, &numbers)
    }

    /// What is in `buffer`, as tensors in their order.
    pub fn read(&self, gpu: &Gpu, buffer: &Buffer<f32>) -> Result<Vec<ArrayD<f32>>> {
        let numbers = buffer.read(gpu)?;
        let tensor = |((_, shape), place): (&(String, Vec<usize>), &Range<usize>)| {
            let numbers = numbers[place.clone()].to_vec();
            ArrayD::from_shape_vec(IxDyn(shape), numbers).expect("a place is as long as its tensor")
        };
        Ok(self.tensors.iter().zip(&self.places).map(tensor).collect())
    }
}

/// Gives tensors their new values.
pub(super) fn assign(to: Vec<(String, ArrayViewMutD<'_, f32>)>, from: &[ArrayD<f32>]) {
    to.into_iter().zip(from).for_each(|((_, mut to), from)| to.assign(from));
}
