//! Sums over the rows of a matrix, and one look at all gradients.

use super::call::THREADS;
use super::columns::Columns;
use super::{Gpu, Span};
use crate::error::Result;

/// Overwrites `sums` [F] with Σ_r x[r, f], in f32 and in a fixed order: blocks of rows first, and then their sums.
pub(crate) fn sum_rows(
    gpu: &Gpu,
    [rows, columns]: [usize; 2],
    x: Span<'_, f32>,
    sums: Span<'_, f32>,
    scratch: Span<'_, f32>,
) -> Result<()> {
    assert!(x.len() == rows * columns && sums.len() == columns);
    let of = Columns::parts([rows, columns]);
    if of.blocks() == 1 {
        return sum_blocks(gpu, of, x, sums);
    }
    let parts = scratch.part(..of.blocks() * columns);
    sum_blocks(gpu, of, x, parts)?;
    sum_blocks(gpu, Columns::of_parts([of.blocks(), columns]), parts, sums)
}

/// The room that `sum_rows` needs.
pub(crate) fn scratch([rows, columns]: [usize; 2]) -> usize {
    match Columns::parts([rows, columns]).blocks() {
        1 => 0,
        blocks => blocks * columns,
    }
}

/// Overwrites `sums` [blocks, F].
pub(super) fn sum_blocks(gpu: &Gpu, of: Columns, x: Span<'_, f32>, sums: Span<'_, f32>) -> Result<()> {
    let call = gpu.call("reduce", "reduce_rows")?.with(x).with(of).with(sums);
    // SAFETY: `of` is cut out of the rows and columns of x, and each of its blocks writes its row of sums.
    unsafe { call.launch(of.grid(), THREADS) }
}

/// Overwrites `norm` with Σ g² in f64, in a fixed order. Where a gradient is not finite, halts the training with 1 + the
/// place of the first such gradient, unless it was halted before.
pub(crate) fn check(
    gpu: &Gpu,
    gradients: Span<'_, f32>,
    control: Span<'_, u32>,
    norm: Span<'_, f64>,
    scratch: Span<'_, f32>,
) -> Result<()> {
    assert!(control.len() == 4 && norm.len() == 1);
    let of = Columns::parts([gradients.len(), 1]);
    let parts = scratch.part(..of.blocks() * PART);
    let call = gpu.call("reduce", "reduce_squares")?.with(gradients).with(of).with(parts);
    // SAFETY: a block reads its share of the gradients and writes its part.
    unsafe { call.launch(of.grid(), THREADS) }?;
    let of = Columns::of_parts([of.blocks(), 1]);
    let call = gpu.call("reduce", "reduce_check")?.with(parts).with(of).with(control).with(norm);
    // SAFETY: so many parts were written; `control` and `norm` are one each.
    unsafe { call.launch(of.grid(), THREADS) }
}

/// The room that `check` needs for so many gradients.
pub(crate) fn check_scratch(count: usize) -> usize {
    Columns::parts([count, 1]).blocks() * PART
}

/// Words of a block's part: `union Part`.
const PART: usize = 4;

#[cfg(test)]
mod tests {
    use super::super::Buffer;
    use super::super::testing::{gpu, poisoned, same_bits};
    use super::*;
    use crate::kernels::cpu::testing::{cast, close, draw, draw_size, magnitudes};
    use crate::random::Key;

    #[test]
    fn sums_agree_with_the_formula() {
        let (gpu, mut random) = (gpu(), Key::new(1).named("reduce").stream());
        let named = [[0, 3], [1, 1], [9001, 32], [70_001, 3], [100_003, 1], [4099, 33], [3, 5000], [200, 700]];
        let drawn = (0..40).map(|_| [random.below(3000), draw_size(7, &mut random)]).collect::<Vec<_>>();
        for shape in named.into_iter().chain(drawn) {
            let [rows, columns] = shape;
            let x = draw(rows * columns, &mut random);
            let sum = |x: &[f64]| (0..columns).map(|f| x.iter().skip(f).step_by(columns).sum()).collect::<Vec<f64>>();
            let numbers = Buffer::of(&gpu, &cast::<f32>(&x)).unwrap();
            let found = same_bits(|| {
                let (sums, room) = (poisoned(&gpu, columns), poisoned(&gpu, scratch(shape)));
                sum_rows(&gpu, shape, numbers.span(), sums.span(), room.span()).unwrap();
                sums.read(&gpu).unwrap()
            });
            close(&found, &sum(&x), &sum(&magnitudes(&x)), &format!("{shape:?}"));
        }
    }

    #[test]
    fn the_first_gradient_that_is_not_finite_halts() {
        let (gpu, mut random) = (gpu(), Key::new(2).named("reduce").stream());
        for len in [1, 200, 4096, 4097, 50_000] {
            let mut g = draw(len, &mut random);
            let squares: f64 = g.iter().map(|g| g * g).sum();
            let [first, second] = [random.below(len), random.below(len)];
            for (halted, wrong) in [(0, f64::NAN), (0, f64::INFINITY), (0, f64::NEG_INFINITY), (7, f64::NAN)] {
                let run = |g: &[f64]| {
                    let control = Buffer::of(&gpu, &[3u32, halted, 0, 0]).unwrap();
                    let (norm, room) = (Buffer::of(&gpu, &[f64::NAN]).unwrap(), poisoned(&gpu, check_scratch(len)));
                    let g = Buffer::of(&gpu, &cast::<f32>(g)).unwrap();
                    same_bits(|| {
                        control.span().write(&gpu, &[3, halted, 0, 0]).unwrap();
                        check(&gpu, g.span(), control.span(), norm.span(), room.span()).unwrap();
                        norm.read(&gpu).unwrap().iter().map(|&norm| norm as f32).collect()
                    });
                    (control.read(&gpu).unwrap(), norm.read(&gpu).unwrap()[0])
                };
                let (control, norm) = run(&g);
                assert!((norm - squares).abs() <= 1e-12 * squares, "{norm} instead of {squares}");
                assert_eq!(control, [3, halted, 0, 0]);
                let kept = [g[first], g[second]];
                (g[second], g[first]) = (wrong, wrong);
                let (control, norm) = run(&g);
                let expected = if halted == 0 { 1 + first.min(second) as u32 } else { halted };
                assert!(!norm.is_finite() && control == [3, expected, 0, 0], "{control:?}");
                (g[second], g[first]) = (kept[1], kept[0]);
            }
        }
    }
}
