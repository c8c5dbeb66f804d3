//! y[i,j,f] = b[f] + Σ_{u,v} Σ_c x[row(i,u), column(j,v), c] · w[u,v,c,f]
//!
//! A window that slides over a picture: a convolution, and the way back from its output to its input. Both are products
//! of matrices whose first one, a row of taps and channels for each pixel, is never written down: the tile
//! finds its numbers in the picture itself. Rows beyond the picture's border are left out, columns beyond
//! it are zeros in a copy.

use super::panels::Factor;
use super::{parallel, scratch};
use crate::element::Element;
use crate::shape::Geometry2D;
use crate::simd::tile::{Finish, Product, Row, Segment};
use crate::simd::{Kernel, Simd};
use ndarray::{ArrayViewMut2, Axis as Along, s};
use std::ops::Range;

/// One axis of a sliding window.
pub(super) struct Axis {
    /// Pixels read.
    input: usize,
    /// Pixels written.
    output: usize,
    /// Taps of the window, whether an output meets the input with them or not.
    taps: usize,
    /// Pixels from one reading to the next.
    in_step: usize,
    /// Pixels from one writing to the next of the same phase.
    out_step: usize,
    phases: Vec<Phase>,
}

/// Every `out_step`-th output, whose taps all meet the input in the same way: output `first` + t·`out_step` meets
/// pixel t·`in_step` + `shift` with each tap.
struct Phase {
    first: usize,
    count: usize,
    taps: Vec<Tap>,
}

#[derive(Clone, Copy)]
struct Tap {
    index: usize,
    shift: isize,
}

impl Axis {
    /// Output i meets input i·s + u·d − p.
    pub fn forward(geometry: &Geometry2D, axis: usize) -> Self {
        let shift = |u| (u * geometry.dilation[axis]) as isize - geometry.before[axis] as isize;
        let taps = (0..geometry.kernel[axis]).map(|index| Tap { index, shift: shift(index) }).collect();
        Self {
            input: geometry.input[axis],
            output: geometry.output[axis],
            taps: geometry.kernel[axis],
            in_step: geometry.stride[axis],
            out_step: 1,
            phases: vec![Phase { first: 0, count: geometry.output[axis], taps }],
        }
    }

    /// Input h was met by output (h + p − u·d)/s, where that is a whole number: s phases.
    pub fn backward(geometry: &Geometry2D, axis: usize) -> Self {
        let (input, stride) = (geometry.input[axis], geometry.stride[axis]);
        let phase = |first: usize| {
            let distance = |u| (first + geometry.before[axis]) as isize - (u * geometry.dilation[axis]) as isize;
            let taps = (0..geometry.kernel[axis])
                .filter(|&u| distance(u) % stride as isize == 0)
                .map(|index| Tap { index, shift: distance(index) / stride as isize })
                .collect();
            Phase { first, count: (input - first).div_ceil(stride), taps }
        };
        Self {
            input: geometry.output[axis],
            output: input,
            taps: geometry.kernel[axis],
            in_step: 1,
            out_step: stride,
            phases: (0..stride.min(input)).map(phase).collect(),
        }
    }

    /// The input with all the zeros around it that any tap meets.
    pub fn frame(&self) -> Frame {
        let reach = |phase: &Phase, tap: &Tap| (phase.count.max(1) - 1) as isize * self.in_step as isize + tap.shift;
        let taps = || self.phases.iter().flat_map(|phase| phase.taps.iter().map(move |tap| (phase, tap)));
        let left = taps().map(|(_, tap)| -tap.shift).max().unwrap_or(0).max(0) as usize;
        let last = taps().map(|(phase, tap)| reach(phase, tap)).max().unwrap_or(0);
        Frame { left, inner: self.input, right: (last - self.input as isize + 1).max(0) as usize }
    }

    /// The pixel that output t of a phase meets with `tap`, if there is one.
    fn meets(&self, t: usize, tap: Tap) -> Option<usize> {
        (t * self.in_step).checked_add_signed(tap.shift).filter(|&pixel| pixel < self.input)
    }

    /// The outputs t of `phase` among the outputs `range` of all phases.
    fn within(&self, phase: &Phase, range: Range<usize>) -> Range<usize> {
        let t = |output: usize| output.saturating_sub(phase.first).div_ceil(self.out_step).min(phase.count);
        t(range.start)..t(range.end)
    }

    /// The pixels that the outputs `range` meet, first to last.
    fn reads(&self, range: Range<usize>) -> Range<usize> {
        let met = self.phases.iter().flat_map(|phase| {
            let ts = self.within(phase, range.clone());
            ts.flat_map(|t| phase.taps.iter().filter_map(move |&tap| self.meets(t, tap)))
        });
        met.fold(None, |reads: Option<Range<usize>>, pixel| {
            let reads = reads.unwrap_or(pixel..pixel + 1);
            Some(reads.start.min(pixel)..reads.end.max(pixel + 1))
        })
        .unwrap_or(0..0)
    }
}

/// A row of pixels between zeros.
#[derive(Clone, Copy)]
pub(super) struct Frame {
    left: usize,
    inner: usize,
    right: usize,
}

impl Frame {
    /// Pixels, zeros included.
    pub fn width(&self) -> usize {
        self.left + self.inner + self.right
    }

    /// Runs `work` on these rows of the picture `x`, each between its zeros; on the picture itself where it needs none.
    pub fn around<E: Element>(&self, x: &[E], rows: Range<usize>, channels: usize, work: impl FnOnce(&[E])) {
        let (inner, width) = (self.inner * channels, self.width() * channels);
        let x = &x[rows.start * inner..rows.end * inner];
        if inner == width {
            return work(x);
        }
        scratch::with(rows.len() * width, |copy| {
            let left = self.left * channels;
            for (copy, x) in copy.chunks_exact_mut(width).zip(x.chunks_exact(inner)) {
                copy[..left].fill(E::zero());
                copy[left..left + inner].copy_from_slice(x);
                copy[left + inner..].fill(E::zero());
            }
            work(copy);
        });
    }
}

/// A window over a batch of pictures: x [N, input, channels[0]] → y [N, output, channels[1]]. Overwrites `y`.
pub(super) struct Slide<'a, E> {
    pub batch: usize,
    pub axes: [Axis; 2],
    pub channels: [usize; 2],
    /// w [groups, KH·KW, channels[0]/groups, channels[1]/groups]
    pub weights: Factor<'a, E>,
    pub bias: Option<&'a [E]>,
    pub x: &'a [E],
    pub y: &'a mut [E],
}

/// Outputs that a thread writes at once, at least: some ten microseconds' work for a small layer.
const BLOCK: usize = 256;

impl<E: Element> Kernel<E> for Slide<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, simd: S) {
        let Self { batch, axes, channels, weights, bias, x, y } = self;
        let [rows, columns] = &axes;
        let [x_len, y_row] = [rows.input * columns.input * channels[0], columns.output * channels[1]];
        let y_len = rows.output * y_row;
        if y_len == 0 {
            return;
        }
        let block = BLOCK.div_ceil(columns.output).next_multiple_of(rows.out_step).min(rows.output);
        let work = rows.output * columns.output * weights.data.len() / (rows.out_step * columns.out_step);
        let packed = if weights.is_depthwise() { 0 } else { weights.packed_len(2 * S::LANES) };
        scratch::with(packed, |panels| {
            weights.pack(2 * S::LANES, panels);
            let window = Window::new(&axes, channels, &weights, panels, bias, block);
            parallel::chunks_mut(work * batch, y, y_len, |n, y| {
                let x = &x[n * x_len..][..x_len];
                parallel::chunks_mut(work, y, block * y_row, |index, y| {
                    let outputs = index * block..index * block + y.len() / y_row;
                    let reads = rows.reads(outputs.clone());
                    let write = |x: &[E]| window.write(simd, x, reads.start, outputs, y);
                    window.frame.around(x, reads.clone(), channels[0], write);
                });
            });
        });
    }
}

/// What all blocks of y have in common.
struct Window<'a, E> {
    axes: &'a [Axis; 2],
    channels: [usize; 2],
    weights: &'a Factor<'a, E>,
    panels: &'a [E],
    bias: Option<&'a [E]>,
    /// A row of x with its zeros.
    frame: Frame,
    /// For each phase of columns, where the outputs of a block begin to read, and where they are written, seen from
    /// its first row.
    places: Vec<Vec<Row>>,
}

impl<'a, E: Element> Window<'a, E> {
    fn new(
        axes: &'a [Axis; 2],
        channels: [usize; 2],
        weights: &'a Factor<'a, E>,
        panels: &'a [E],
        bias: Option<&'a [E]>,
        block: usize,
    ) -> Self {
        let ([rows, columns], frame) = (axes, axes[1].frame());
        let place = |phase: &Phase, t: usize, j: usize| Row {
            from: (t * rows.in_step * frame.width() + j * columns.in_step) * channels[0],
            to: t * rows.out_step * columns.output + phase.first + j * columns.out_step,
        };
        let places = columns.phases.iter().map(|phase| {
            let outputs = (0..block.div_ceil(rows.out_step)).flat_map(|t| (0..phase.count).map(move |j| (t, j)));
            outputs.map(|(t, j)| place(phase, t, j)).collect()
        });
        let places = places.collect();
        Self { axes, channels, weights, panels, bias, frame, places }
    }

    /// Writes the rows `outputs` of one picture. `x` holds the picture's rows from `x_first` on.
    fn write<S: Simd<Elem = E>>(&self, simd: S, x: &[E], x_first: usize, outputs: Range<usize>, y: &mut [E]) {
        let [rows, columns] = self.axes;
        let pixels = outputs.len() * columns.output;
        let mut y = ArrayViewMut2::from_shape((pixels, self.channels[1]), y).expect("y is [rows, OW, F]");
        let mut segments = Vec::new();
        for phase in &rows.phases {
            let mut ts = rows.within(phase, outputs.clone());
            while let Some(t) = ts.next() {
                // Rows that meet the picture with the same taps go together.
                let alike = |&t2: &usize| {
                    phase.taps.iter().all(|&tap| rows.meets(t, tap).is_some() == rows.meets(t2, tap).is_some())
                };
                let more = ts.clone().take_while(alike).count();
                ts.start += more;
                let first = (phase.first + t * rows.out_step - outputs.start) * columns.output;
                for (column_phase, places) in columns.phases.iter().zip(&self.places) {
                    self.segments(phase, t, column_phase, x_first, 2 * S::LANES, &mut segments);
                    let places = &places[..(1 + more) * column_phase.count];
                    let y = y.slice_mut(s![first.., ..]);
                    match self.weights.is_depthwise() {
                        true => simd.vectorize(Depthwise { window: self, x, segments: &segments, places, y }),
                        false => self.multiply(simd, x, &segments, places, y),
                    }
                }
            }
        }
    }

    /// The taps that row t of a phase of rows and any column of a phase of columns meet the picture with.
    fn segments(
        &self,
        row: &Phase,
        t: usize,
        column: &Phase,
        x_first: usize,
        width: usize,
        segments: &mut Vec<Segment>,
    ) {
        let [rows, columns] = self.axes;
        let depth = self.weights.shape[2];
        segments.clear();
        for (&u, pixel) in row.taps.iter().filter_map(|u| rows.meets(t, *u).map(|pixel| (u, pixel))) {
            for v in &column.taps {
                let offset = (pixel - x_first) * self.frame.width() + self.frame.left;
                let a = offset.checked_add_signed(v.shift).expect("the frame holds every tap") * self.channels[0];
                let b = (u.index * columns.taps + v.index) * depth * width;
                match segments.last_mut() {
                    // Neighbouring pixels with all their channels are one run.
                    Some(last) if last.a + last.len == a && last.b + last.len * width == b => last.len += depth,
                    _ => segments.push(Segment { a, b, len: depth }),
                }
            }
        }
    }

    /// Writes the pixels `places` of `y`, for all groups and panels.
    fn multiply<S: Simd<Elem = E>>(
        &self,
        simd: S,
        x: &[E],
        segments: &[Segment],
        places: &[Row],
        mut y: ArrayViewMut2<'_, E>,
    ) {
        let ([groups, _, depth, columns], width) = (self.weights.shape, 2 * S::LANES);
        let mut panels = self.panels.chunks_exact(self.weights.panel_len(width));
        for group in 0..groups {
            // Outputs that all lie in the padding read no rows, and so no segments.
            let x = x.get(group * depth..).unwrap_or_default();
            let mut y = y.slice_mut(s![.., group * columns..(group + 1) * columns]);
            for (index, mut y) in y.axis_chunks_iter_mut(Along(1), width).enumerate() {
                let panel = panels.next().expect("weights were packed for each panel of each group");
                let product = Product::new(x, panel, [1, width], segments);
                let bias = self.bias.map(|bias| &bias[group * columns + index * width..]);
                let finish = bias.map_or(Finish::Overwrite, Finish::Bias);
                product.write(simd, places.len(), |place| places[place], finish, &mut y);
            }
        }
    }
}

/// Writes the pixels `places` of `y` where each channel is a group of its own: no matrix, but products side by side.
struct Depthwise<'a, E> {
    window: &'a Window<'a, E>,
    x: &'a [E],
    segments: &'a [Segment],
    places: &'a [Row],
    y: ArrayViewMut2<'a, E>,
}

impl<E: Element> Kernel<E> for Depthwise<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(mut self, _: S) {
        let (channels, weights) = (self.window.channels[1], self.window.weights);
        for place in self.places {
            let y = self.y.row_mut(place.to).into_slice().expect("the channels of a pixel lie side by side");
            match self.window.bias {
                Some(bias) => y.copy_from_slice(bias),
                None => y.fill(E::zero()),
            }
            for segment in self.segments {
                let x = &self.x[place.from + segment.a..][..channels];
                // As `segments` counts them: a panel has 2·LANES numbers for each tap.
                let w = &weights.data[segment.b / (2 * S::LANES) * weights.strides[1]..][..channels];
                y.iter_mut().zip(x).zip(w).for_each(|((y, &x), &w)| *y += x * w);
            }
        }
    }
}
