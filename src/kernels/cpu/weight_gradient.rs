//! dw[u,v,c,f] = Σ_{n,i,j} x[n, i·s+u·d−p, j·s+v·d−p, c] · dy[n,i,j,f]
//!
//! Outer products of pixels, added up in registers: a block of channels of x with a panel of filters of dy. What a strip
//! of outputs reads of dy stays in the first cache for all blocks and taps, what it reads of x for all taps; x is
//! rearranged once, block by block, for a band of strips that stays in the second cache. The problem alone, never the
//! number of threads, cuts the bands into at most 16 chunks, whose sums are added up in order.

mod winograd;

use super::conv2d::Conv2DShape;
use super::{parallel, scratch};
use crate::element::Element;
use crate::shape::Geometry2D;
use crate::simd::outer::{Outer, pack};
use crate::simd::{Kernel, Simd};
use std::ops::Range;

/// Overwrites `dw`, which is not empty.
pub(super) struct WeightGradient<'a, E, G = &'a [E]> {
    pub shape: &'a Conv2DShape,
    pub x: &'a [E],
    pub dy: G,
    pub dw: &'a mut [E],
}

/// A gradient dy [N,OH,OW,F], written down or not.
pub(super) trait Gradient<E>: Copy + Sync {
    /// All of it, where it is written down.
    fn dense(&self) -> Option<&[E]>;

    /// Overwrites `to` [rows, columns, width] with a part of one image; beyond the last filter with zeros.
    fn pack<S: Simd<Elem = E>>(&self, simd: S, shape: &Conv2DShape, part: &Part, to: &mut [E], width: usize);
}

/// A part of an image of dy.
#[derive(Clone)]
pub(super) struct Part {
    pub image: usize,
    pub rows: Range<usize>,
    pub columns: Range<usize>,
    pub filters: Range<usize>,
}

impl<E: Element> Gradient<E> for &[E] {
    fn dense(&self) -> Option<&[E]> {
        Some(self)
    }

    fn pack<S: Simd<Elem = E>>(&self, simd: S, shape: &Conv2DShape, part: &Part, to: &mut [E], width: usize) {
        let ([height, length], step) = (shape.geometry.output, shape.c_out);
        for (row, to) in part.rows.clone().zip(to.chunks_exact_mut(part.columns.len() * width)) {
            let pixel = (part.image * height + row) * length + part.columns.start;
            pack(simd, &self[pixel * step + part.filters.start..], step, part.filters.len(), to, width);
        }
    }
}

/// Numbers in the sums of all chunks, at most, where there are more chunks than one.
const CHUNK_NUMBERS: usize = 1 << 20;

/// Chunks, and tasks for threads, at most.
const CHUNKS: usize = 16;

/// How many of `units` equal pieces of work, each of which adds into `numbers` numbers, go into one chunk.
pub(super) fn units_in_chunk(units: usize, numbers: usize) -> usize {
    units.div_ceil((CHUNK_NUMBERS / numbers).clamp(1, CHUNKS)).max(1)
}

impl<E: Element, G: Gradient<E>> Kernel<E> for WeightGradient<'_, E, G> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, simd: S) {
        let Self { shape, x, dy, dw } = self;
        if shape.groups > 1 && [shape.c_in, shape.c_out] == [shape.groups; 2] {
            return depthwise(simd, shape, x, dy, dw);
        }
        if let Some(dy) = dy.dense().filter(|_| shape.winograd && winograd::suits(shape)) {
            return winograd::weight_gradient(simd, shape, x, dy, dw);
        }
        let cut = Cut::new::<S>(shape);
        let (panels, panel_len) = (shape.groups * cut.panels, cut.taps() * cut.depth * cut.width);
        let in_chunk = units_in_chunk(cut.units(), panels * panel_len);
        let chunks = cut.units().div_ceil(in_chunk);
        // Where there are few chunks, threads also share the panels.
        let in_task = panels.div_ceil(CHUNKS.div_ceil(chunks.max(1)));
        let tasks = panels.div_ceil(in_task);
        let work = shape.batch * shape.geometry.pixels() * dw.len();
        scratch::with(chunks * tasks * in_task * panel_len, |sums| {
            parallel::chunks_mut(work, sums, in_task * panel_len, |task, sums| {
                let (chunk, first) = (task / tasks, task % tasks * in_task);
                let units = chunk * in_chunk..cut.units().min((chunk + 1) * in_chunk);
                let panels = first..panels.min(first + in_task);
                Task { cut: &cut, x, dy, panels }.add(simd, units, sums);
            });
            let (in_chunk, piece) = (tasks * in_task * panel_len, PIECE.div_ceil(shape.c_out));
            parallel::chunks_mut(8 * sums.len(), dw, piece * shape.c_out, |index, dw| {
                simd.vectorize(Collect { cut: &cut, first: index * piece, sums, chunks, in_chunk, dw });
            });
        });
    }
}

/// Numbers of dw that are added up at once, about.
const PIECE: usize = 4096;

/// How a problem is cut: by its sizes and those of the registers alone.
struct Cut<'a> {
    shape: &'a Conv2DShape,
    /// Taps (rows, columns) that are gone through one by one: all of them, or, where there are few channels, the rows
    /// of taps: the taps of a row, with their channels, then lie side by side in x.
    taps: [usize; 2],
    /// Numbers that belong to such a tap, in `blocks` blocks of nearly the same height.
    depth: usize,
    blocks: usize,
    /// Filters in a panel, and panels in a group.
    width: usize,
    panels: usize,
    /// Images in a unit of work, and the bands of rows of outputs that they are cut into.
    images: usize,
    bands: usize,
    /// Rows and columns of outputs in a strip, at most.
    strip: [usize; 2],
}

/// Bytes of a panel of dy, and numbers of x, that stay in the first and in the second cache.
const STRIP: usize = 24 << 10;
const BAND: usize = 1 << 17;

/// Channels below which the taps of a row go together.
const FEW: usize = 8;

/// Part `index` of `len` things in `parts` nearly equal parts.
pub(super) fn part(len: usize, parts: usize, index: usize) -> Range<usize> {
    len * index / parts..len * (index + 1) / parts
}

impl<'a> Cut<'a> {
    fn new<S: Simd>(shape: &'a Conv2DShape) -> Self {
        let Conv2DShape { batch, geometry, c_in, c_out, groups, .. } = *shape;
        let ([kh, kw], [height, length]) = (geometry.kernel, geometry.output);
        let (c, f) = (c_in / groups, c_out / groups);
        let framed = (length - 1) * geometry.stride[1] + kw;
        let together = c < FEW && kw > 1 && geometry.dilation[1] == 1 && framed <= 2 * geometry.input[1] + FEW;
        let (taps, depth) = if together { ([kh, 1], kw * c) } else { ([kh, kw], c) };
        let width = if f > S::LANES { 2 * S::LANES } else { S::LANES };
        let pixels = STRIP / (width * size_of::<S::Elem>());
        let columns = length.div_ceil(length.div_ceil(pixels));
        let rows = height.div_ceil(height.div_ceil((pixels / columns).max(1)));
        let in_band = (BAND / (geometry.input[1] * geometry.stride[0] * c)).max(rows);
        let images = (pixels / geometry.pixels()).min(BAND / (geometry.input[0] * geometry.input[1] * c));
        Self {
            shape,
            taps,
            depth,
            blocks: depth.div_ceil(S::ROWS),
            width,
            panels: f.div_ceil(width),
            images: images.clamp(1, batch.max(1)),
            bands: height.div_ceil(in_band),
            strip: [rows, columns],
        }
    }

    fn taps(&self) -> usize {
        self.taps[0] * self.taps[1]
    }

    /// Units of work: some images, or a band of one.
    fn units(&self) -> usize {
        self.shape.batch.div_ceil(self.images) * self.bands
    }

    fn unit(&self, unit: usize) -> Unit {
        let first = unit / self.bands * self.images;
        let rows = part(self.shape.geometry.output[0], self.bands, unit % self.bands);
        Unit { images: first..self.shape.batch.min(first + self.images), rows }
    }

    fn together(&self) -> bool {
        self.taps[1] < self.shape.geometry.kernel[1]
    }

    /// The numbers of a tap that block `index` holds.
    fn block(&self, index: usize) -> Range<usize> {
        part(self.depth, self.blocks, index)
    }

    /// Where the sums of a block and tap begin in their panel: [blocks, taps, height of the block, width].
    fn sums_of(&self, block: &Range<usize>, tap: usize) -> usize {
        (block.start * self.taps() + tap * block.len()) * self.width
    }

    /// The filters of a panel, and how many of its columns are in use: one register is enough for few.
    fn filters<S: Simd>(&self, panel: usize) -> (Range<usize>, usize) {
        let f = self.shape.c_out / self.shape.groups;
        let (group, first) = (panel / self.panels, panel % self.panels * self.width);
        let filters = group * f + first..group * f + f.min(first + self.width);
        let width = if filters.len() > S::LANES { self.width } else { S::LANES };
        (filters, width)
    }

    /// The rows of x that these rows of outputs read.
    fn reads(&self, outputs: &Range<usize>) -> Range<usize> {
        let Geometry2D { input, kernel, stride, dilation, before, .. } = self.shape.geometry;
        let end = (outputs.end - 1) * stride[0] + (kernel[0] - 1) * dilation[0] + 1;
        let row = |row: usize| row.saturating_sub(before[0]).min(input[0]);
        row(outputs.start * stride[0])..row(end)
    }

    /// Pixels in a row of x, zeros on its left, and pixels of the picture, where `together` needs zeros around it.
    fn row(&self) -> [usize; 3] {
        let Geometry2D { input, output, kernel, stride, before, .. } = self.shape.geometry;
        if !self.together() {
            return [input[1], 0, input[1]];
        }
        let width = (output[1] - 1) * stride[1] + kernel[1];
        let left = before[1].min(width);
        [width, left, input[1].min(width - left)]
    }
}

/// Images, and a band of rows of outputs in each of them.
struct Unit {
    images: Range<usize>,
    rows: Range<usize>,
}

/// Among `outputs`, those that meet the picture with a tap, along one axis; and which pixel the first of them meets.
fn met(geometry: &Geometry2D, axis: usize, tap: usize, outputs: &Range<usize>) -> (Range<usize>, usize) {
    let (stride, offset, before) = (geometry.stride[axis], tap * geometry.dilation[axis], geometry.before[axis]);
    // The first i with i·s + u·d ≥ p + pixel
    let first = |pixel: usize| (before + pixel).saturating_sub(offset).div_ceil(stride);
    let [start, end] = [first(0), first(geometry.input[axis])].map(|i| i.clamp(outputs.start, outputs.end));
    (start..end, (start * stride + offset).saturating_sub(before))
}

/// What one thread adds up: some panels of filters.
struct Task<'a, E, G> {
    cut: &'a Cut<'a>,
    x: &'a [E],
    dy: G,
    panels: Range<usize>,
}

/// Rows of x as the inner loop reads them.
#[derive(Clone, Copy)]
struct Source<'a, E> {
    x: &'a [E],
    first_row: usize,
    /// Numbers from one image, and from one row, to the next, for each number of a pixel.
    image: usize,
    row: usize,
    /// Numbers of a pixel, where they all lie side by side; else there is a picture for each block.
    pixel: Option<usize>,
}

impl<E: Element, G: Gradient<E>> Task<'_, E, G> {
    /// Overwrites `sums` with those of some units.
    fn add<S: Simd<Elem = E>>(&self, simd: S, units: Range<usize>, sums: &mut [E]) {
        let (cut, shape) = (self.cut, self.cut.shape);
        sums.fill(E::zero());
        let most_rows = units.clone().map(|unit| cut.reads(&cut.unit(unit).rows).len()).max().unwrap_or(0);
        let x_len = cut.images * most_rows * cut.row()[0] * (shape.c_in / shape.groups);
        let dy_len = cut.images * cut.strip[0] * cut.strip[1] * cut.width;
        scratch::with(x_len + dy_len, |memory| {
            let (x, dy) = memory.split_at_mut(x_len);
            for unit in units {
                let unit = cut.unit(unit);
                let mut panels = self.panels.clone().zip(sums.chunks_exact_mut(cut.taps() * cut.depth * cut.width));
                for group in self.panels.start / cut.panels..self.panels.end.div_ceil(cut.panels) {
                    let source = self.source(simd, group, &unit, x);
                    let end = self.panels.end.min((group + 1) * cut.panels);
                    let rest = end - self.panels.start.max(group * cut.panels);
                    for (panel, sums) in panels.by_ref().take(rest) {
                        self.add_panel(simd, source, panel, &unit, dy, sums);
                    }
                }
            }
        });
    }

    /// What some rows of outputs read of x; rearranged into `memory`, unless x is in order as it is.
    fn source<'a, S: Simd<Elem = E>>(
        &'a self,
        simd: S,
        group: usize,
        Unit { images, rows }: &Unit,
        memory: &'a mut [E],
    ) -> Source<'a, E> {
        let (cut, Conv2DShape { geometry, c_in, groups, .. }) = (self.cut, *self.cut.shape);
        let ([height, length], [width, left, inner], c) = (geometry.input, cut.row(), c_in / groups);
        let one = cut.together() || cut.blocks == 1;
        if one && groups == 1 && width == length && left == 0 {
            let (image, row) = (height * length, length);
            return Source { x: &self.x[images.start * image * c..], first_row: 0, image, row, pixel: Some(c) };
        }
        let rows = cut.reads(rows);
        let pixels = images.len() * rows.len() * width;
        for block in 0..if one { 1 } else { cut.blocks } {
            let channels = if one { 0..c } else { cut.block(block) };
            let to = &mut memory[pixels * channels.start..pixels * channels.end];
            let from = images.clone().flat_map(|n| rows.clone().map(move |row| (n * height + row) * length * c_in));
            for (to, from) in to.chunks_exact_mut((width * channels.len()).max(1)).zip(from) {
                let (zeros, to) = to.split_at_mut(left * channels.len());
                let (to, more_zeros) = to.split_at_mut(inner * channels.len());
                zeros.fill(E::zero());
                more_zeros.fill(E::zero());
                let from = &self.x[from + group * c + channels.start..];
                pack(simd, from, c_in, channels.len(), to, channels.len());
            }
        }
        let pixel = one.then_some(c);
        Source { x: &memory[..pixels * c], first_row: rows.start, image: rows.len() * width, row: width, pixel }
    }

    /// Adds the products of one panel of filters, strip by strip.
    fn add_panel<S: Simd<Elem = E>>(
        &self,
        simd: S,
        source: Source<'_, E>,
        panel: usize,
        Unit { images, rows: outputs }: &Unit,
        memory: &mut [E],
        sums: &mut [E],
    ) {
        let (cut, Conv2DShape { geometry, c_in, c_out, .. }) = (self.cut, *self.cut.shape);
        let ([height, length], (filters, width)) = (geometry.output, cut.filters::<S>(panel));
        let (row_strips, column_strips) = (outputs.len().div_ceil(cut.strip[0]), length.div_ceil(cut.strip[1]));
        for strip in 0..row_strips * column_strips {
            let rows = part(outputs.len(), row_strips, strip / column_strips);
            let rows = outputs.start + rows.start..outputs.start + rows.end;
            let columns = part(length, column_strips, strip % column_strips);
            let first = (images.start * height + rows.start) * length + columns.start;
            // What the next strip reads of dy, and the same strip of the next images of x.
            let next = first + images.len() * rows.len() * columns.len();
            let next_dy = self.dy.dense().and_then(|dy| dy.get(next * c_out + filters.start..));
            let x_first = (images.end * geometry.input[0] + rows.start * geometry.stride[0]) * geometry.input[1];
            let next_x = self.x.get(x_first * c_in..).filter(|_| panel == self.panels.start);
            let next = [(next_dy.unwrap_or_default(), c_out), (next_x.unwrap_or_default(), c_in)];
            let part = Part { image: images.start, rows, columns, filters: filters.clone() };
            let (dy, steps) = match self.dy.dense().filter(|_| [c_out, filters.len()] == [width; 2]) {
                Some(dy) => (&dy[first * width..], [height * length, length, 1]),
                None => self.pack(simd, images, &part, memory, width),
            };
            let (images, steps) = (images.len(), steps.map(|step| step * width));
            let strip = Strip { images, rows: part.rows, columns: part.columns, dy, steps, width, next };
            self.add_strip(simd, source, &strip, sums);
        }
    }

    /// A part of dy, side by side in `memory` for some images; and the pixels from one image, row and column to the next.
    fn pack<'a, S: Simd<Elem = E>>(
        &self,
        simd: S,
        images: &Range<usize>,
        part: &Part,
        memory: &'a mut [E],
        width: usize,
    ) -> (&'a [E], [usize; 3]) {
        let pixels = part.rows.len() * part.columns.len();
        for (image, to) in images.clone().zip(memory.chunks_exact_mut(pixels * width)) {
            self.dy.pack(simd, self.cut.shape, &Part { image, ..part.clone() }, to, width);
        }
        (&memory[..images.len() * pixels * width], [pixels, part.columns.len(), 1])
    }

    /// Adds the products of a strip of outputs: for all blocks and taps.
    fn add_strip<S: Simd<Elem = E>>(&self, simd: S, source: Source<'_, E>, strip: &Strip<'_, E>, sums: &mut [E]) {
        let (cut, geometry) = (self.cut, &self.cut.shape.geometry);
        let mut tile = 0;
        for block in (0..cut.blocks).map(|index| cut.block(index)) {
            // A pixel of x has so many numbers, and the block begins here.
            let (pixel, start) = match source.pixel {
                Some(pixel) => (pixel, block.start),
                None => (block.len(), strip.images * source.image * block.start),
            };
            for tap in 0..cut.taps() {
                let (rows, row) = met(geometry, 0, tap / cut.taps[1], &strip.rows);
                let (columns, column) = match cut.together() {
                    true => (strip.columns.clone(), strip.columns.start * geometry.stride[1]),
                    false => met(geometry, 1, tap % cut.taps[1], &strip.columns),
                };
                if rows.is_empty() || columns.is_empty() {
                    continue;
                }
                let a = start + ((row - source.first_row) * source.row + column) * pixel;
                let [first_row, first_column] = [rows.start - strip.rows.start, columns.start - strip.columns.start];
                tile += 1;
                let outer = Outer {
                    a: &source.x[a..],
                    b: &strip.dy[first_row * strip.steps[1] + first_column * strip.steps[2]..],
                    counts: [strip.images, rows.len(), columns.len()],
                    steps: [
                        [source.image, geometry.stride[0] * source.row, geometry.stride[1]].map(|step| step * pixel),
                        strip.steps,
                    ],
                    ahead: strip.ahead(tile - 1),
                };
                let sums = &mut sums[cut.sums_of(&block, tap)..][..block.len() * strip.width];
                outer.add(simd, block.len(), sums);
            }
        }
    }
}

/// Outputs whose dy, in one panel of filters, stays in the first cache.
struct Strip<'a, E> {
    images: usize,
    rows: Range<usize>,
    columns: Range<usize>,
    /// dy from the first of them on, and its steps from one image, row and column to the next.
    dy: &'a [E],
    steps: [usize; 3],
    width: usize,
    /// What of dy, and of x, will be read next, and the numbers of a pixel there.
    next: [(&'a [E], usize); 2],
}

impl<E> Strip<'_, E> {
    /// What tile `tile` of the strip fetches ahead: a line of the cache of each pixel, of dy first.
    fn ahead(&self, tile: usize) -> (&[E], usize) {
        let line = 64 / size_of::<E>();
        let [(dy, dy_step), (x, x_step)] = self.next;
        let lines = self.width.div_ceil(line);
        match tile.checked_sub(lines) {
            None => dy.get(tile * line..).map_or((&[], 0), |dy| (dy, dy_step)),
            Some(tile) if tile * line < x_step => x.get(tile * line..).map_or((&[], 0), |x| (x, x_step)),
            Some(_) => (&[], 0),
        }
    }
}

/// Overwrites rows `first` … of dw [KH·KW·C/groups, F] with the sums of all chunks.
struct Collect<'a, E> {
    cut: &'a Cut<'a>,
    first: usize,
    sums: &'a [E],
    chunks: usize,
    in_chunk: usize,
    dw: &'a mut [E],
}

impl<E: Element> Kernel<E> for Collect<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, _: S) {
        let cut = self.cut;
        for (row, dw) in (self.first..).zip(self.dw.chunks_exact_mut(cut.shape.c_out)) {
            let (tap, k) = (row / cut.depth, row % cut.depth);
            // The block that holds k.
            let block = cut.block(((k + 1) * cut.blocks - 1) / cut.depth);
            for panel in 0..cut.shape.groups * cut.panels {
                let (filters, width) = cut.filters::<S>(panel);
                let from =
                    panel * cut.taps() * cut.depth * cut.width + cut.sums_of(&block, tap) + (k - block.start) * width;
                let dw = &mut dw[filters];
                dw.fill(E::zero());
                for chunk in 0..self.chunks {
                    let sums = &self.sums[chunk * self.in_chunk + from..][..dw.len()];
                    dw.iter_mut().zip(sums).for_each(|(dw, &sum)| *dw += sum);
                }
                dw.iter_mut().for_each(|dw| *dw = dw.flushed());
            }
        }
    }
}

/// The same where each channel is a group of its own: products side by side.
fn depthwise<S: Simd<Elem = E>, E: Element>(simd: S, shape: &Conv2DShape, x: &[E], dy: impl Gradient<E>, dw: &mut [E]) {
    let Conv2DShape { batch, geometry, c_in, .. } = *shape;
    let (x_len, dy_len) = (geometry.input[0] * geometry.input[1] * c_in, geometry.pixels() * c_in);
    let images = units_in_chunk(batch, dw.len());
    let (chunks, dw_len) = (batch.div_ceil(images), dw.len());
    scratch::with(chunks * dw_len, |sums| {
        parallel::chunks_mut(batch * geometry.pixels() * dw_len, sums, dw_len, |chunk, sums| {
            sums.fill(E::zero());
            scratch::with(if dy.dense().is_some() { 0 } else { dy_len }, |memory| {
                for image in chunk * images..batch.min((chunk + 1) * images) {
                    let dy = match dy.dense() {
                        Some(dy) => &dy[image * dy_len..][..dy_len],
                        None => {
                            let [rows, columns] = geometry.output.map(|size| 0..size);
                            dy.pack(simd, shape, &Part { image, rows, columns, filters: 0..c_in }, memory, c_in);
                            &*memory
                        }
                    };
                    simd.vectorize(Depthwise { shape, x: &x[image * x_len..][..x_len], dy, dw: sums });
                }
            });
        });
        dw.fill(E::zero());
        for sums in sums.chunks_exact(dw_len) {
            dw.iter_mut().zip(sums).for_each(|(dw, &sum)| *dw += sum);
        }
        dw.iter_mut().for_each(|dw| *dw = dw.flushed());
    });
}

/// Adds the products of one image into `dw` [KH,KW,F].
struct Depthwise<'a, E> {
    shape: &'a Conv2DShape,
    x: &'a [E],
    dy: &'a [E],
    dw: &'a mut [E],
}

impl<E: Element> Kernel<E> for Depthwise<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, _: S) {
        let Conv2DShape { geometry, c_in, .. } = *self.shape;
        for (tap, dw) in self.dw.chunks_exact_mut(c_in).enumerate() {
            let (rows, first_row) = met(&geometry, 0, tap / geometry.kernel[1], &(0..geometry.output[0]));
            let (columns, first_column) = met(&geometry, 1, tap % geometry.kernel[1], &(0..geometry.output[1]));
            for (i, j) in rows.clone().flat_map(|i| columns.clone().map(move |j| (i, j))) {
                let row = first_row + (i - rows.start) * geometry.stride[0];
                let column = first_column + (j - columns.start) * geometry.stride[1];
                let x = &self.x[(row * geometry.input[1] + column) * c_in..][..c_in];
                let dy = &self.dy[(i * geometry.output[1] + j) * c_in..][..c_in];
                dw.iter_mut().zip(x).zip(dy).for_each(|((dw, &x), &dy)| *dw += x * dy);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, Number};
    use super::super::{conv2d, naive};
    use super::*;
    use crate::random::{Key, Random};
    use crate::shape::{Padding, Window2D};
    use crate::simd::{Path, forced};

    fn check<E: Number>(shape: &Conv2DShape, threads: bool, random: &mut Random) {
        let [x_len, w_len, y_len] = naive::conv2d_sizes(shape);
        let [x, mut dy] = [x_len, y_len].map(|len| testing::draw(len, random));
        dy.iter_mut().filter(|_| random.chance(0.1)).for_each(|dy| *dy = 0.0);
        let expected = naive::conv2d_weight_gradient(shape, &x, &dy);
        let bound = naive::conv2d_weight_gradient(shape, &testing::magnitudes(&x), &testing::magnitudes(&dy));
        let [x, dy] = [x, dy].map(|numbers| testing::cast::<E>(&numbers));
        let run = || {
            let mut dw = vec![E::nan(); w_len];
            conv2d::weight_gradient(shape, &x, &dy, &mut dw);
            testing::close(&dw, &expected, &bound, &format!("{shape:?}"));
            dw
        };
        match threads {
            true => testing::on_each_path_and_pool(run),
            false => Path::available().into_iter().for_each(|path| drop(forced::with(path, run))),
        }
    }

    fn draw_shape(round: usize, random: &mut Random) -> Option<Conv2DShape> {
        let small = |random: &mut Random, most| [1 + random.below(most), 1 + random.below(most)];
        let paddings = [Padding::Valid, Padding::Same, Padding::all(1), Padding::all(3)];
        let window = Window2D {
            kernel: small(random, 5),
            stride: small(random, 3),
            dilation: small(random, 2),
            padding: paddings[random.below(4)],
            ceil_mode: false,
        };
        let geometry = window.over("conv2d", [1 + random.below(12), 1 + random.below(12)]).ok()?;
        let groups = if round.is_multiple_of(4) { 2 + random.below(2) } else { 1 };
        let (c, f) = match round % 5 {
            0 => (1, 1),
            1 => (1 + random.below(40), 1 + random.below(9)),
            2 => (1 + random.below(4), 1 + random.below(80)),
            _ => (1 + random.below(16), 1 + random.below(20)),
        };
        let batch = if round.is_multiple_of(40) { 33 } else { [1, 2, 3, 0][random.below(4)] };
        let most = if batch == 33 { 6 } else { usize::MAX };
        let [c_in, c_out] = [c, f].map(|channels| groups * channels.min(most));
        Some(Conv2DShape { batch, geometry, c_in, c_out, groups, winograd: random.chance(0.5) })
    }

    #[test]
    fn sums_agree_with_the_formula() {
        let mut random = Key::new(1).named("weight gradient").stream();
        let mut round = 0;
        while round < 2000 {
            let Some(shape) = draw_shape(round, &mut random) else { continue };
            check::<f32>(&shape, round.is_multiple_of(20), &mut random);
            check::<f64>(&shape, round % 20 == 1, &mut random);
            round += 1;
        }
    }

    // Strips, bands, panels and chunks: more than one of each.
    #[test]
    fn sums_agree_where_a_problem_is_cut() {
        let mut random = Key::new(2).named("weight gradient").stream();
        let same = Window2D { padding: Padding::Same, ..Window2D::new(3) };
        for (batch, window, input, c_in, c_out, groups) in [
            (2, same, [70, 65], 30, 33, 1),
            (1, Window2D::new((1, 3)), [3, 900], 9, 40, 1),
            (3, same, [40, 40], 3, 40, 1),
            (33, same, [4, 4], 20, 70, 1),
            (2, Window2D { stride: [2, 2], ..same }, [33, 33], 24, 90, 2),
            (2, same, [3, 3], 150, 1000, 1),
            (17, same, [20, 20], 24, 24, 24),
        ] {
            let geometry = window.over("conv2d", input).expect("the kernel fits");
            for winograd in [false, true] {
                let shape = Conv2DShape { batch, geometry, c_in, c_out, groups, winograd };
                check::<f32>(&shape, true, &mut random);
                check::<f64>(&shape, true, &mut random);
            }
        }
    }
}
