//! sums[u, k] += Σ_e value(e) · x[at(e) + u·row + k]     and     x[at(e) + u·row + k] += value(e) · w[u, k]
//!
//! Lists of the numbers e of a sparse gradient, each with the place of the patch of a picture that it meets. A patch is
//! KH runs of KW·C numbers side by side, and a tile is a part of it that fits in registers: the sums, or w, stay there
//! while a list is gone through.
#![allow(clippy::needless_range_loop, reason = "counters that end at a constant: all loops over registers unroll")]

use super::{Kernel, Simd};
use crate::element::Element;

/// Numbers in all lists, and lists, at most.
pub const NUMBERS: usize = 2048;
pub const LISTS: usize = 64;

/// Up to [`LISTS`] lists of the same room.
pub struct Lists<E> {
    at: [u32; NUMBERS],
    values: [E; NUMBERS],
    lens: [usize; LISTS],
    count: usize,
    room: usize,
    /// For each tap that may have won, the place of the patch it belongs to.
    places: [u32; 256],
    /// No place in a list is larger.
    reach: usize,
}

/// The place of taps that meet nothing.
const NOWHERE: u32 = u32::MAX;

impl<E: Element> Lists<E> {
    pub fn new() -> Self {
        let (at, values, lens) = ([0; NUMBERS], [E::zero(); NUMBERS], [0; LISTS]);
        Self { at, values, lens, count: 0, room: 0, places: [NOWHERE; 256], reach: 0 }
    }

    /// Empties the lists. From now on there are `count`, each with room for `room` numbers.
    ///
    /// # Panics
    /// Where there is not so much room.
    pub fn clear(&mut self, count: usize, room: usize) {
        assert!(count <= LISTS && room <= NUMBERS && count * room <= NUMBERS);
        (self.lens, self.count, self.room) = ([0; LISTS], count, room);
        (self.places, self.reach) = ([NOWHERE; 256], 0);
    }

    /// Appends values[l] to list l, for all lists, where it is not 0: at the place of the tap argmax[l]. `places` are
    /// those of taps 0, 1, …; what belongs to another tap, or to one without a place, is left out.
    ///
    /// # Panics
    /// Where a list is full.
    #[inline(always)]
    pub fn append(&mut self, places: impl Iterator<Item = Option<usize>>, values: &[E], argmax: &[u8]) {
        for (to, place) in self.places.iter_mut().zip(places) {
            self.reach = self.reach.max(place.unwrap_or(0));
            *to = place.and_then(|place| u32::try_from(place).ok()).unwrap_or(NOWHERE);
        }
        let lists = self.lens.iter_mut().enumerate().zip(values.iter().zip(argmax));
        for ((list, len), (&value, &tap)) in lists {
            // Always written, and only sometimes kept: no branch to guess wrong.
            let (place, slot) = (self.places[usize::from(tap)], list * self.room + *len);
            self.at[slot] = place;
            self.values[slot] = value;
            *len += usize::from((value != E::zero()) & (place != NOWHERE));
        }
    }

    /// Adds the products of each list with the patches of `x` into the tile's part of its sums: `sums` [count, KH, width].
    /// The tile reads whole registers of `x`.
    ///
    /// # Panics
    /// Where a slice is too short.
    pub fn add_weights<S: Simd<Elem = E>>(&self, simd: S, tile: &Tile, x: &[E], sums: &mut [E]) {
        self.check::<S>(tile, tile.registers * S::LANES, x.len(), sums.len());
        let (lists, x, sums) = (self, x.as_ptr(), sums.as_mut_ptr());
        macro_rules! of_size {
            ($(($u:literal $v:literal))*) => {
                match (tile.rows, tile.registers) {
                    $(($u, $v) if $u * $v <= most_registers::<S>() => {
                        simd.vectorize(Weights::<_, $u, $v> { lists, tile, x, sums })
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
        assert!(x_last.saturating_add(self.reach).saturating_add(columns) <= x);
        let w_last = w_last.saturating_add(last(tile.list_step, self.count));
        assert!(w_last.saturating_add(tile.registers * S::LANES) <= w);
        assert!((1..=S::LANES).contains(&(tile.columns.saturating_sub((tile.registers - 1) * S::LANES))));
    }

    /// The places and values of a list.
    #[inline(always)]
    fn numbers(&self, list: usize) -> impl Iterator<Item = (usize, E)> {
        let numbers = list * self.room..list * self.room + self.lens[list];
        let at = self.at[numbers.clone()].iter().map(|&at| at as usize);
        at.zip(self.values[numbers].iter().copied())
    }
}

/// Registers that a tile may fill.
const fn most_registers<S: Simd>() -> usize {
    if S::ROWS >= 12 { 24 } else { 2 * S::ROWS }
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
    sums: *mut E,
}

impl<E: Element, const U: usize, const V: usize> Kernel<E> for Weights<'_, E, U, V> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, simd: S) {
        let Tile { first, steps, list_step, .. } = *self.tile;
        let x = self.x.wrapping_add(first[0] * steps[0] + first[1]);
        for list in 0..self.lists.count {
            let mut sums = [[simd.splat(E::zero()); V]; U];
            for (at, value) in self.lists.numbers(list) {
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
