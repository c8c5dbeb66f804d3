//! y[i,j,f] = b[f] + Σ_{u,v} Σ_c x[row(i,u), column(j,v), c] · w[u,v,c,f]
//!
//! A window that slides over a picture: a convolution, and the way back from its output to its input. Both are products
//! of matrices whose first one, a row of taps and channels for each pixel, is never written down: the tile finds its
//! numbers in the picture itself. Pixels that meet the picture with the same taps go together, so that nothing is
//! multiplied with the zeros around it. What follows a convolution is done to a block of rows while it is in the cache.

mod pooled;
mod winograd;

use super::activation::Activation;
use super::axis::{Axis, Run};
use super::panels::Factor;
use super::tail::Tail;
use super::{parallel, scratch};
use crate::element::Element;
use crate::simd::tile::{End, Product, Row, Segment, Start};
use crate::simd::{Kernel, Simd};
use pooled::Pooled;
use std::ops::{Range, RangeInclusive};
use winograd::{To, Winograd};

/// A window over a batch of pictures, and its tail: x [N, input, channels[0]] → y [N, tail's output, channels[1]].
/// Overwrites `y`, and `argmax` with the taps that the tail's pooling took.
pub(super) struct Slide<'a, E> {
    pub batch: usize,
    pub axes: [Axis; 2],
    pub channels: [usize; 2],
    /// w [groups, KH·KW, channels[0]/groups, channels[1]/groups]
    pub weights: Factor<'a, E>,
    /// Whether the axes count the taps from the last to the first.
    pub reversed: bool,
    /// Whether Winograd's algorithm may be used.
    pub winograd: bool,
    pub bias: Option<&'a [E]>,
    pub tail: Tail,
    pub x: &'a [E],
    pub y: &'a mut [E],
    pub argmax: Option<&'a mut [u8]>,
}

/// Pixels that a thread writes at once: few enough to stay in the cache for what follows, and, unless they are all that
/// there are, enough that a panel of weights is used often.
const BLOCK: RangeInclusive<usize> = 64..=256;

impl<E: Element> Kernel<E> for Slide<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, simd: S) {
        let Self { batch, axes, channels, weights, reversed, winograd, bias, tail, x, y, argmax } = self;
        let [rows, columns] = axes;
        let output = tail.output([rows.output, columns.output]);
        let [x_len, y_row] = [rows.input * columns.input * channels[0], output[1] * channels[1]];
        let y_len = output[0] * y_row;
        if batch * y_len == 0 {
            return;
        }
        // Blocks of rows of one picture, or of several small pictures.
        let pixels = rows.output * columns.output;
        let most = (batch * pixels / 16).clamp(*BLOCK.start(), *BLOCK.end());
        let images = (most / pixels).clamp(1, batch);
        let block = output[0].div_ceil(pixels.div_ceil(most).min(output[0]));
        let work = pixels * weights.data.len() / (rows.divisor * columns.divisor);
        let packed = if weights.is_depthwise() { 0 } else { weights.packed_len(2 * S::LANES) };
        let window = Window::new(axes, channels, weights, reversed, bias, tail);
        let factors_len = if winograd { Winograd::factors_len(&window, batch, packed) } else { 0 };
        // Whole periods of taps, or whole squares.
        let step = if factors_len > 0 { 2 } else { rows.divisor };
        let block = block.next_multiple_of(step).min(output[0]);
        scratch::with(packed + factors_len, |memory| {
            let (panels, factors) = memory.split_at_mut(packed);
            weights.pack(simd, reversed, panels);
            let mut window = window;
            window.panels = panels;
            window.winograd = Winograd::new(&window, simd, factors);
            each_chunk(work * batch, y, argmax, images * y_len, &|group, y, argmax| {
                let x = &x[group * images * x_len..][..y.len() / y_len * x_len];
                let size = if images > 1 { y.len() } else { block * y_row };
                each_chunk(work, y, argmax, size, &|index, y, argmax| {
                    let outputs = index * block..output[0].min((index + 1) * block);
                    window.write(simd, x, outputs, y, argmax);
                });
            });
        });
    }
}

/// Runs `task` on each chunk of `size` numbers of `y`, and of `argmax` if there is one.
fn each_chunk<E: Element>(
    work: usize,
    y: &mut [E],
    argmax: Option<&mut [u8]>,
    size: usize,
    task: &(impl Fn(usize, &mut [E], Option<&mut [u8]>) + Sync),
) {
    match argmax {
        Some(argmax) => {
            parallel::zip_chunks_mut(work, y, argmax, size, |index, y, argmax| task(index, y, Some(argmax)))
        }
        None => parallel::chunks_mut(work, y, size, |index, y| task(index, y, None)),
    }
}

/// What all blocks of y have in common.
struct Window<'a, E> {
    axes: [Axis; 2],
    channels: [usize; 2],
    weights: Factor<'a, E>,
    reversed: bool,
    panels: &'a [E],
    bias: Option<&'a [E]>,
    tail: Tail,
    /// Taps down, taps across and channels of a piece of the sums.
    piece: [usize; 3],
    /// Where the pooling's windows can be made of sums in registers.
    pooled: Option<Pooled>,
    /// Where four outputs share their products.
    winograd: Option<Winograd<'a, E>>,
}

/// A piece of the sums.
struct Piece {
    taps: [Range<usize>; 2],
    depth: Range<usize>,
    /// Whether it is what the sums begin with.
    first: bool,
}

/// Pixels whose places are known at once.
const PLACES: usize = 256;

/// Products whose sum is kept in registers: a panel of so many rows stays in the first cache.
const DEPTH: usize = 384;

/// Taps of a piece of a sum.
const TAPS: usize = 64;

impl<'a, E: Element> Window<'a, E> {
    fn new(
        axes: [Axis; 2],
        channels: [usize; 2],
        weights: Factor<'a, E>,
        reversed: bool,
        bias: Option<&'a [E]>,
        tail: Tail,
    ) -> Self {
        let ([kh, kw], depth) = (axes.map(|axis| axis.taps), weights.shape[2].max(1));
        let across = kw.min(TAPS).min(DEPTH / depth).max(1);
        let down = if across < kw { 1 } else { kh.min(TAPS / kw).min(DEPTH / (kw * depth)).max(1) };
        let piece = [down, across, depth.min(DEPTH)];
        let is_whole = piece == [kh, kw, weights.shape[2]] && !weights.is_depthwise();
        let pooled = tail.pool.filter(|_| is_whole).and_then(|pool| Pooled::new(&axes, pool));
        Self { axes, channels, weights, reversed, panels: &[], bias, tail, piece, pooled, winograd: None }
    }

    /// Whether a sum is made in one piece.
    fn is_whole(&self) -> bool {
        let [down, across] = self.axes.map(|axis| axis.taps);
        self.winograd.is_some() || self.piece == [down, across, self.weights.shape[2]]
    }

    /// What becomes of a sum.
    fn end(&self) -> End {
        match self.tail {
            Tail { pool: Some(_), .. } => End::Nothing,
            Tail { activation: Activation::Relu, .. } if self.is_whole() => End::Rectify,
            _ => End::Flush,
        }
    }

    /// Writes the rows `outputs` of the pictures x [.., input, C] to y [.., rows, columns, F].
    fn write<S: Simd<Elem = E>>(
        &self,
        simd: S,
        x: &[E],
        outputs: Range<usize>,
        y: &mut [E],
        mut argmax: Option<&mut [u8]>,
    ) {
        let (output, f) = (self.axes[1].output, self.channels[1]);
        let Some(pool) = self.tail.pool else {
            self.convolve(simd, x, [outputs, 0..output], y);
            if self.end() != End::Rectify || self.weights.is_depthwise() {
                self.tail.activate(simd, y);
            }
            return;
        };
        let y_len = outputs.len() * pool.output[1] * f;
        if let Some(winograd) = self.winograd.as_ref().filter(|_| winograd::takes(&pool)) {
            let reads = [2 * outputs.start..2 * outputs.end, 0..2 * pool.output[1]];
            winograd.write(self, simd, x, y.len() / y_len, &reads, To::Largest(y, argmax));
            if self.tail.activation != Activation::Relu {
                self.tail.activate(simd, y);
            }
            return;
        }
        let is_faster = self.winograd.is_none() && pooled::is_faster::<S>(self.piece);
        if let Some(pooled) = self.pooled.as_ref().filter(|_| is_faster) {
            return pooled.write(self, simd, x, outputs, y, argmax);
        }
        // Only what the pooling looks at
        let reads = [self.tail.reads(outputs.clone()), 0..self.tail.columns(output)];
        let strip_len = reads[0].len() * reads[1].len() * f;
        scratch::with(y.len() / y_len * strip_len, |strip| {
            let size = [reads[1].len(), f];
            self.convolve(simd, x, reads, strip);
            for (n, y) in y.chunks_exact_mut(y_len).enumerate() {
                let argmax = argmax.as_deref_mut().map(|argmax| &mut argmax[n * y_len..][..y_len]);
                self.tail.write(simd, &strip[n * strip_len..][..strip_len], size, outputs.clone(), y, argmax);
            }
        });
    }

    /// y[n,i,j,f] of the window alone, for these rows and columns: a piece of each sum after the other.
    fn convolve<S: Simd<Elem = E>>(&self, simd: S, x: &[E], outputs: [Range<usize>; 2], y: &mut [E]) {
        if let Some(winograd) = &self.winograd {
            let images = y.len() / (outputs[0].len() * outputs[1].len() * self.channels[1]).max(1);
            return winograd.write(self, simd, x, images, &outputs, To::Outputs(y));
        }
        let ([kh, kw], depth) = (self.axes.map(|axis| axis.taps), self.weights.shape[2]);
        let [down, across, channels] = self.piece;
        let mut first = true;
        for (u, v) in (0..kh).step_by(down).flat_map(|u| (0..kw).step_by(across).map(move |v| (u, v))) {
            for c in (0..depth.max(1)).step_by(channels) {
                let taps = [u..kh.min(u + down), v..kw.min(v + across)];
                let piece = Piece { taps, depth: c..depth.min(c + channels), first };
                self.add_piece(simd, x, piece, &outputs, y);
                first = false;
            }
        }
    }

    /// Adds a piece of the sums.
    fn add_piece<S: Simd<Elem = E>>(&self, simd: S, x: &[E], piece: Piece, outputs: &[Range<usize>; 2], y: &mut [E]) {
        let images = y.len() / (outputs[0].len() * outputs[1].len() * self.channels[1]).max(1);
        for row in self.axes[0].runs(outputs[0].clone(), piece.taps[0].clone()) {
            for column in self.axes[1].runs(outputs[1].clone(), piece.taps[1].clone()) {
                if row.taps * column.taps == 0 && !piece.first {
                    continue;
                }
                let mut segments = [Segment::default(); TAPS];
                let segments = self.segments(row, column, piece.depth.clone(), &mut segments);
                self.each_places(images, row, column, outputs, |places| {
                    self.add(simd, x, segments, piece.first, places, y);
                });
            }
        }
    }

    /// Runs `work` on the pixels of these rows and columns of each image: where they begin to read, and where they are
    /// written among all `outputs`; on some of them at a time.
    fn each_places(
        &self,
        images: usize,
        row: Run,
        column: Run,
        outputs: &[Range<usize>; 2],
        mut work: impl FnMut(&[Row]),
    ) {
        let [height, width] = self.axes.map(|axis| axis.input);
        let mut places = [Row::default(); PLACES];
        let mut count = 0;
        for (n, i) in (0..images).flat_map(|n| (0..row.count).map(move |i| (n, i))) {
            let from = (n * height + i * row.from_step) * width * self.channels[0];
            let to = (n * outputs[0].len() + row.to + i * row.to_step) * outputs[1].len() + column.to;
            let mut columns = 0..column.count;
            while !columns.is_empty() {
                let room = PLACES - count;
                for (place, j) in places[count..].iter_mut().zip(columns.clone()) {
                    let from = from + j * column.from_step * self.channels[0];
                    *place = Row { from, to: to + j * column.to_step };
                }
                count += room.min(columns.len());
                columns.start += room.min(columns.len());
                if count == PLACES {
                    work(&places);
                    count = 0;
                }
            }
        }
        work(&places[..count]);
    }

    /// Where the taps that these rows and columns meet the picture with find their factors.
    fn segments<'s>(
        &self,
        row: Run,
        column: Run,
        channels: Range<usize>,
        segments: &'s mut [Segment; TAPS],
    ) -> &'s [Segment] {
        let (depth, width) = (self.weights.shape[2], self.axes[1].input);
        let mut count = 0;
        for (u, v) in (0..row.taps).flat_map(|u| (0..column.taps).map(move |v| (u, v))) {
            let pixel = (row.from + u * row.pixel_step) * width + column.from + v * column.pixel_step;
            let tap = (row.tap + u * row.tap_step) * self.axes[1].taps + column.tap + v * column.tap_step;
            let [a, b] = [pixel * self.channels[0], tap * depth].map(|first| first + channels.start);
            let next = Segment { a, b, len: channels.len() };
            match segments[..count].last_mut() {
                // Neighbouring pixels with all their channels are one run.
                Some(last) if last.a + last.len == next.a && last.b + last.len == next.b => last.len += next.len,
                _ => {
                    segments[count] = next;
                    count += 1;
                }
            }
        }
        &segments[..count]
    }

    /// Writes the sums over these segments to the pixels `places` of `y`, or adds them where they are not the `first`.
    fn add<S: Simd<Elem = E>>(&self, simd: S, x: &[E], segments: &[Segment], first: bool, places: &[Row], y: &mut [E]) {
        if self.weights.is_depthwise() {
            return simd.vectorize(Depthwise { window: self, x, segments, first, places, y });
        }
        self.each_panel(simd, x, segments, first, |product, f, columns| {
            product.write(simd, places, &mut y[f..], [self.channels[1], columns]);
        });
    }

    /// Runs `work` on the product over these segments for each panel of weights: its first column, and how many it has.
    fn each_panel<S: Simd<Elem = E>>(
        &self,
        _: S,
        x: &[E],
        segments: &[Segment],
        first: bool,
        mut work: impl FnMut(Product<'_, E>, usize, usize),
    ) {
        let ([groups, _, depth, columns], width) = (self.weights.shape, 2 * S::LANES);
        let mut panels = self.panels.chunks_exact(self.weights.panel_len(width).max(1));
        for (group, column) in (0..groups).flat_map(|group| (0..columns).step_by(width).map(move |f| (group, f))) {
            // Without segments there may be no x and no panels.
            let x = x.get(group * depth..).unwrap_or_default();
            let panel = panels.next().unwrap_or_default();
            let f = group * columns + column;
            let start = match self.bias {
                _ if !first => Start::Sum,
                Some(bias) => Start::Bias(&bias[f..]),
                None => Start::Zero,
            };
            let product = Product { a: x, panel, segments, start, end: self.end() };
            work(product, f, width.min(columns - column));
        }
    }
}

/// The same where each channel is a group of its own: no matrix, but products side by side.
struct Depthwise<'a, E> {
    window: &'a Window<'a, E>,
    x: &'a [E],
    segments: &'a [Segment],
    first: bool,
    places: &'a [Row],
    y: &'a mut [E],
}

impl<E: Element> Kernel<E> for Depthwise<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, _: S) {
        let Window { channels, weights, reversed, bias, .. } = *self.window;
        for place in self.places {
            let y = &mut self.y[place.to * channels[1]..][..channels[1]];
            match bias {
                _ if !self.first => {}
                Some(bias) => y.copy_from_slice(bias),
                None => y.fill(E::zero()),
            }
            for segment in self.segments {
                let x = &self.x[place.from + segment.a..][..channels[1]];
                let w = &weights.data[weights.tap(segment.b, reversed)..][..channels[1]];
                y.iter_mut().zip(x).zip(w).for_each(|((y, &x), &w)| *y += x * w);
            }
            y.iter_mut().for_each(|y| *y = y.flushed());
        }
    }
}
