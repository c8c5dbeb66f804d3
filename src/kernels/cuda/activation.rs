//! y = f(x), number by number, and the way back from y alone; sums of two tensors.

use super::{Gpu, Span};
use crate::error::Result;
use crate::kernels::cpu::activation::Activation;

/// y = f(x). Overwrites `y`, which may be `x`.
pub(crate) fn apply(gpu: &Gpu, activation: Activation, x: Span<'_, f32>, y: Span<'_, f32>) -> Result<()> {
    assert_eq!(x.len(), y.len());
    let call = gpu.call("activation", "activation_apply")?.with(x).with(y).with(activation).size(y.len());
    // SAFETY: a thread reads and writes one number, if there is such a number.
    unsafe { call.for_each(y.len()) }
}

/// dy ← dy·f′, told from y.
pub(crate) fn apply_slope(gpu: &Gpu, activation: Activation, y: Span<'_, f32>, dy: Span<'_, f32>) -> Result<()> {
    assert_eq!(y.len(), dy.len());
    let call = gpu.call("activation", "activation_slope")?.with(y).with(dy).with(activation).size(dy.len());
    // SAFETY: as above.
    unsafe { call.for_each(dy.len()) }
}

/// y = f(x + other). Overwrites `y`, which may be one of them.
pub(crate) fn add(
    gpu: &Gpu,
    x: Span<'_, f32>,
    other: Span<'_, f32>,
    activation: Activation,
    y: Span<'_, f32>,
) -> Result<()> {
    assert!(x.len() == y.len() && other.len() == y.len());
    let call = gpu.call("activation", "activation_add")?.with(x).with(other).with(y).with(activation).size(y.len());
    // SAFETY: as above.
    unsafe { call.for_each(y.len()) }
}

/// to ← to + share
pub(crate) fn add_into(gpu: &Gpu, to: Span<'_, f32>, share: Span<'_, f32>) -> Result<()> {
    assert_eq!(to.len(), share.len());
    let call = gpu.call("activation", "activation_add_into")?.with(to).with(share).size(to.len());
    // SAFETY: as above.
    unsafe { call.for_each(to.len()) }
}

/// Overwrites `to` with `from`.
pub(crate) fn copy(gpu: &Gpu, from: Span<'_, f32>, to: Span<'_, f32>) -> Result<()> {
    assert_eq!(from.len(), to.len());
    let call = gpu.call("activation", "activation_copy")?.with(from).with(to).size(to.len());
    // SAFETY: as above.
    unsafe { call.for_each(to.len()) }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{gpu, poisoned, same_bits};
    use super::super::{Buffer, Gpu};
    use super::*;
    use crate::kernels::cpu::testing::{cast, close, draw, magnitudes};
    use crate::random::Key;

    const LEAKY: Activation = Activation::LeakyRelu(0.3);
    const ALL: [Activation; 5] = [Activation::Linear, Activation::Relu, LEAKY, Activation::Sigmoid, Activation::Tanh];

    fn of(gpu: &Gpu, numbers: &[f64]) -> Buffer<f32> {
        Buffer::of(gpu, &cast::<f32>(numbers)).unwrap()
    }

    #[test]
    fn every_pass_agrees_with_the_formula() {
        let (gpu, mut random) = (gpu(), Key::new(1).named("activation").stream());
        for (len, activation) in [0, 1, 255, 256, 257, 1000].into_iter().flat_map(|len| ALL.map(|f| (len, f))) {
            let [x, other, dy] = [(); 3].map(|()| draw(len, &mut random).iter().map(|x| 8.0 * x).collect::<Vec<_>>());
            let [x_at, other_at, dy_at] = [&x, &other, &dy].map(|numbers| of(&gpu, numbers));
            let found = same_bits(|| {
                let [y, sum, dx] = [poisoned(&gpu, len), poisoned(&gpu, len), of(&gpu, &dy)];
                apply(&gpu, activation, x_at.span(), y.span()).unwrap();
                apply_slope(&gpu, activation, y.span(), dx.span()).unwrap();
                add(&gpu, x_at.span(), other_at.span(), activation, sum.span()).unwrap();
                [y, dx, sum].map(|found| found.read(&gpu).unwrap()).concat()
            });
            let (y, (dx, sum)) = (&found[..len], found[len..].split_at(len));
            let expected: Vec<_> = x.iter().map(|&x| activation.value(x)).collect();
            close(y, &expected, &magnitudes(&expected), &format!("{activation:?}"));
            let slope = |(dy, &y): (&f64, &f32)| dy * activation.slope(f64::from(y));
            // The terms of 1 − y and 1 − y² are of the size of 1.
            close(dx, &dy.iter().zip(y).map(slope).collect::<Vec<_>>(), &magnitudes(&dy), &format!("{activation:?}′"));
            let added = |(x, other): (&f64, &f64)| activation.value(f64::from((x + other) as f32));
            let expected: Vec<_> = x.iter().zip(&other).map(added).collect();
            close(sum, &expected, &magnitudes(&expected), &format!("{activation:?} of a sum"));

            add_into(&gpu, x_at.span(), dy_at.span()).unwrap();
            let expected: Vec<_> = x.iter().zip(&dy).map(|(x, dy)| (x + dy) as f32).collect();
            assert_eq!(x_at.read(&gpu).unwrap(), expected);
            copy(&gpu, other_at.span(), x_at.span()).unwrap();
            assert_eq!(x_at.read(&gpu).unwrap(), cast::<f32>(&other));
        }
    }

    #[test]
    fn nan_stays_and_what_is_tiny_becomes_0() {
        let gpu = gpu();
        for activation in ALL {
            let x = Buffer::of(&gpu, &[f32::NAN, 1e-25, -1e-25]).unwrap();
            let dy = Buffer::of(&gpu, &[f32::NAN, 1e-25, -1e-25]).unwrap();
            let y = Buffer::of(&gpu, &[0.5; 3]).unwrap();
            apply_slope(&gpu, activation, y.span(), dy.span()).unwrap();
            assert!(matches!(dy.read(&gpu).unwrap()[..], [nan, 0.0, 0.0] if nan.is_nan()), "{activation:?}");
            apply(&gpu, activation, x.span(), x.span()).unwrap();
            let [nan, tiny, minus] = x.read(&gpu).unwrap()[..] else { unreachable!() };
            let nothing = if activation == Activation::Sigmoid { 0.5 } else { 0.0 };
            assert!(nan.is_nan() && tiny == nothing && minus == nothing, "{activation:?}");
        }
    }
}
