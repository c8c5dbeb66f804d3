//! The one policy for threads: work is split by the problem and never by the number of threads, so that every sum
//! is made of the same parts in the same order. rayon's pool decides who does which part.

use ndarray::{ArrayViewMut2, Axis};
use rayon::prelude::*;

/// Multiply-adds below which one thread is sooner done than a second one is awake: some 20 µs.
const WORTH_A_THREAD: usize = 1 << 20;

/// Runs `task(index, chunk)` on each chunk of `size` numbers. `work` is that of all chunks, in multiply-adds.
pub(super) fn chunks_mut<T: Send>(
    work: usize,
    data: &mut [T],
    size: usize,
    task: impl Fn(usize, &mut [T]) + Send + Sync,
) {
    if work < WORTH_A_THREAD || data.len() <= size {
        data.chunks_mut(size.max(1)).enumerate().for_each(|(index, chunk)| task(index, chunk));
    } else {
        data.par_chunks_mut(size.max(1)).enumerate().for_each(|(index, chunk)| task(index, chunk));
    }
}

/// The same with chunks of two slices of equal length.
pub(super) fn zip_chunks_mut<T: Send, U: Send>(
    work: usize,
    first: &mut [T],
    second: &mut [U],
    size: usize,
    task: impl Fn(usize, &mut [T], &mut [U]) + Send + Sync,
) {
    assert_eq!(first.len(), second.len());
    if work < WORTH_A_THREAD || first.len() <= size {
        let chunks = first.chunks_mut(size.max(1)).zip(second.chunks_mut(size.max(1)));
        chunks.enumerate().for_each(|(index, (first, second))| task(index, first, second));
    } else {
        let chunks = first.par_chunks_mut(size.max(1)).zip(second.par_chunks_mut(size.max(1)));
        chunks.enumerate().for_each(|(index, (first, second))| task(index, first, second));
    }
}

/// The same with chunks of `first` and of any number of slices of its length.
pub(super) fn aligned_chunks_mut<T: Send, const M: usize>(
    work: usize,
    first: &mut [T],
    others: [&mut [T]; M],
    size: usize,
    task: &(impl Fn(usize, &mut [T], [&mut [T]; M]) + Sync),
) {
    assert!(others.iter().all(|other| other.len() == first.len()));
    halve(0, first, others, size, work >= WORTH_A_THREAD, task);
}

fn halve<T: Send, const M: usize>(
    index: usize,
    first: &mut [T],
    mut others: [&mut [T]; M],
    size: usize,
    threads: bool,
    task: &(impl Fn(usize, &mut [T], [&mut [T]; M]) + Sync),
) {
    let chunks = first.len().div_ceil(size);
    if chunks <= 1 {
        return task(index, first, others);
    }
    let middle = chunks / 2;
    let (first, second) = first.split_at_mut(middle * size);
    let mut further = [(); M].map(|()| <&mut [T]>::default());
    for (other, further) in others.iter_mut().zip(&mut further) {
        (*other, *further) = std::mem::take(other).split_at_mut(middle * size);
    }
    let halves = (
        || halve(index, first, others, size, threads, task),
        || halve(index + middle, second, further, size, threads, task),
    );
    match threads {
        true => drop(rayon::join(halves.0, halves.1)),
        false => (halves.0(), halves.1()).1,
    }
}

/// The same with chunks of two slices that have as many of them, each of its own size.
pub(super) fn pairs_mut<T: Send>(
    work: usize,
    [first, second]: [&mut [T]; 2],
    sizes: [usize; 2],
    task: impl Fn(usize, &mut [T], &mut [T]) + Send + Sync,
) {
    let [one, other] = sizes.map(|size| size.max(1));
    assert_eq!(first.len().div_ceil(one), second.len().div_ceil(other));
    if work < WORTH_A_THREAD || first.len() <= one {
        let chunks = first.chunks_mut(one).zip(second.chunks_mut(other));
        chunks.enumerate().for_each(|(index, (first, second))| task(index, first, second));
    } else {
        let chunks = first.par_chunks_mut(one).zip(second.par_chunks_mut(other));
        chunks.enumerate().for_each(|(index, (first, second))| task(index, first, second));
    }
}

/// The first chunk of `size` numbers that `test` says yes to.
pub(super) fn find_chunk<T: Sync>(
    work: usize,
    data: &[T],
    size: usize,
    test: impl Fn(&[T]) -> bool + Send + Sync,
) -> Option<&[T]> {
    match work < WORTH_A_THREAD || data.len() <= size {
        true => data.chunks(size).find(|chunk| test(chunk)),
        false => data.par_chunks(size).find_first(|chunk| test(chunk)),
    }
}

/// Runs `task([row, column], block)` on each block of at most `size` rows and columns, given the block's place.
pub(super) fn blocks_mut<T: Send>(
    work: usize,
    matrix: ArrayViewMut2<'_, T>,
    size: [usize; 2],
    task: &(impl Fn([usize; 2], ArrayViewMut2<'_, T>) + Sync),
) {
    split([0, 0], matrix, size, work >= WORTH_A_THREAD, task);
}

fn split<T: Send>(
    place: [usize; 2],
    matrix: ArrayViewMut2<'_, T>,
    size: [usize; 2],
    threads: bool,
    task: &(impl Fn([usize; 2], ArrayViewMut2<'_, T>) + Sync),
) {
    let blocks = [0, 1].map(|axis| matrix.len_of(Axis(axis)).div_ceil(size[axis]));
    // Columns first: blocks that share columns, and with them the second factor of a product, follow each other.
    let Some(axis) = [1, 0].into_iter().find(|&axis| blocks[axis] > 1) else {
        return task(place, matrix);
    };
    let middle = blocks[axis] / 2 * size[axis];
    let (first, second) = matrix.split_at(Axis(axis), middle);
    let mut further = place;
    further[axis] += middle;
    let halves = (|| split(place, first, size, threads, task), || split(further, second, size, threads, task));
    match threads {
        true => drop(rayon::join(halves.0, halves.1)),
        false => (halves.0(), halves.1()).1,
    }
}
