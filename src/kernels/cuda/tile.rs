//! How a product is cut into tiles and parts of sums: `kernels/tile.cuh`, from the other side.

use super::call::as_it_is;
use super::gpu::Gpu;
use super::memory::Span;
use super::parameters::Divisor;
use crate::error::Result;
use crate::kernels::cpu::activation::Activation;

/// Threads of a block.
pub(super) const THREADS: usize = 128;

/// Products that are added up between two barriers.
const DEPTH: usize = 16;

/// Blocks that fill a device: two for each multiprocessor of a large one.
const BLOCKS: usize = 264;

/// Products of a part of a sum, at least: fewer are not worth a part.
const LEAST: usize = 64;

/// The tile of one block. Kernels have one variant for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tile {
    Small,
    Narrow,
    Wide,
}

impl Tile {
    pub const ALL: [Self; 3] = [Self::Wide, Self::Narrow, Self::Small];

    /// Rows and columns.
    fn sides(self) -> [usize; 2] {
        match self {
            Self::Small => [64, 32],
            Self::Narrow => [128, 32],
            Self::Wide => [128, 64],
        }
    }

    /// About how long a product takes, where a wide tile's takes 4: the others read their factors more often.
    fn slowness(self) -> usize {
        match self {
            Self::Small => 6,
            Self::Narrow => 5,
            Self::Wide => 4,
        }
    }

    /// Tiles of a product of so many rows and columns.
    fn count(self, [rows, columns]: [usize; 2]) -> [usize; 2] {
        let sides = self.sides();
        [rows.div_ceil(sides[0]), columns.div_ceil(sides[1])]
    }
}

/// `struct Cut` of `tile.cuh`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut {
    rows: i32,
    columns: i32,
    depth: i32,
    span: i32,
    column_tiles: Divisor,
    splits: Divisor,
}

as_it_is!(Cut);

/// A product [rows, columns] with sums of `depth` products, for each of some groups, cut.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub tile: Tile,
    pub cut: Cut,
    /// Parts of each sum.
    pub splits: usize,
    pub blocks: [usize; 3],
}

impl Plan {
    /// The plan that should take the shortest time; with `parts`, sums may be cut where there are few tiles.
    pub fn new(sizes: [usize; 3], groups: usize, parts: bool) -> Self {
        let [rows, columns, depth] = sizes;
        let plans = Tile::ALL.map(|tile| {
            let [down, across] = tile.count([rows, columns]);
            let most = if parts { (depth / LEAST).max(1) } else { 1 };
            Self::of(tile, sizes, groups, BLOCKS.div_ceil((groups * down * across).max(1)).min(most))
        });
        plans.into_iter().min_by_key(Self::time).expect("there are three tiles")
    }

    /// This tile, and about so many parts of each sum.
    pub fn of(tile: Tile, [rows, columns, depth]: [usize; 3], groups: usize, splits: usize) -> Self {
        let [down, across] = tile.count([rows, columns]);
        let span = depth.div_ceil(splits).next_multiple_of(DEPTH).max(DEPTH);
        let splits = depth.div_ceil(span).max(1);
        let [rows, columns, depth, span] = [rows, columns, depth, span].map(whole);
        let (column_tiles, parts) = (Divisor::new(across.max(1)), Divisor::new(splits));
        let cut = Cut { rows, columns, depth, span, column_tiles, splits: parts };
        Self { tile, cut, splits, blocks: [down * across, groups * splits, 1] }
    }

    /// About how long it takes. A device that is not full takes as long as a full one.
    fn time(&self) -> u128 {
        let [rows, columns] = self.tile.sides();
        let block = rows * columns * self.tile.slowness() * self.cut.span as usize;
        (self.blocks[0] * self.blocks[1]).max(BLOCKS) as u128 * block as u128
    }

    /// The kernel's variant.
    pub fn variant(&self, [small, narrow, wide]: [&'static str; 3]) -> &'static str {
        match self.tile {
            Tile::Small => small,
            Tile::Narrow => narrow,
            Tile::Wide => wide,
        }
    }

    /// The numbers of all parts of `len` sums; 0 where they are not cut.
    pub fn scratch(&self, len: usize) -> usize {
        if self.splits > 1 { self.splits * len } else { 0 }
    }

    /// Where the kernel writes: `whole`, or its parts.
    pub fn target<'a>(&self, whole: Span<'a, f32>, scratch: Span<'a, f32>) -> Span<'a, f32> {
        if self.splits > 1 { scratch.part(..self.scratch(whole.len())) } else { whole }
    }

    /// y[i] = f(bias[i mod columns] + Σ parts[i]), if there are parts. Overwrites `y`.
    pub fn sum(
        &self,
        gpu: &Gpu,
        parts: Span<'_, f32>,
        bias: Option<Span<'_, f32>>,
        activation: Activation,
        y: Span<'_, f32>,
    ) -> Result<()> {
        match self.splits {
            1 => Ok(()),
            splits => sum_parts(gpu, [splits, y.len()], parts, bias, activation, y),
        }
    }
}

/// Numbers that a block of the kernel `sum` adds up, and its threads.
const SUMS: usize = 16;
const SUM_THREADS: usize = 256;

/// y[i] = f(bias[i mod columns] + Σ_p parts[p][i]) for `parts` [count, len]. Overwrites `y`.
fn sum_parts(
    gpu: &Gpu,
    [count, len]: [usize; 2],
    parts: Span<'_, f32>,
    bias: Option<Span<'_, f32>>,
    activation: Activation,
    y: Span<'_, f32>,
) -> Result<()> {
    assert!(parts.len() >= count * len && y.len() == len);
    let columns = bias.map_or(1, Span::len);
    assert!(columns > 0 && len.is_multiple_of(columns));
    let call = gpu.call("gemm", "sum")?.with(parts).size(count).size(len).with(bias.unwrap_or(Span::none()));
    let call = call.with(Divisor::new(columns)).with(activation).with(y);
    // SAFETY: `parts` and `y` are as long as the kernel was told, and a bias as its divisor.
    unsafe { call.launch([len.div_ceil(SUMS), 1, 1], SUM_THREADS) }
}

/// # Panics
/// Where a size does not fit in 31 bits.
pub(super) fn whole(size: usize) -> i32 {
    i32::try_from(size).expect("kernels count in 31 bits")
}
