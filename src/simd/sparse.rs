//! sums[u, k] += Σ_e value(e) · x[at(e) + u·row + k]     and     x[at(e) + u·row + k] += value(e) · w[u, k]
//!
//! Lists of the numbers e of a sparse gradient, each with the place of the patch of a picture that it meets. A patch is
//! KH runs of KW·C numbers side by side, and a tile is a part of it that fits in registers: the sums, or w, stay there
//! while a list is gone through.
#![allow(clippy::needless_range_loop, reason = "counters that end at a constant: all loops over registers unroll")]

use super::largest::NO_TAP;
use super::{Kernel, Simd};
use crate::element::Element;

/// Numbers in all lists, and lists, at most.
pub const NUMBERS: usize = 2048;
pub const LISTS: usize = 64;

/// Up to [`LISTS`] lists of the same room.
pub struct Lists<E> {
    at: [u32; NUMBERS],
    values: [E; NUMBERS],
    /// Where each list ends.
    ends: [usize; LISTS],
    count: usize,
    room: usize,
    /// How far a patch is from that of tap 0, for each tap of a window.
    taps: [u32; 256],
    /// The largest place of a patch.
    last: u32,
}

impl<E: Element> Lists<E> {
    /// Empty lists, for windows of these `taps`, and patches at `last` or before it.
    ///
    /// # Panics
    /// Where that is beyond `u32`.
    pub fn new(taps: impl Iterator<Item = usize>, last: usize) -> Self {
        let mut places = [0; 256];
        places.iter_mut().zip(taps).for_each(|(place, tap)| *place = tap as u32);
        let last = u32::try_from(last).expect("a picture has no more numbers");
        let (at, values, ends) = ([0; NUMBERS], [E::zero(); NUMBERS], [0; LISTS]);
        Self { at, values, ends, count: 0, room: 0, taps: places, last }
    }

    /// Empties the lists. From now on there are `count`, each with room for `room` numbers.
    ///
    /// # Panics
    /// Where there is not so much room.
    pub fn clear(&mut self, count: usize, room: usize) {
        assert!(count <= LISTS && room <= NUMBERS && count * room <= NUMBERS);
        self.ends = std::array::from_fn(|list| list * room);
        (self.count, self.room) = (count, room);
    }

    /// Appends values[l] to list l, for all lists, where it is not 0 and has a tap: for the patch of tap argmax[l] of a window, the
    /// patch of whose tap 0 is at `origin`, which may lie outside the picture.
    #[inline(always)]
    #[allow(clippy::neg_cmp_op_on_partial_ord, reason = "NaN is not 0")]
    pub fn append(&mut self, origin: isize, values: &[E], argmax: &[u8]) {
        for (end, (&value, &tap)) in self.ends[..self.count].iter_mut().zip(values.iter().zip(argmax)) {
            let place = (origin as u32).wrapping_add(self.taps[usize::from(tap)]);
            // Always written, and only sometimes kept: no branch to guess wrong.
            self.at[*end % NUMBERS] = place.min(self.last);
            self.values[*end % NUMBERS] = value;
            *end += usize::from(tap != NO_TAP && !(value.abs() <= E::zero()));
        }
    }

    /// Adds the products of each list with the patches of `x` into the tile's part of its sums: `sums` [count, KH, width].
    /// The tile reads whole registers of `x`. Meanwhile, each product fetches a line of the cache of what comes `ahead`.
    ///
    /// # Panics
    /// Where a slice is too short.
    pub fn add_weights<S: Simd<Elem = E>>(&self, simd: S, tile: &Tile, x: &[E], ahead: &[E], sums: &mut [E]) {
        self.check::<S>(tile, tile.registers * S::LANES, x.len(), sums.len());
        let (lists, x, ahead, sums) = (self, x.as_ptr(), ahead.as_ptr(), sums.as_mut_ptr());
        macro_rules! of_size {
            ($(($u:literal $v:literal))*) => {
                match (tile.rows, tile.registers) {
                    $(($u, $v) if $u * $v <= most_registers::<S>() => {
                        simd.vectorize(Weights::<_, $u, $v> { lists, tile, x, ahead, sums })
                    })*
                    _ => unreachable!("{tile:?}"),
                }
            };
        }
        of_size!((1 1) (1 2) (1 3) (1 4) (1 5) (1 6) (1 7) (1 8) (2 1) (2 2) (2 3) (2 4) (2 5) (2 6) (2 7) (2 8)
                 (3 1) (3 2) (3 3) (3 4) (3 5) (3 6) (3 7) (3 8))
    }

    /// Adds the products of each list with the tile's part of its weights, `w` [count, KH, width], into the patches of
    /// `x`.
    ///
    /// # Panics
    /// Where a slice is too short.
    pub fn add_patches<S: Simd<Elem = E>>(&self, simd: S, tile: &Tile, w: &[E], x: &mut [E]) {
        self.check::<S>(tile, tile.columns, x.len(), w.len());
        let (lists, x, w) = (self, x.as_mut_ptr(), w.as_ptr());
        macro_rules! of_size {
            ($(($u:literal $v:literal))*) => {
                match (tile.rows, tile.registers, tile.columns.is_multiple_of(S::LANES)) {
                    $(($u, $v, true) if $u * $v <= most_registers::<S>() => {
                        simd.vectorize(Patches::<_, $u, $v, true> { lists, tile, x, w })
                    })*
                    $(($u, $v, false) if $u * $v <= most_registers::<S>() => {
                        simd.vectorize(Patches::<_, $u, $v, false> { lists, tile, x, w })
                    })*
                    _ => unreachable!("{tile:?}"),
                }
            };
        }
        of_size!((1 1) (1 2) (1 3) (1 4) (1 5) (1 6) (1 7) (1 8) (2 1) (2 2) (2 3) (2 4) (2 5) (2 6) (2 7) (2 8)
                 (3 1) (3 2) (3 3) (3 4) (3 5) (3 6) (3 7) (3 8))
    }

    /// Checks all that a tile touches: of the patches so many columns.
    fn check<S: Simd<Elem = E>>(&self, tile: &Tile, columns: usize, x: usize, w: usize) {
        let last = |step: usize, steps: usize| step.saturating_mul(steps.saturating_sub(1));
        let [x_last, w_last] = [0, 1].map(|side| {
            let run = tile.steps[side].saturating_mul(tile.first[0]).saturating_add(tile.first[1]);
            run.saturating_add(last(tile.steps[side], tile.rows))
        });
        assert!(x_last.saturating_add(self.last as usize).saturating_add(columns) <= x);
        let w_last = w_last.saturating_add(last(tile.list_step, self.count));
        assert!(w_last.saturating_add(tile.registers * S::LANES) <= w);
        assert!((1..=S::LANES).contains(&(tile.columns.saturating_sub((tile.registers - 1) * S::LANES))));
    }

    /// The places and values of a list.
    #[inline(always)]
    fn numbers(&self, list: usize) -> impl Iterator<Item = (usize, E)> {
        let numbers = list * self.room..self.ends[list];
        let at = self.at[numbers.clone()].iter().map(|&at| at as usize);
        at.zip(self.values[numbers].iter().copied())
    }
}

/// Registers that a tile may fill.
const fn most_registers<S: Simd>() -> usize {
    if S::ROWS >= 12 { 24 } else { 2 * S::ROWS }
}

/// Overwrites `to` with the numbers of `from` whose tag is `tag`; zeros elsewhere, and beyond them.
#[inline(always)]
pub fn select<S: Simd>(simd: S, from: &[S::Elem], tags: &[u8], tag: u8, to: &mut [S::Elem]) {
    assert!(from.len() == tags.len() && from.len() <= to.len());
    let whole = from.len() / S::LANES * S::LANES;
    for at in (0..whole).step_by(S::LANES) {
        // SAFETY: all three hold a register's numbers from `at` on.
        unsafe {
            let numbers = simd.load_tagged(from.as_ptr().add(at), tags.as_ptr().add(at), tag);
            simd.store(to.as_mut_ptr().add(at), numbers);
        }
    }
    to[whole..].fill(S::Elem::default());
    for at in whole..from.len() {
        to[at] = std::hint::select_unpredictable(tags[at] == tag, from[at], S::Elem::default());
    }
}

/// A part of a patch, and of w: some of its runs, and of these some columns.
#[derive(Debug, Clone, Copy)]
pub struct Tile {
    /// The first run, and the first column.
    pub first: [usize; 2],
    /// Runs: 1 to 3.
    pub rows: usize,
    pub columns: usize,
    /// Registers for the columns: 1 to 8.
    pub registers: usize,
    /// From one run to the next, in x and in w.
    pub steps: [usize; 2],
    /// From one list to the next, in w.
    pub list_step: usize,
}

/// The tiles of patches of `rows` runs of `columns` numbers.
pub fn tiles<S: Simd>([rows, columns]: [usize; 2], steps: [usize; 2]) -> impl Iterator<Item = Tile> {
    let (bands, registers) = (rows.div_ceil(3), columns.div_ceil(S::LANES));
    let pieces = registers.div_ceil((most_registers::<S>() / rows.div_ceil(bands)).min(8));
    let part = |len: usize, parts: usize, index: usize| len * index / parts..len * (index + 1) / parts;
    (0..bands * pieces).map(move |index| {
        let (band, piece) = (part(rows, bands, index / pieces), part(registers, pieces, index % pieces));
        Tile {
            first: [band.start, piece.start * S::LANES],
            rows: band.len(),
            columns: columns.min(piece.end * S::LANES) - piece.start * S::LANES,
            registers: piece.len(),
            steps,
            list_step: rows * steps[1],
        }
    })
}

/// Only [`Lists::add_weights`] makes one, and it checked all offsets.
struct Weights<'a, E, const U: usize, const V: usize> {
    lists: &'a Lists<E>,
    tile: &'a Tile,
    x: *const E,
    ahead: *const E,
    sums: *mut E,
}

impl<E: Element, const U: usize, const V: usize> Kernel<E> for Weights<'_, E, U, V> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, simd: S) {
        let Tile { first, steps, list_step, .. } = *self.tile;
        let x = self.x.wrapping_add(first[0] * steps[0] + first[1]);
        let mut ahead = self.ahead;
        for list in 0..self.lists.count {
            let mut sums = [[simd.splat(E::zero()); V]; U];
            for (at, value) in self.lists.numbers(list) {
                simd.prefetch(ahead);
                ahead = ahead.wrapping_add(64 / size_of::<E>());
                let (x, value) = (x.wrapping_add(at), simd.splat(value));
                for u in 0..U {
                    for v in 0..V {
                        // SAFETY: `check` found the tile in x, for the largest place.
                        let x = unsafe { simd.load(x.wrapping_add(u * steps[0] + v * S::LANES)) };
                        sums[u][v] = simd.mul_add(value, x, sums[u][v]);
                    }
                }
            }
            let to = self.sums.wrapping_add(list * list_step + first[0] * steps[1] + first[1]);
            for u in 0..U {
                for v in 0..V {
                    let to = to.wrapping_add(u * steps[1] + v * S::LANES);
                    // SAFETY: `check` found the tile in the sums, for the last list.
                    unsafe { simd.store(to, simd.add(simd.load(to), sums[u][v])) };
                }
            }
        }
    }
}

/// Only [`Lists::add_patches`] makes one, and it checked all offsets. The last register of a run is `FULL` of columns,
/// or not.
struct Patches<'a, E, const U: usize, const V: usize, const FULL: bool> {
    lists: &'a Lists<E>,
    tile: &'a Tile,
    x: *mut E,
    w: *const E,
}

impl<E: Element, const U: usize, const V: usize, const FULL: bool> Kernel<E> for Patches<'_, E, U, V, FULL> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, simd: S) {
        let Tile { first, columns, steps, list_step, .. } = *self.tile;
        let x = self.x.wrapping_add(first[0] * steps[0] + first[1]);
        let last = simd.first(columns - (V - 1) * S::LANES);
        for list in 0..self.lists.count {
            let from = self.w.wrapping_add(list * list_step + first[0] * steps[1] + first[1]);
            let mut w = [[simd.splat(E::zero()); V]; U];
            for u in 0..U {
                for v in 0..V {
                    // SAFETY: `check` found the tile in w, for the last list.
                    w[u][v] = unsafe { simd.load(from.wrapping_add(u * steps[1] + v * S::LANES)) };
                }
            }
            for (at, value) in self.lists.numbers(list) {
                let (x, value) = (x.wrapping_add(at), simd.splat(value));
                for u in 0..U {
                    for v in 0..V {
                        let x = x.wrapping_add(u * steps[0] + v * S::LANES);
                        // SAFETY: `check` found the tile's columns in x, for the largest place.
                        unsafe {
                            if v + 1 == V && !FULL {
                                let sum = simd.mul_add(value, w[u][v], simd.load_first(x, last));
                                simd.store_first(x, last, sum);
                            } else {
                                simd.store(x, simd.mul_add(value, w[u][v], simd.load(x)));
                            }
                        }
                    }
                }
            }
        }
    }
}
