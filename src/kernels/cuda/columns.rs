//! How the rows and columns of a matrix are shared out to blocks: `kernels/columns.cuh`, from the other side.

use super::call::{THREADS, as_it_is};

/// The part of a matrix that each block takes.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(super) struct Columns {
    rows: i32,
    columns: i32,
    width: i32,
    chunk: i32,
}

as_it_is!(Columns);

/// Columns side by side, so that whole lines of memory are read; fewer where there is little to read, but many rows.
const WIDE: usize = 32;
const NARROW: usize = 8;

/// Blocks, about, that a GPU is busy with.
const BLOCKS: usize = 512;

/// Rows of each line of threads, so that a block is worth its start.
const ROWS: usize = 16;

impl Columns {
    /// For sums over many rows: blocks that share the rows, whose parts are still to be put together.
    pub fn parts([rows, columns]: [usize; 2]) -> Self {
        let (width, tiles) = (width(columns, WIDE), columns.div_ceil(WIDE).max(1));
        let chunk = rows.div_ceil((BLOCKS / tiles).max(1)).max(THREADS / width * ROWS);
        Self::new([rows, columns], width, chunk)
    }

    /// For sums of so many parts: blocks that each take all of them.
    pub fn of_parts([parts, columns]: [usize; 2]) -> Self {
        Self::new([parts, columns], width(columns, NARROW), parts)
    }

    /// For what is done with each row on its own.
    pub fn each([rows, columns]: [usize; 2]) -> Self {
        let width = width(columns, WIDE);
        Self::new([rows, columns], width, THREADS / width * ROWS / 2)
    }

    /// For a block that takes all rows.
    pub fn whole([rows, columns]: [usize; 2]) -> Self {
        Self::new([rows, columns], width(columns, WIDE), rows)
    }

    fn new([rows, columns]: [usize; 2], width: usize, chunk: usize) -> Self {
        let numbers = rows.checked_mul(columns).expect("a matrix fits in memory");
        // Somewhat less, since threads look a few rows ahead.
        assert!(numbers <= i32::MAX as usize - (1 << 16), "kernels count in 31 bits");
        let [rows, columns, width, chunk] = [rows, columns, width, chunk.max(1)].map(|size| size as i32);
        Self { rows, columns, width, chunk }
    }

    /// The first so many rows alone, in the same chunks.
    pub fn first(self, rows: usize) -> Self {
        assert!(rows <= self.rows as usize);
        Self { rows: rows as i32, ..self }
    }

    /// The same rows and chunks, seen by few columns at a time.
    pub fn narrow(self) -> Self {
        Self { width: self.width.min(NARROW as i32), ..self }
    }

    /// Blocks that share the rows; at least one, for the sums of no rows.
    pub fn blocks(self) -> usize {
        (self.rows as usize).div_ceil(self.chunk as usize).max(1)
    }

    /// Blocks of rows, and of columns, of a launch.
    pub fn grid(self) -> [usize; 3] {
        [self.blocks(), self.tiles(), 1]
    }

    pub fn tiles(self) -> usize {
        (self.columns as usize).div_ceil(self.width as usize)
    }
}

fn width(columns: usize, most: usize) -> usize {
    columns.next_power_of_two().min(most)
}
