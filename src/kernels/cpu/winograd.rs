//! Pictures cut into squares, for products by Winograd's algorithm: see [`crate::simd::winograd`].

use super::scratch::LINE;
use crate::element::Element;
use crate::simd::Simd;
use crate::simd::winograd::{PLANES, Planes, Squares};
use std::ops::Range;

/// Channels and filters, and their products, below which the transforms of pictures take longer than what they spare.
const FEWEST: usize = 16;
const PRODUCTS: usize = 512;

/// Squares of all pictures below which that of the weights does.
const ENOUGH: usize = 32;

/// Numbers of the squares, and of what they are multiplied with or to, that are worked on at once: they stay in the second
/// cache.
const NUMBERS: usize = 1 << 18;

/// Squares that are worked on at once, at least.
const SQUARES: usize = 16;

/// Numbers by which planes lie further apart than they have to: else they would share sets of the first cache.
const APART: usize = 16;

/// Whether a convolution over 3 × 3 pixels with so many channels and filters is worth it for so many images.
pub(super) fn is_faster(channels: usize, filters: usize, images: usize, output: [usize; 2]) -> bool {
    let is_deep = channels.min(filters) >= FEWEST && channels * filters >= PRODUCTS;
    is_deep && output[0].min(output[1]) >= 4 && Grid::over(images, output).count() >= ENOUGH
}

/// Squares of pictures, row by row: as many images, and squares down and across.
#[derive(Clone, Copy)]
pub(super) struct Grid {
    pub images: usize,
    pub down: usize,
    pub across: usize,
}

/// Squares side by side of one picture.
#[derive(Clone)]
pub(super) struct Segment {
    pub image: usize,
    pub row: usize,
    pub columns: Range<usize>,
    /// Which of the run the first one is.
    pub first: usize,
}

impl Grid {
    /// Every two pixels down and across.
    pub fn over(images: usize, [height, width]: [usize; 2]) -> Self {
        Self { images, down: height.div_ceil(2), across: width.div_ceil(2) }
    }

    /// All squares.
    pub fn count(self) -> usize {
        self.images * self.down * self.across
    }

    /// Some squares cut into runs that stay in the second cache, where each has so many numbers in two planes.
    pub fn runs(squares: Range<usize>, numbers: usize) -> impl Iterator<Item = Range<usize>> {
        let runs = squares.len().div_ceil((NUMBERS / (PLANES * numbers)).max(SQUARES));
        let first = move |run: usize| squares.start + squares.len() * run / runs;
        (0..runs).map(move |run| first(run)..first(run + 1))
    }

    /// A run of squares, row by row.
    pub fn segments(self, run: Range<usize>) -> impl Iterator<Item = Segment> {
        let mut rest = run.clone();
        std::iter::from_fn(move || {
            let (row, column) = (rest.start / self.across, rest.start % self.across);
            let count = rest.len().min(self.across - column);
            let first = rest.start - run.start;
            rest.start += count;
            let (image, row) = (row / self.down, row % self.down);
            (count > 0).then(|| Segment { image, row, columns: column..column + count, first })
        })
    }
}

/// Where so many squares lie, of which each has so many numbers in a plane.
pub(super) fn planes(squares: usize, numbers: usize) -> Planes {
    Planes { plane: squares * numbers + APART, square: numbers }
}

/// Pictures [N, H, W, C], and the channels that are taken of them.
#[derive(Clone)]
pub(super) struct Pictures<'a, E> {
    pub data: &'a [E],
    pub size: [usize; 2],
    pub depth: usize,
    pub channels: Range<usize>,
}

impl<'a, E: Element> Pictures<'a, E> {
    /// Overwrites the planes `to` with squares of R pixels' height and width. The very first of all begins at row and column
    /// `corner` of its picture.
    pub fn spread<S: Simd<Elem = E>, const R: usize>(
        &self,
        simd: S,
        segment: &Segment,
        corner: [isize; 2],
        planes: Planes,
        to: &mut [E],
    ) {
        let ([height, width], depth) = (self.size, self.depth);
        let row = corner[0] + 2 * segment.row as isize;
        let rows = std::array::from_fn(|r| {
            let row = usize::try_from(row + r as isize).ok().filter(|&row| row < height);
            let first = row.map(|row| (segment.image * height + row) * width * depth);
            first.map_or(&[][..], |first| &self.data[first + self.channels.start..first + width * depth])
        });
        let (pixel, channels) = (depth, self.channels.len());
        let first = corner[1] + 2 * segment.columns.start as isize;
        let squares = Squares::<_, R> { rows, pixel, channels, first, count: segment.columns.len() };
        squares.write(simd, planes, &mut to[segment.first * planes.square..]);
    }

    /// About what so many squares read that come behind a segment of squares of R pixels' height.
    pub fn behind<const R: usize>(&self, segment: &Segment, corner: [isize; 2], squares: usize) -> &'a [E] {
        let ([height, width], row) = (self.size, corner[0] + 2 * segment.row as isize + R as isize);
        let first = (segment.image * height + row.clamp(0, height as isize) as usize) * width * self.depth;
        let len = 4 * squares * self.depth;
        self.data.get(first..).map_or(&[][..], |data| &data[..len.min(data.len())])
    }
}

/// What will be needed soon: fetched line by line while something else is multiplied.
pub(super) struct Ahead<'a, E> {
    pub parts: [&'a [E]; 2],
}

impl<E> Ahead<'_, E> {
    /// Where the next lines are, at most so many, and the distance from one to the next; unless all have been fetched.
    pub fn take(&mut self, lines: usize) -> Option<(*const E, usize)> {
        let line = LINE / size_of::<E>();
        let part = self.parts.iter_mut().find(|part| !part.is_empty())?;
        let (taken, rest) = part.split_at(part.len().min(lines * line));
        *part = rest;
        Some((taken.as_ptr(), line))
    }
}
