//! The way back through a convolution z = w ∗ x and the max pooling after it, whose gradient is sparse:
//! dz[n,i,j,f] = dy[n,I,J,f] where (i,j) is the pixel of window (I,J) that was the largest, and 0 elsewhere.
//!
//! dw[u,v,c,f] = Σ x[n, i·s+u·d−p, j·s+v·d−p, c] · dy[n,I,J,f]
//! dx[n, i·s+u·d−p, j·s+v·d−p, c] = Σ w[u,v,c,f] · dy[n,I,J,f]
//!
//! A number of dy that is not 0 meets one patch of x: KH runs of KW·C numbers. A strip's numbers are listed filter by
//! filter, and the lists are gone through with the filter's part of dw, and of w, in registers. Where channels are few,
//! or in groups, dz is written down, part by part, for the kernels of a dense gradient.

use super::chosen_gradient::ChosenGradient;
use super::conv2d::{self, Conv2DShape};
use super::weight_gradient::{Gradient, Part, WeightGradient, part, units_in_chunk};
use super::{parallel, scratch};
use crate::element::Element;
use crate::shape::Geometry2D;
use crate::simd::sparse::{LISTS, Lists, NUMBERS, select, tiles};
use crate::simd::{Kernel, Simd};
use std::ops::Range;

/// A gradient dy [N,PH,PW,F], and the tap u·KW+v of each window of the pooling that it belongs to; with `NO_TAP` to none.
#[derive(Clone, Copy)]
pub(crate) struct PooledGradient<'a, E> {
    /// Over [OH, OW]; see `Tail::takes`.
    pub pool: Geometry2D,
    pub dy: &'a [E],
    pub argmax: &'a [u8],
}

/// Overwrites `dw`, and `dx` where it is asked for.
pub(crate) fn backward_pooled<E: Element>(
    shape: &Conv2DShape,
    x: &[E],
    w: &[E],
    gradient: PooledGradient<'_, E>,
    dw: &mut [E],
    dx: Option<&mut [E]>,
) {
    let numbers = shape.batch * gradient.pool.pixels() * shape.c_out;
    assert_eq!(gradient.pool.input, shape.geometry.output);
    assert_eq!([gradient.dy.len(), gradient.argmax.len()], [numbers; 2]);
    assert_eq!([x.len(), w.len()], [shape.batch * image_len(shape), dw.len()]);
    assert!(dx.as_ref().is_none_or(|dx| dx.len() == x.len()));
    if is_worth_lists(shape, &gradient.pool) {
        return E::dispatch(Sparse { shape, x, w, gradient, dw, dx });
    }
    if !E::dispatch(ChosenGradient { shape, x, gradient, dw }) {
        E::dispatch(WeightGradient { shape, x, dy: gradient, dw });
    }
    if let Some(dx) = dx {
        dense_input_gradient(shape, w, gradient, dx);
    }
}

/// Numbers in an image of x.
fn image_len(shape: &Conv2DShape) -> usize {
    shape.geometry.input[0] * shape.geometry.input[1] * shape.c_in
}

/// Numbers in a picture whose zeros around it are written down, at most.
const LARGEST: usize = 1 << 26;

/// Whether the runs of a patch fill registers, and most of dz is 0.
fn is_worth_lists(shape: &Conv2DShape, pool: &Geometry2D) -> bool {
    let Geometry2D { kernel, dilation, .. } = shape.geometry;
    let fits = Frame::new(shape).len <= LARGEST;
    shape.groups == 1
        && dilation[1] == 1
        && kernel[1] * shape.c_in >= 32
        && pool.stride[0] * pool.stride[1] >= 3
        && fits
}

struct Sparse<'a, E> {
    shape: &'a Conv2DShape,
    x: &'a [E],
    w: &'a [E],
    gradient: PooledGradient<'a, E>,
    dw: &'a mut [E],
    dx: Option<&'a mut [E]>,
}

/// Rows of dw that are added up at once, at most.
const PIECE: usize = 64;

impl<E: Element> Kernel<E> for Sparse<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, simd: S) {
        let Self { shape, x, w, gradient, dw, dx } = self;
        let (cut, image_len) = (Cut::new::<S>(shape, &gradient.pool), image_len(shape));
        let sums_len = shape.c_out * cut.filter_len();
        let images = units_in_chunk(shape.batch, sums_len);
        let chunks = shape.batch.div_ceil(images);
        let work = shape.batch * gradient.pool.pixels() * dw.len();
        scratch::with(chunks * sums_len, |sums| {
            let task = |chunk: usize, w: &[E], sums: &mut [E], dx: Option<&mut [E]>| {
                let images = chunk * images..shape.batch.min((chunk + 1) * images);
                Task { cut: &cut, x, w, gradient, images }.add(simd, sums, dx);
            };
            match dx {
                None => parallel::chunks_mut(work, sums, sums_len, |chunk, sums| task(chunk, &[], sums, None)),
                Some(dx) => scratch::with(sums_len, |packed| {
                    cut.pack(simd, w, packed);
                    parallel::pairs_mut(2 * work, [sums, dx], [sums_len, images * image_len], |chunk, sums, dx| {
                        task(chunk, packed, sums, Some(dx));
                    });
                }),
            }
            parallel::chunks_mut(8 * chunks * sums_len, dw, PIECE * shape.c_out, |piece, dw| {
                simd.vectorize(Collect { cut: &cut, first: piece * PIECE, sums, dw });
            });
        });
    }
}

/// Numbers that fill lines of the cache.
const LINE: usize = 16;

/// A picture with all the zeros around it that any tap meets.
#[derive(Clone, Copy)]
struct Frame {
    /// Numbers in a row, and in all rows, and a little more: tiles read whole registers.
    row: usize,
    len: usize,
    /// From the patch of one pixel of z to that of the next below it, and to its right.
    steps: [usize; 2],
}

impl Frame {
    fn new(shape: &Conv2DShape) -> Self {
        let Geometry2D { input, output, kernel, stride, dilation, before, .. } = shape.geometry;
        let [height, width] = [0, 1].map(|axis| {
            let reach = (output[axis] - 1) * stride[axis] + (kernel[axis] - 1) * dilation[axis] + 1;
            reach.max(before[axis] + input[axis])
        });
        let row = width.saturating_mul(shape.c_in);
        let len = row.saturating_mul(height).saturating_add(2 * LINE - 1) / LINE * LINE;
        Self { row, len, steps: [stride[0].saturating_mul(row), stride[1].saturating_mul(shape.c_in)] }
    }

    /// Where the patch of a pixel of z begins.
    fn patch(&self, [row, column]: [usize; 2]) -> usize {
        row * self.steps[0] + column * self.steps[1]
    }
}

/// How a problem is cut: by its sizes and those of the registers alone.
struct Cut<'a> {
    shape: &'a Conv2DShape,
    frame: Frame,
    /// Numbers of a run, and with those that fill the last register.
    run: usize,
    width: usize,
    /// Rows and columns of windows in a strip, at most, and filters that are listed at once.
    strip: [usize; 2],
    filters: usize,
}

/// Bytes of x that stay in the first cache.
const STRIP: usize = 32 << 10;

impl<'a> Cut<'a> {
    fn new<S: Simd>(shape: &'a Conv2DShape, pool: &Geometry2D) -> Self {
        let (Geometry2D { kernel, stride, .. }, run) = (shape.geometry, shape.geometry.kernel[1] * shape.c_in);
        // A tile of six registers sees no more of a pixel.
        let pixel = shape.c_in.min(6 * S::LANES) * size_of::<S::Elem>();
        let is_too_large = |strip: [usize; 2]| {
            let reads = |axis: usize| (strip[axis] * pool.stride[axis] - 1) * stride[axis] + kernel[axis];
            strip[0] * strip[1] > 256 || reads(0) * reads(1) * pixel > STRIP
        };
        let mut strip = pool.output;
        while is_too_large(strip) && strip != [1, 1] {
            strip[usize::from(strip[0] <= 2 && strip[1] > 1)] -= 1;
        }
        let filters = (NUMBERS / (strip[0] * strip[1])).min(LISTS).min(shape.c_out);
        Self { shape, frame: Frame::new(shape), run, width: run.next_multiple_of(S::LANES), strip, filters }
    }

    /// Numbers of w that belong to a filter: [KH, width].
    fn filter_len(&self) -> usize {
        self.shape.geometry.kernel[0] * self.width
    }

    /// Overwrites `packed` [F, KH, width] with w [KH, KW·C, F].
    fn pack<S: Simd>(&self, simd: S, w: &[S::Elem], packed: &mut [S::Elem]) {
        let block = PACKED * self.filter_len();
        parallel::chunks_mut(8 * packed.len(), packed, block, |index, packed| {
            simd.vectorize(PackFilters { cut: self, w, first: index * PACKED, packed });
        });
    }

    /// Whether an image is its own frame: there are no zeros around it, registers begin at lines of the cache, and tiles
    /// read nothing beyond it.
    fn is_framed<E>(&self, x: &[E]) -> bool {
        let Geometry2D { input, before, .. } = self.shape.geometry;
        let is_frame = before == [0, 0] && self.frame.len - LINE == image_len(self.shape).next_multiple_of(LINE);
        let is_even = self.run == self.width && x.as_ptr().addr().is_multiple_of(64);
        is_frame && self.frame.row == input[1] * self.shape.c_in && is_even
    }

    /// The strips of windows: rows and columns.
    fn strips(&self, pool: &Geometry2D) -> impl ExactSizeIterator<Item = [Range<usize>; 2]> {
        let (output, strip) = (pool.output, self.strip);
        let [rows, columns] = [0, 1].map(|axis| output[axis].div_ceil(strip[axis]));
        (0..rows * columns).map(move |at| [part(output[0], rows, at / columns), part(output[1], columns, at % columns)])
    }
}

/// Filters that are rearranged at once: as many numbers of w as lie in half a line of the cache.
const PACKED: usize = 8;

struct PackFilters<'a, E> {
    cut: &'a Cut<'a>,
    w: &'a [E],
    first: usize,
    packed: &'a mut [E],
}

impl<E: Element> Kernel<E> for PackFilters<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, _: S) {
        let (cut, c_out, len) = (self.cut, self.cut.shape.c_out, self.cut.filter_len());
        self.packed.fill(E::zero());
        let filters = self.packed.len() / len;
        for (row, w) in self.w.chunks_exact(c_out).enumerate() {
            let to = row / cut.run * cut.width + row % cut.run;
            for (f, &w) in w[self.first..][..filters].iter().enumerate() {
                self.packed[f * len + to] = w;
            }
        }
    }
}

/// What one thread adds up: some images.
struct Task<'a, E> {
    cut: &'a Cut<'a>,
    x: &'a [E],
    /// [F, KH, width]; not read without dx.
    w: &'a [E],
    gradient: PooledGradient<'a, E>,
    images: Range<usize>,
}

impl<E: Element> Task<'_, E> {
    /// Overwrites `sums` [F, KH, width] and the images' dx.
    fn add<S: Simd<Elem = E>>(&self, simd: S, sums: &mut [E], mut dx: Option<&mut [E]>) {
        let (cut, len, pool) = (self.cut, image_len(self.cut.shape), self.gradient.pool);
        let taps = (0..pool.kernel[0]).flat_map(|u| (0..pool.kernel[1]).map(move |v| cut.frame.patch([u, v])));
        let mut lists = Lists::new(taps, cut.frame.patch(pool.input.map(|size| size - 1)));
        sums.fill(E::zero());
        scratch::with(2 * cut.frame.len, |frames| {
            let (x_frame, dx_frame) = frames.split_at_mut(cut.frame.len);
            x_frame.fill(E::zero());
            for (index, image) in self.images.clone().enumerate() {
                let x = &self.x[image * len..];
                let x = if cut.is_framed(x) { &x[..len] } else { self.frame(x, x_frame) };
                let Some(dx) = &mut dx else {
                    self.add_image(simd, &mut lists, image, x, sums, None);
                    continue;
                };
                dx_frame.fill(E::zero());
                self.add_image(simd, &mut lists, image, x, sums, Some(dx_frame));
                self.each_row(|framed, row| {
                    simd.vectorize(Flush { from: &dx_frame[framed], to: &mut dx[index * len..][row] });
                });
            }
        });
    }

    /// The image that `x` begins with, copied into a frame.
    fn frame<'a>(&self, x: &[E], frame: &'a mut [E]) -> &'a [E] {
        self.each_row(|framed, row| frame[framed].copy_from_slice(&x[row]));
        frame
    }

    /// Where each row of a picture lies in the frame, and in the picture.
    fn each_row(&self, mut meet: impl FnMut(Range<usize>, Range<usize>)) {
        let (Geometry2D { input: [height, width], before, .. }, c) = (self.cut.shape.geometry, self.cut.shape.c_in);
        for row in 0..height {
            let first = (before[0] + row) * self.cut.frame.row + before[1] * c;
            meet(first..first + width * c, row * width * c..(row + 1) * width * c);
        }
    }

    /// Adds the products of one image into `sums` and into the frame of dx.
    fn add_image<S: Simd<Elem = E>>(
        &self,
        simd: S,
        lists: &mut Lists<E>,
        image: usize,
        x: &[E],
        sums: &mut [E],
        mut dx: Option<&mut [E]>,
    ) {
        let (cut, Conv2DShape { geometry, c_out, .. }) = (self.cut, *self.cut.shape);
        let runs = [geometry.kernel[0], cut.run];
        let steps = [geometry.dilation[0] * cut.frame.row, cut.width];
        let (strips, next) = (cut.strips(&self.gradient.pool), self.x.get((image + 1) * image_len(cut.shape)..));
        for (index, strip) in cut.strips(&self.gradient.pool).enumerate() {
            // The next image comes nearer, a part with each strip.
            let ahead = part(image_len(cut.shape), strips.len(), index).start;
            let ahead = next.and_then(|x| x.get(ahead..)).unwrap_or_default();
            for first in (0..c_out).step_by(cut.filters) {
                let filters = first..c_out.min(first + cut.filters);
                self.list(lists, image, &strip, &filters);
                let part = first * cut.filter_len()..filters.end * cut.filter_len();
                for tile in tiles::<S>(runs, steps) {
                    lists.add_weights(simd, &tile, x, ahead, &mut sums[part.clone()]);
                }
                let Some(dx) = &mut dx else { continue };
                for tile in tiles::<S>(runs, steps) {
                    lists.add_patches(simd, &tile, &self.w[part.clone()], dx);
                }
            }
        }
    }

    /// Lists the numbers of some windows and filters.
    fn list(&self, lists: &mut Lists<E>, image: usize, [rows, columns]: &[Range<usize>; 2], filters: &Range<usize>) {
        let (PooledGradient { pool, dy, argmax }, c_out) = (self.gradient, self.cut.shape.c_out);
        let is_inside = |axis: usize, at: usize| {
            let first = at * pool.stride[axis];
            first + pool.kernel[axis] > pool.before[axis] && first < pool.before[axis] + pool.input[axis]
        };
        let [down, right] = [[1, 0], [0, 1]].map(|step| self.cut.frame.patch(step) as isize);
        lists.clear(filters.len(), rows.len() * columns.len());
        for i in rows.clone().filter(|&i| is_inside(0, i)) {
            for j in columns.clone().filter(|&j| is_inside(1, j)) {
                let [row, column] =
                    [(0, i), (1, j)].map(|(axis, at)| (at * pool.stride[axis]) as isize - pool.before[axis] as isize);
                let pixel = ((image * pool.output[0] + i) * pool.output[1] + j) * c_out;
                let numbers = pixel + filters.start..pixel + filters.end;
                lists.append(row * down + column * right, &dy[numbers.clone()], &argmax[numbers]);
            }
        }
    }
}

/// Copies what is not too small.
struct Flush<'a, E> {
    from: &'a [E],
    to: &'a mut [E],
}

impl<E: Element> Kernel<E> for Flush<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, _: S) {
        self.to.iter_mut().zip(self.from).for_each(|(to, from)| *to = from.flushed());
    }
}

/// Overwrites rows `first` … of dw [KH·KW·C, F] with the sums of all chunks [F, KH, width].
struct Collect<'a, E> {
    cut: &'a Cut<'a>,
    first: usize,
    sums: &'a [E],
    dw: &'a mut [E],
}

impl<E: Element> Kernel<E> for Collect<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, _: S) {
        let (cut, c_out) = (self.cut, self.cut.shape.c_out);
        let end = self.first + self.dw.len() / c_out;
        let mut first = self.first;
        while first < end {
            // Rows of the same run lie side by side.
            let count = (end - first).min(cut.run - first % cut.run);
            let from = first / cut.run * cut.width + first % cut.run;
            for f in 0..c_out {
                let mut column = [E::zero(); PIECE];
                for sums in self.sums.chunks_exact(c_out * cut.filter_len()) {
                    let sums = &sums[f * cut.filter_len() + from..][..count];
                    column.iter_mut().zip(sums).for_each(|(column, &sum)| *column += sum);
                }
                for (row, &sum) in column[..count].iter().enumerate() {
                    self.dw[(first - self.first + row) * c_out + f] = sum.flushed();
                }
            }
            first += count;
        }
    }
}

impl<E: Element> Gradient<E> for PooledGradient<'_, E> {
    fn dense(&self) -> Option<&[E]> {
        None
    }

    fn pack<S: Simd<Elem = E>>(&self, simd: S, shape: &Conv2DShape, part: &Part, to: &mut [E], width: usize) {
        simd.vectorize(Expand { gradient: self, filters: shape.c_out, part, to, width });
    }
}

/// Writes down a part of dz.
struct Expand<'a, E> {
    gradient: &'a PooledGradient<'a, E>,
    /// F
    filters: usize,
    part: &'a Part,
    to: &'a mut [E],
    width: usize,
}

impl<E: Element> Kernel<E> for Expand<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, simd: S) {
        let (PooledGradient { pool, dy, argmax }, part) = (*self.gradient, self.part);
        let ([down, right], row_len) = (pool.stride, pool.output[1] * self.filters);
        for (row, to) in part.rows.clone().zip(self.to.chunks_exact_mut(part.columns.len() * self.width)) {
            // The windows that the row is in, and their row of taps, if it is in any.
            let (i, u) = ((row + pool.before[0]) / down, (row + pool.before[0]) % down);
            if u >= pool.kernel[0] || i >= pool.output[0] {
                to.fill(E::zero());
                continue;
            }
            let numbers = (part.image * pool.output[0] + i) * row_len..;
            let (dy, argmax) = (&dy[numbers.clone()][..row_len], &argmax[numbers][..row_len]);
            let windows = dy.chunks_exact(self.filters).zip(argmax.chunks_exact(self.filters));
            let first = part.columns.start + pool.before[1];
            let (mut windows, mut v) = (windows.skip(first / right), first % right);
            let mut window = windows.next();
            for to in to.chunks_exact_mut(self.width) {
                match window {
                    Some((dy, argmax)) if v < pool.kernel[1] => {
                        let tap = (u * pool.kernel[1] + v) as u8;
                        select(simd, &dy[part.filters.clone()], &argmax[part.filters.clone()], tap, to);
                    }
                    _ => to.fill(E::zero()),
                }
                v += 1;
                if v == right {
                    (window, v) = (windows.next(), 0);
                }
            }
        }
    }
}

/// Numbers of dz that are written down at once, for some images.
const DENSE: usize = 1 << 20;

/// dx by way of dz, which is written down for some images after the other.
fn dense_input_gradient<E: Element>(shape: &Conv2DShape, w: &[E], gradient: PooledGradient<'_, E>, dx: &mut [E]) {
    let dz_len = shape.geometry.pixels() * shape.c_out;
    let images = (DENSE / dz_len).max(1);
    scratch::with(images.min(shape.batch) * dz_len, |dz| {
        for (block, dx) in dx.chunks_mut(images * image_len(shape)).enumerate() {
            let some = Conv2DShape { batch: dx.len() / image_len(shape), ..*shape };
            let dz = &mut dz[..some.batch * dz_len];
            E::dispatch(ExpandImages { gradient, shape, first: block * images, dz: &mut *dz });
            conv2d::input_gradient(&some, dz, w, dx);
        }
    });
}

/// Writes down dz of the images from `first` on.
struct ExpandImages<'a, E> {
    gradient: PooledGradient<'a, E>,
    shape: &'a Conv2DShape,
    first: usize,
    dz: &'a mut [E],
}

impl<E: Element> Kernel<E> for ExpandImages<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, simd: S) {
        let Conv2DShape { geometry, c_out, .. } = *self.shape;
        parallel::chunks_mut(4 * self.dz.len(), self.dz, geometry.pixels() * c_out, |index, dz| {
            let [rows, columns] = geometry.output.map(|size| 0..size);
            let part = Part { image: self.first + index, rows, columns, filters: 0..c_out };
            self.gradient.pack(simd, self.shape, &part, dz, c_out);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::naive;
    use super::super::pool2d::Pool2DShape;
    use super::super::tail::Tail;
    use super::super::testing::{self, Number};
    use super::*;
    use crate::random::{Key, Random};
    use crate::shape::{Padding, Window2D};
    use crate::simd::{Path, forced};

    fn draw_gradient(shape: &Conv2DShape, pool: Geometry2D, random: &mut Random) -> (Vec<f64>, Vec<u32>) {
        let over = Pool2DShape { batch: shape.batch, geometry: pool, channels: shape.c_out };
        let z = testing::draw(naive::conv2d_sizes(shape)[2], random);
        let taps = naive::max_forward(&over, &z).1;
        let zeros = [0.0, 0.5, 0.95][random.below(3)];
        let mut dy = testing::draw(taps.len(), random);
        dy.iter_mut().filter(|_| random.chance(zeros)).for_each(|dy| *dy = 0.0);
        (dy, taps)
    }

    /// dw and dx against the formulas for the gradient written down.
    fn check<E: Number>(shape: &Conv2DShape, pool: Geometry2D, threads: bool, random: &mut Random) {
        let [x_len, w_len, _] = naive::conv2d_sizes(shape);
        let [x, w] = [x_len, w_len].map(|len| testing::draw(len, random));
        let (dy, taps) = draw_gradient(shape, pool, random);
        let over = Pool2DShape { batch: shape.batch, geometry: pool, channels: shape.c_out };
        let passes = |x: &[f64], w: &[f64], dy: &[f64]| {
            let dz = naive::max_backward(&over, &taps, dy);
            [naive::conv2d_weight_gradient(shape, x, &dz), naive::conv2d_input_gradient(shape, &dz, w)]
        };
        let expected = passes(&x, &w, &dy);
        let bounds = passes(&testing::magnitudes(&x), &testing::magnitudes(&w), &testing::magnitudes(&dy));
        let [x, w, dy] = [x, w, dy].map(|numbers| testing::cast::<E>(&numbers));
        let argmax: Vec<u8> = taps.iter().map(|&tap| tap as u8).collect();
        let gradient = PooledGradient { pool, dy: &dy, argmax: &argmax };
        let run = || {
            let mut found = [w_len, x_len].map(|len| vec![E::nan(); len]);
            let [dw, dx] = &mut found;
            backward_pooled(shape, &x, &w, gradient, dw, Some(dx));
            for pass in 0..2 {
                let what = format!("pass {pass} of {shape:?} with {pool:?}");
                testing::close(&found[pass], &expected[pass], &bounds[pass], &what);
            }
            let mut dw = vec![E::nan(); w_len];
            backward_pooled(shape, &x, &w, gradient, &mut dw, None);
            assert!(dw == found[0], "{shape:?} with {pool:?}: dw alone is another");
            found
        };
        match threads {
            true => testing::on_each_path_and_pool(run),
            false => Path::available().into_iter().for_each(|path| drop(forced::with(path, run))),
        }
    }

    fn draw_shape(round: usize, random: &mut Random) -> Option<(Conv2DShape, Geometry2D)> {
        let small = |random: &mut Random, most| [1 + random.below(most), 1 + random.below(most)];
        let paddings = [Padding::Valid, Padding::Same, Padding::all(1), Padding::all(3)];
        let window = Window2D {
            kernel: small(random, 5),
            stride: small(random, 2),
            dilation: [[1, 1], [1, 1], [2, 1], [2, 2]][random.below(4)],
            padding: paddings[random.below(4)],
            ceil_mode: false,
        };
        let geometry = window.over("conv2d", [3 + random.below(9), 3 + random.below(9)]).ok()?;
        let kernel = small(random, 3);
        let pooling = Window2D {
            kernel,
            stride: [kernel[0] + random.below(2), kernel[1] + random.below(2)],
            dilation: [1, 1],
            padding: paddings[random.below(3)],
            ceil_mode: random.chance(0.5),
        };
        let pool = pooling.over("pool", geometry.output).ok().filter(Tail::takes)?;
        let groups = if round.is_multiple_of(8) { 2 + random.below(2) } else { 1 };
        let (c, f) = match round % 3 {
            0 => (1 + random.below(4), 1 + random.below(20)),
            1 => (8 + random.below(40), 1 + random.below(9)),
            _ => (8 + random.below(16), 1 + random.below(40)),
        };
        let batch = if round.is_multiple_of(40) { 33 } else { [1, 1, 3, 0][random.below(4)] };
        let most = if batch == 33 { 5 } else { usize::MAX };
        let [c_in, c_out] = [c, f].map(|channels| groups * channels.min(most));
        Some((Conv2DShape { batch, geometry, c_in, c_out, groups, winograd: true }, pool))
    }

    #[test]
    fn both_passes_agree_with_the_formula() {
        let mut random = Key::new(1).named("pooled").stream();
        let (mut round, mut lists) = (0, 0);
        while round < 2000 {
            let Some((shape, pool)) = draw_shape(round, &mut random) else { continue };
            check::<f32>(&shape, pool, round.is_multiple_of(20), &mut random);
            check::<f64>(&shape, pool, round % 20 == 1, &mut random);
            lists += usize::from(is_worth_lists(&shape, &pool));
            round += 1;
        }
        assert!((500..1500).contains(&lists), "{lists} of 2000 go through lists");
    }

    #[test]
    fn both_passes_agree_where_they_are_worth_threads() {
        let mut random = Key::new(2).named("pooled").stream();
        let pooling = Window2D { stride: [2, 2], ..Window2D::new(2) };
        let same = Window2D { padding: Padding::Same, ..Window2D::new(3) };
        for (batch, window, input, c_in, c_out) in [
            (33, Window2D::new(3), [13, 13], 32, 32),
            (3, same, [30, 33], 48, 70),
            (5, Window2D::new(3), [30, 31], 3, 32),
            (33, Window2D::new(3), [13, 12], 3, 48),
            (2, Window2D::new(3), [40, 41], 1, 16),
            (2, Window2D::new(1), [40, 40], 130, 33),
        ] {
            let geometry = window.over("conv2d", input).expect("the kernel fits");
            let shape = Conv2DShape { batch, geometry, c_in, c_out, groups: 1, winograd: true };
            let pool = pooling.over("pool", geometry.output).expect("the window fits");
            check::<f32>(&shape, pool, true, &mut random);
            check::<f64>(&shape, pool, true, &mut random);
        }
    }

    // A NaN in dy of filter 1 is met by dw of that filter and by the pixels of one patch, and by no other number.
    #[test]
    fn nan_stays_nan() {
        let geometry = Window2D::new(3).over("conv2d", [6, 6]).expect("the kernel fits");
        let pool = Window2D { stride: [2, 2], ..Window2D::new(2) }.over("pool", [4, 4]).expect("the window fits");
        let shape = Conv2DShape { batch: 1, geometry, c_in: 11, c_out: 2, groups: 1, winograd: true };
        let (x, w, mut dy) = ([1.0f32; 36 * 11], [1.0; 99 * 2], [1.0; 8]);
        // Window (1, 0), whose tap 3 is pixel (3, 1).
        dy[2 * 2 + 1] = f32::NAN;
        let (mut dw, mut dx) = ([0.0; 99 * 2], [0.0; 36 * 11]);
        let gradient = PooledGradient { pool, dy: &dy, argmax: &[3; 8] };
        backward_pooled(&shape, &x, &w, gradient, &mut dw, Some(&mut dx));
        assert!(dw.iter().enumerate().all(|(at, dw)| dw.is_nan() == (at % 2 == 1)));
        for (at, dx) in dx.iter().enumerate() {
            let (row, column) = (at / 66, at / 11 % 6);
            assert_eq!(dx.is_nan(), row >= 3 && (1..=3).contains(&column), "{row} {column}");
        }
    }
}
