//! Winograd's minimal filtering F(2×2, 3×3): y = Aᵀ[(G w Gᵀ) ⊙ (Bᵀ x B)]A (Lavin and Gray, arXiv:1509.09308), with
//!
//! ```text
//!      1  0 −1  0          1  0  0
//! Bᵀ = 0  1  1  0     G =  ½  ½  ½     Aᵀ = 1  1  1  0
//!      0 −1  1  0          ½ −½  ½          0  1 −1  1
//!      0 −1  0  1          0  0  1
//! ```
//!
//! Four outputs of a 3 × 3 convolution, a square, take 16 products for each channel and filter instead of 36. Squares of
//! 2, 3 or 4 pixels' height and width become 16 numbers, one in each of 16 planes, and 16 numbers become squares. All
//! factors are ±1 and ½, so that nothing is rounded but sums. The last rows of Bᵀ and Aᵀ have the other sign than in the
//! paper: then y = Aᵀ m has no −d, and neither has its derivative.
#![allow(clippy::needless_range_loop, reason = "counters that end at a constant: all loops over registers unroll")]

use super::largest::finished;
use super::tile::End;
use super::{Kernel, Simd};
use crate::element::Element;

/// Numbers that a square becomes.
pub const PLANES: usize = 16;

/// Where numbers lie: from one plane to the next, and in a plane from one square to the next.
#[derive(Clone, Copy)]
pub struct Planes {
    pub plane: usize,
    pub square: usize,
}

impl Planes {
    /// Where so many squares end in the last plane.
    fn end(self, squares: usize) -> usize {
        (PLANES - 1).saturating_mul(self.plane).saturating_add(squares.saturating_mul(self.square))
    }
}

/// Squares side by side, each two columns from the one before, of R rows of pixels.
pub struct Squares<'a, E, const R: usize> {
    /// An empty row stands for zeros.
    pub rows: [&'a [E]; R],
    /// From a pixel to the next, and how many channels of each are taken.
    pub pixel: usize,
    pub channels: usize,
    /// The column where the first square begins. What lies outside the rows is 0.
    pub first: isize,
    pub count: usize,
}

impl<E: Element, const R: usize> Squares<'_, E, R> {
    /// Overwrites the squares in the planes `to`, and zeros up to whole registers: Bᵀ x B where R is 4, and A dy Aᵀ where
    /// it is 2.
    ///
    /// # Panics
    /// Where a square does not fit into its place, or the planes do not fit into `to`.
    pub fn write<S: Simd<Elem = E>>(&self, simd: S, planes: Planes, to: &mut [E]) {
        if self.count == 0 {
            return;
        }
        assert!(self.channels.next_multiple_of(S::LANES) <= planes.square);
        assert!(planes.end(self.count) <= to.len());
        simd.vectorize(Spread { squares: self, planes, to });
    }
}

/// Only [`Squares::write`] makes one, and it vouches for the planes.
struct Spread<'a, E, const R: usize> {
    squares: &'a Squares<'a, E, R>,
    planes: Planes,
    to: &'a mut [E],
}

impl<E: Element, const R: usize> Kernel<E> for Spread<'_, E, R> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, simd: S) {
        let Squares { rows, channels, first, count, .. } = *self.squares;
        let shortest = rows.iter().map(|row| row.len()).min().unwrap_or(0);
        for channel in (0..channels).step_by(S::LANES) {
            let mut to = self.to.as_mut_ptr().wrapping_add(channel);
            for column in (first..).step_by(2).take(count) {
                let square = self.squares.square(simd, shortest, column, channel);
                // SAFETY: `write` checked that each plane has room for whole registers of each square.
                unsafe { spread_square(simd, square, to, self.planes.plane) };
                to = to.wrapping_add(self.planes.square);
            }
        }
    }
}

impl<E: Element, const R: usize> Squares<'_, E, R> {
    /// The channels from `channel` on of the square that begins at `column`, given the length of the shortest row.
    #[inline(always)]
    fn square<S: Simd<Elem = E>>(
        &self,
        simd: S,
        shortest: usize,
        column: isize,
        channel: usize,
    ) -> [[S::Vector; R]; R] {
        let Self { rows, pixel, channels, .. } = *self;
        let left = channels - channel;
        let start = (column as usize).wrapping_mul(pixel).wrapping_add(channel);
        let mut square = [[simd.splat(E::zero()); R]; R];
        let end = start.saturating_add((R - 1) * pixel).saturating_add(S::LANES);
        if column >= 0 && left >= S::LANES && end <= shortest {
            for r in 0..R {
                let from = rows[r].as_ptr().wrapping_add(start);
                for c in 0..R {
                    // SAFETY: the registers of all pixels lie in the shortest row.
                    square[r][c] = unsafe { simd.load(from.wrapping_add(c * pixel)) };
                }
            }
            return square;
        }
        for r in 0..R {
            for c in 0..R {
                let start = start.wrapping_add(c * pixel);
                if column + c as isize >= 0 && start.saturating_add(left) <= rows[r].len() {
                    // SAFETY: what is left of the pixel lies in the row.
                    square[r][c] = unsafe { load(simd, rows[r].as_ptr().add(start), left) };
                }
            }
        }
        square
    }
}

/// Writes what a square becomes to the planes.
///
/// # Safety
/// `to` must be valid for writes of a register in each of 16 planes.
#[inline(always)]
unsafe fn spread_square<S: Simd, const R: usize>(simd: S, square: [[S::Vector; R]; R], to: *mut S::Elem, plane: usize) {
    let mut half = [[simd.splat(S::Elem::default()); R]; 4];
    for c in 0..R {
        let mut column = square[0];
        for r in 0..R {
            column[r] = square[r][c];
        }
        let column = spread(simd, column);
        for i in 0..4 {
            half[i][c] = column[i];
        }
    }
    for i in 0..4 {
        let row = spread(simd, half[i]);
        for j in 0..4 {
            // SAFETY: handed on to the caller.
            unsafe { simd.store(to.wrapping_add((4 * i + j) * plane), row[j]) };
        }
    }
}

/// The four outputs that the numbers of each square become: Aᵀ m A.
pub struct Outputs<'a, E> {
    pub planes: Planes,
    pub numbers: &'a [E],
    pub channels: usize,
    pub count: usize,
    /// From a row of outputs to the next.
    pub row: usize,
    /// How many rows of outputs there are, and how many columns from the first square on.
    pub size: [usize; 2],
    /// A number for each channel, which is added.
    pub bias: Option<&'a [E]>,
    pub end: End,
}

impl<E: Element> Outputs<'_, E> {
    /// Overwrites the outputs in `to`, pixels side by side.
    ///
    /// # Panics
    /// Where a square, or an output, lies outside its slice, or there are fewer biases than channels.
    pub fn write<S: Simd<Elem = E>>(&self, simd: S, to: &mut [E]) {
        let Self { planes, numbers, channels, count, row, size, bias, .. } = *self;
        if count * channels == 0 {
            return;
        }
        let columns = size[1].min(2 * count);
        assert!(size[0] > 0 && columns > 2 * (count - 1) && bias.is_none_or(|bias| bias.len() >= channels));
        assert!(channels <= planes.square && planes.end(count) <= numbers.len());
        assert!((size[0].min(2) - 1).saturating_mul(row).saturating_add(columns.saturating_mul(channels)) <= to.len());
        simd.vectorize(Gather { outputs: self, to });
    }
}

/// Only [`Outputs::write`] makes one, and it vouches for all offsets.
struct Gather<'a, E> {
    outputs: &'a Outputs<'a, E>,
    to: &'a mut [E],
}

impl<E: Element> Kernel<E> for Gather<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, simd: S) {
        let Outputs { planes, numbers, channels, count, row, size, bias, end } = *self.outputs;
        for channel in (0..channels).step_by(S::LANES) {
            let left = channels - channel;
            let mut added = simd.splat(E::zero());
            if let Some(bias) = bias {
                // SAFETY: `write` checked that there are as many biases as channels.
                added = unsafe { load(simd, bias.as_ptr().wrapping_add(channel), left) };
            }
            for index in 0..count {
                let from = numbers.as_ptr().wrapping_add(index * planes.square + channel);
                let to = self.to.as_mut_ptr().wrapping_add(2 * index * channels + channel);
                // SAFETY: `write` checked that so many channels are left in each plane.
                let sums = unsafe { gather_square::<S>(simd, from, planes.plane, left) };
                for r in 0..2 {
                    for c in 0..2 {
                        let sum = simd.add(sums[r][c], added);
                        let sum = match end {
                            End::Nothing => sum,
                            End::Flush => simd.flush(sum),
                            End::Rectify => simd.rectify(sum),
                        };
                        let to = to.wrapping_add(r * row + c * channels);
                        match left >= S::LANES {
                            _ if r >= size[0] || 2 * index + c >= size[1] => {}
                            // SAFETY: `write` checked that so many channels of the output are left.
                            true => unsafe { simd.store(to, sum) },
                            // SAFETY: as above.
                            false => unsafe { simd.store_first(to, simd.first(left), sum) },
                        }
                    }
                }
            }
        }
    }
}

impl<E: Element> Outputs<'_, E> {
    /// Overwrites `to` with the largest output of each square, squares side by side, and `argmax` with which of the four it
    /// was; where the end is `Rectify` and none is positive, with `NO_TAP`.
    ///
    /// # Panics
    /// Where a square lies outside its slice, or there are fewer biases than channels.
    pub fn write_largest<S: Simd<Elem = E>>(&self, simd: S, to: &mut [E], argmax: Option<&mut [u8]>) {
        let Self { planes, numbers, channels, count, bias, .. } = *self;
        let end = count.saturating_mul(channels);
        assert!(channels <= planes.square && planes.end(count) <= numbers.len());
        assert!(end <= to.len() && argmax.as_ref().is_none_or(|argmax| end <= argmax.len()));
        assert!(bias.is_none_or(|bias| bias.len() >= channels));
        simd.vectorize(Largest { outputs: self, to, argmax });
    }
}

/// Only [`Outputs::write_largest`] makes one, and it vouches for all offsets.
struct Largest<'a, E> {
    outputs: &'a Outputs<'a, E>,
    to: &'a mut [E],
    argmax: Option<&'a mut [u8]>,
}

impl<E: Element> Kernel<E> for Largest<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(mut self, simd: S) {
        let Outputs { planes, numbers, channels, count, bias, end, .. } = *self.outputs;
        for channel in (0..channels).step_by(S::LANES) {
            let left = channels - channel;
            let mut added = simd.splat(E::zero());
            if let Some(bias) = bias {
                // SAFETY: `write_largest` checked that there are as many biases as channels.
                added = unsafe { load(simd, bias.as_ptr().wrapping_add(channel), left) };
            }
            for index in 0..count {
                let from = numbers.as_ptr().wrapping_add(index * planes.square + channel);
                // SAFETY: `write_largest` checked that so many channels are left in each plane.
                let sums = unsafe { gather_square::<S>(simd, from, planes.plane, left) };
                let mut best = (simd.add(sums[0][0], added), simd.tag(0));
                for tap in 1..4 {
                    best = simd.larger(best, (simd.add(sums[tap / 2][tap % 2], added), simd.tag(tap as u8)));
                }
                let (largest, tags) = finished(simd, best, end == End::Rectify);
                let at = index * channels + channel;
                let to = self.to.as_mut_ptr().wrapping_add(at);
                match left >= S::LANES {
                    // SAFETY: `write_largest` checked that so many channels of the square are left.
                    true => unsafe { simd.store(to, largest) },
                    // SAFETY: as above.
                    false => unsafe { simd.store_first(to, simd.first(left), largest) },
                }
                if let Some(argmax) = &mut self.argmax {
                    simd.store_tags(&mut argmax[at..][..left.min(S::LANES)], tags);
                }
            }
        }
    }
}

/// What the numbers of a square become.
///
/// # Safety
/// `from` must be valid for reads of `left` numbers, or of a register, in each of 16 planes.
#[inline(always)]
unsafe fn gather_square<S: Simd>(simd: S, from: *const S::Elem, plane: usize, left: usize) -> [[S::Vector; 2]; 2] {
    let mut half = [[simd.splat(S::Elem::default()); 4]; 2];
    for j in 0..4 {
        let mut column = [simd.splat(S::Elem::default()); 4];
        for i in 0..4 {
            // SAFETY: handed on to the caller.
            column[i] = unsafe { load(simd, from.wrapping_add((4 * i + j) * plane), left) };
        }
        [half[0][j], half[1][j]] = gather(simd, column);
    }
    half.map(|row| gather(simd, row))
}

/// Overwrites `to` [16, N] with G w Gᵀ of each of N squares `w` [9, N].
///
/// # Panics
/// Where `w` and `to` do not have that many numbers, or N is no multiple of a register's.
pub fn spread_weights<S: Simd>(simd: S, w: &[S::Elem], to: &mut [S::Elem]) {
    assert!(w.len().is_multiple_of(9 * S::LANES) && to.len() == w.len() / 9 * PLANES);
    simd.vectorize(SpreadWeights { w, to });
}

/// Overwrites `dw` [9, N] with Gᵀ m G of each of N squares `m` [16, N].
///
/// # Panics
/// Where `m` and `dw` do not have that many numbers, or N is no multiple of a register's.
pub fn gather_weights<S: Simd>(simd: S, m: &[S::Elem], dw: &mut [S::Elem]) {
    assert!(dw.len().is_multiple_of(9 * S::LANES) && m.len() == dw.len() / 9 * PLANES);
    simd.vectorize(GatherWeights { m, dw });
}

/// Only [`spread_weights`] makes one, and it vouches for the lengths.
struct SpreadWeights<'a, E> {
    w: &'a [E],
    to: &'a mut [E],
}

impl<E: Element> Kernel<E> for SpreadWeights<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, simd: S) {
        let count = self.w.len() / 9;
        for first in (0..count).step_by(S::LANES) {
            let (from, to) = (self.w.as_ptr().wrapping_add(first), self.to.as_mut_ptr().wrapping_add(first));
            let mut half = [[simd.splat(E::zero()); 3]; 4];
            for c in 0..3 {
                let mut column = [simd.splat(E::zero()); 3];
                for r in 0..3 {
                    // SAFETY: each of the 9 has as many numbers, in whole registers.
                    column[r] = unsafe { simd.load(from.wrapping_add((3 * r + c) * count)) };
                }
                let column = spread_weight(simd, column);
                for i in 0..4 {
                    half[i][c] = column[i];
                }
            }
            for i in 0..4 {
                let row = spread_weight(simd, half[i]);
                for j in 0..4 {
                    // SAFETY: each of the 16 has as many numbers, in whole registers.
                    unsafe { simd.store(to.wrapping_add((4 * i + j) * count), simd.flush(row[j])) };
                }
            }
        }
    }
}

/// Only [`gather_weights`] makes one, and it vouches for the lengths.
struct GatherWeights<'a, E> {
    m: &'a [E],
    dw: &'a mut [E],
}

impl<E: Element> Kernel<E> for GatherWeights<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, simd: S) {
        let count = self.dw.len() / 9;
        for first in (0..count).step_by(S::LANES) {
            let (from, to) = (self.m.as_ptr().wrapping_add(first), self.dw.as_mut_ptr().wrapping_add(first));
            let mut half = [[simd.splat(E::zero()); 4]; 3];
            for j in 0..4 {
                let mut column = [simd.splat(E::zero()); 4];
                for i in 0..4 {
                    // SAFETY: each of the 16 has as many numbers, in whole registers.
                    column[i] = unsafe { simd.load(from.wrapping_add((4 * i + j) * count)) };
                }
                let column = gather_weight(simd, column);
                for r in 0..3 {
                    half[r][j] = column[r];
                }
            }
            for r in 0..3 {
                let row = gather_weight(simd, half[r]);
                for c in 0..3 {
                    // SAFETY: each of the 9 has as many numbers, in whole registers.
                    unsafe { simd.store(to.wrapping_add((3 * r + c) * count), simd.flush(row[c])) };
                }
            }
        }
    }
}

/// A register, or what is `left` of one.
///
/// # Safety
/// `from` must be valid for reads of `left` numbers, or of a register.
#[inline(always)]
unsafe fn load<S: Simd>(simd: S, from: *const S::Elem, left: usize) -> S::Vector {
    match left >= S::LANES {
        // SAFETY: handed on to the caller.
        true => unsafe { simd.load(from) },
        // SAFETY: handed on to the caller.
        false => unsafe { simd.load_first(from, simd.first(left)) },
    }
}

/// Bᵀ x or A dy.
#[inline(always)]
fn spread<S: Simd, const R: usize>(simd: S, square: [S::Vector; R]) -> [S::Vector; 4] {
    match square[..] {
        [a, b] => [a, simd.add(a, b), simd.sub(a, b), b],
        [a, b, c, d] => [simd.sub(a, c), simd.add(b, c), simd.sub(c, b), simd.sub(d, b)],
        _ => unreachable!("a square of {R} rows"),
    }
}

/// Aᵀ m
#[inline(always)]
fn gather<S: Simd>(simd: S, [a, b, c, d]: [S::Vector; 4]) -> [S::Vector; 2] {
    [simd.add(a, simd.add(b, c)), simd.add(simd.sub(b, c), d)]
}

/// G w
#[inline(always)]
fn spread_weight<S: Simd>(simd: S, [a, b, c]: [S::Vector; 3]) -> [S::Vector; 4] {
    let (half, zero) = (simd.splat(S::Elem::of(0.5)), simd.splat(S::Elem::default()));
    let (outer, inner) = (simd.mul_add(simd.add(a, c), half, zero), simd.mul_add(b, half, zero));
    [a, simd.add(outer, inner), simd.sub(outer, inner), c]
}

/// Gᵀ m
#[inline(always)]
fn gather_weight<S: Simd>(simd: S, [a, b, c, d]: [S::Vector; 4]) -> [S::Vector; 3] {
    let (half, zero) = (simd.splat(S::Elem::of(0.5)), simd.splat(S::Elem::default()));
    let (sum, difference) = (simd.add(b, c), simd.sub(b, c));
    [simd.mul_add(sum, half, a), simd.mul_add(difference, half, zero), simd.mul_add(sum, half, d)]
}
