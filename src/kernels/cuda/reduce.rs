//! Sums over the rows of a matrix, and one look at all gradients.

use super::call::{Parameter, THREADS, as_it_is};
use super::columns::Columns;
use super::tile::whole;
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

/// What `control` says is wrong where a gradient that was not written down may be none that is finite.
pub(crate) const UNSURE: u32 = u32::MAX - 1;

/// Products that one look takes, at most.
pub(crate) const PRODUCTS: usize = 7;

/// One look at all gradients of a step: those that were written down, and those that are products of two factors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gradients<'a> {
    pub written: Span<'a, f32>,
    /// Numbers in their arena before them.
    pub before: usize,
    /// x and dy of each.
    pub products: &'a [[Span<'a, f32>; 2]],
}

/// `struct Tensor` of reduce.cu.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct Tensor {
    numbers: u64,
    of: Columns,
    first: i32,
    blocks: i32,
}

/// `struct Looks` of reduce.cu.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct Looks {
    tensors: [Tensor; 1 + 2 * PRODUCTS],
    count: i32,
    before: i32,
}

as_it_is!(Looks);

impl Looks {
    /// The tensors, and the blocks of the one that has the most.
    fn new(gradients: &Gradients<'_>) -> (Self, usize) {
        let none = Tensor { numbers: 0, of: Columns::parts([0, 1]), first: 0, blocks: 0 };
        let mut looks = Self { tensors: [none; 1 + 2 * PRODUCTS], count: 0, before: whole(gradients.before) };
        let (mut first, mut most) = (0, 0);
        for numbers in [gradients.written].into_iter().chain(gradients.products.iter().flatten().copied()) {
            let of = Columns::parts([numbers.len(), 1]);
            let tensor = Tensor { numbers: numbers.passed(), of, first: whole(first), blocks: whole(of.blocks()) };
            looks.tensors[looks.count as usize] = tensor;
            looks.count += 1;
            (first, most) = (first + of.blocks(), most.max(of.blocks()));
        }
        (looks, most)
    }
}

/// Overwrites `norm` with Σ g² in f64 of the gradients that were written down, in a fixed order. Where one of them is not
/// finite, halts the training with 1 + the place of the first such gradient in their arena, and that gradient; where a
/// product is not surely finite with [`UNSURE`]. Not where it was halted before.
///
/// # Panics
/// Where there are more than [`PRODUCTS`] products.
pub(crate) fn check(
    gpu: &Gpu,
    gradients: &Gradients<'_>,
    control: Span<'_, u32>,
    norm: Span<'_, f64>,
    scratch: Span<'_, f32>,
) -> Result<()> {
    assert!(control.len() == 4 && norm.len() == 1 && gradients.products.len() <= PRODUCTS);
    let (looks, blocks) = Looks::new(gradients);
    let (lens, count) = (gradients.lens(), looks.count as usize);
    let parts = scratch.part(..check_scratch(lens));
    let call = gpu.call("reduce", "reduce_squares")?.with(looks).with(parts);
    // SAFETY: a block reads its share of a tensor and writes its part.
    unsafe { call.launch([blocks, 1, count], THREADS) }?;
    let call = gpu.call("reduce", "reduce_check")?.with(looks).size(count.next_power_of_two());
    let call = call.with(parts).with(control).with(norm);
    // SAFETY: so many parts were written; `control` and `norm` are one each.
    unsafe { call.launch([1, 1, 1], THREADS) }
}

impl Gradients<'_> {
    fn lens(&self) -> impl Iterator<Item = usize> {
        std::iter::once(self.written.len()).chain(self.products.iter().flatten().map(|factor| factor.len()))
    }
}

/// The room that `check` needs for tensors of so many numbers.
pub(crate) fn check_scratch(lens: impl Iterator<Item = usize>) -> usize {
    lens.map(|len| Columns::parts([len, 1]).blocks() * PART).sum()
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
                    let (norm, room) =
                        (Buffer::of(&gpu, &[f64::NAN]).unwrap(), poisoned(&gpu, check_scratch([len].into_iter())));
                    let g = Buffer::of(&gpu, &cast::<f32>(g)).unwrap();
                    same_bits(|| {
                        control.span().write(&gpu, &[3, halted, 0, 0]).unwrap();
                        let gradients = Gradients { written: g.span(), before: 100, products: &[] };
                        check(&gpu, &gradients, control.span(), norm.span(), room.span()).unwrap();
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
                let expected = if halted == 0 { 101 + first.min(second) as u32 } else { halted };
                let number = if halted == 0 { (wrong as f32).to_bits() } else { 0 };
                assert!(!norm.is_finite() && control == [3, expected, number, 0], "{control:?}");
                (g[second], g[first]) = (kept[1], kept[0]);
            }
        }
    }

    /// Why a training is halted that has these products, and a gradient besides.
    fn halted(gpu: &Gpu, halted: u32, products: &[[Vec<f32>; 2]], gradient: f32) -> (u32, f64) {
        let control = Buffer::of(gpu, &[0, halted, 0, 0]).unwrap();
        let (written, norm) = (Buffer::of(gpu, &[3.0, gradient]).unwrap(), Buffer::of(gpu, &[f64::NAN]).unwrap());
        let products: Vec<_> =
            products.iter().map(|factors| factors.each_ref().map(|factor| Buffer::of(gpu, factor).unwrap())).collect();
        let products: Vec<_> = products.iter().map(|factors| factors.each_ref().map(Buffer::span)).collect();
        let gradients = Gradients { written: written.span(), before: 10, products: &products };
        let room = poisoned(gpu, check_scratch(gradients.lens()));
        check(gpu, &gradients, control.span(), norm.span(), room.span()).unwrap();
        (control.read(gpu).unwrap()[1], norm.read(gpu).unwrap()[0])
    }

    #[test]
    fn a_product_that_may_not_be_finite_halts() {
        let (gpu, mut random) = (gpu(), Key::new(3).named("reduce").stream());
        for count in 0..=PRODUCTS {
            let mut products: Vec<[Vec<f32>; 2]> =
                (0..count).map(|_| [(); 2].map(|()| cast(&draw(1 + random.below(20_000), &mut random)))).collect();
            assert_eq!(halted(&gpu, 0, &products, 4.0), (0, 25.0), "{count}");
            assert_eq!(halted(&gpu, 0, &products, f32::INFINITY).0, 12, "{count}");
            for which in 0..count {
                for wrong in [f32::NAN, f32::NEG_INFINITY, 3e38] {
                    let factor = &mut products[which][random.below(2)];
                    let at = random.below(factor.len());
                    let right = std::mem::replace(&mut factor[at], wrong);
                    let is_short = factor.len() < 3;
                    // A product of 3e38 and less than 1/2 is finite.
                    assert!(
                        is_short || halted(&gpu, 0, &products, 4.0) == (UNSURE, 25.0),
                        "{which} of {count}, {wrong}"
                    );
                    assert!(is_short || halted(&gpu, 0, &products, f32::NAN).0 == UNSURE, "the unsure is found first");
                    assert_eq!(halted(&gpu, 5, &products, 4.0).0, 5, "a training that was halted before");
                    for factor in &mut products[which] {
                        factor.iter_mut().for_each(|number| {
                            *number = if *number == wrong || number.is_nan() { right } else { *number }
                        });
                    }
                }
            }
        }
        // ‖x‖·‖dy‖ on either side of the line, and sums of squares beyond the largest f32.
        for (x, sure) in [(1e19, true), (1.69e19, true), (1.71e19, false), (1e30, false)] {
            assert_eq!(halted(&gpu, 0, &[[vec![x], vec![1e19]]], 4.0).0, if sure { 0 } else { UNSURE }, "{x}");
        }
    }
}
