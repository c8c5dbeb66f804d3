//! y = x · m / (1 − p),  m = 0 with probability p, else 1; the mask is that of the CPU, bit for bit.

use super::call::{Parameter, as_it_is};
use super::{Gpu, Span};
use crate::error::Result;

/// `struct Keys` of dropout.cu.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct Keys {
    keys: u64,
    steps: i32,
    stride: i32,
    number: i32,
}

as_it_is!(Keys);

/// Overwrites `y`, which may be `x`. The key is number `number` in the step's row of `keys` [steps, stride]. The gradient
/// goes the same way: dx = dy · m / (1 − p).
#[expect(clippy::too_many_arguments, reason = "a table, a place in it, and what is to be done")]
pub(crate) fn dropout(
    gpu: &Gpu,
    keys: Span<'_, u64>,
    stride: usize,
    number: usize,
    control: Span<'_, u32>,
    rate: f64,
    x: Span<'_, f32>,
    y: Span<'_, f32>,
) -> Result<()> {
    assert!(x.len() == y.len() && control.len() == 4);
    assert!(number < stride && keys.len() >= stride && keys.len().is_multiple_of(stride));
    assert!(keys.len() <= i32::MAX as usize, "kernels count in 31 bits");
    let [steps, stride, number] = [keys.len() / stride, stride, number].map(|size| size as i32);
    // Of the 2⁶⁴ numbers that can be drawn, so many leave out.
    let (leaves, factor) = ((rate * 2.0f64.powi(64)) as u64, (1.0 / (1.0 - rate)) as f32);
    let call = gpu.call("dropout", "dropout")?.with(Keys { keys: keys.passed(), steps, stride, number });
    let call = call.with(control).with(leaves).with(factor).with(x).with(y).size(y.len());
    // SAFETY: a thread reads and writes one number; the kernel takes no row behind the last step's.
    unsafe { call.for_each(y.len()) }
}

#[cfg(test)]
mod tests {
    use super::super::Buffer;
    use super::super::testing::{gpu, poisoned, same_bits};
    use super::*;
    use crate::kernels::cpu;
    use crate::kernels::cpu::testing::{cast, draw};
    use crate::random::Key;

    #[test]
    fn the_mask_is_that_of_the_cpu() {
        let (gpu, mut random) = (gpu(), Key::new(1).named("dropout").stream());
        for round in 0..60 {
            let len = if round == 0 { 5000 } else { random.below(600) };
            let (steps, stride) = (1 + random.below(3), 1 + random.below(3));
            let (step, number, rate) = (random.below(steps), random.below(stride), random.below(16) as f64 / 16.0);
            let keys: Vec<_> = (0..steps * stride).map(|at| Key::new(round).at(at as u64)).collect();
            let mut x = cast::<f32>(&draw(len, &mut random));
            x.first_mut().into_iter().for_each(|x| *x = f32::NAN);
            let mut expected = vec![0.0; len];
            cpu::dropout::dropout(keys[step * stride + number], rate, &x, &mut expected);
            let keys = Buffer::of(&gpu, &keys.iter().map(|key| key.number()).collect::<Vec<_>>()).unwrap();
            // Behind the last row of a table there is none.
            let step_told = if step + 1 == steps { 99 } else { step as u32 };
            let control = Buffer::of(&gpu, &[step_told, 0, 0, 0]).unwrap();
            let x = Buffer::of(&gpu, &x).unwrap();
            let found = same_bits(|| {
                let y = poisoned(&gpu, len);
                dropout(&gpu, keys.span(), stride, number, control.span(), rate, x.span(), y.span()).unwrap();
                y.read(&gpu).unwrap()
            });
            let same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
            assert!(found.iter().zip(&expected).all(same), "{rate} of {len}");
        }
    }
}
