//! y = γ·x̂ + β,  x̂ = (x − μ)·r,  r = 1/√(σ² + ε),  for each channel on its own, what follows it, and the way back.
//! x [N, H, W, C]  γ, β, μ, σ², r [C]  →  y [N, PH, PW, C]     (Ioffe & Szegedy, arXiv:1502.03167)
//!
//! A pixel of a picture is a row of a matrix [N·H·W, C].

use super::call::{Parameter, THREADS};
use super::columns::Columns;
use super::windows::Windows;
use super::{Gpu, Span};
use crate::error::Result;
use crate::kernels::cpu::tail::Tail;
use crate::shape::Geometry2D;

/// What a normalisation knows of each channel [C].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Norm<'a> {
    pub mean: Span<'a, f32>,
    /// r
    pub inverse_deviation: Span<'a, f32>,
    pub gamma: Span<'a, f32>,
    pub beta: Span<'a, f32>,
}

// SAFETY: laid out as `struct Norm` of batch_norm.cu.
unsafe impl Parameter for Norm<'_> {
    type Passed = [u64; 4];

    fn passed(self) -> [u64; 4] {
        self.spans().map(Span::passed)
    }
}

impl<'a> Norm<'a> {
    fn spans(self) -> [Span<'a, f32>; 4] {
        [self.mean, self.inverse_deviation, self.gamma, self.beta]
    }

    fn check(self, channels: usize) {
        assert!(self.spans().iter().all(|span| span.len() == channels));
    }
}

/// Overwrites `mean` and `variance` [C] with those of `x` [M, C], with M ≥ 1.
pub(crate) fn statistics(
    gpu: &Gpu,
    [rows, channels]: [usize; 2],
    x: Span<'_, f32>,
    mean: Span<'_, f32>,
    variance: Span<'_, f32>,
    scratch: Span<'_, f32>,
) -> Result<()> {
    assert!(rows > 0 && x.len() == rows * channels && mean.len() == channels && variance.len() == channels);
    let of = Columns::parts([rows, channels]);
    let parts = scratch.part(..3 * of.blocks() * channels);
    let call = gpu.call("batch_norm", "batch_norm_moments")?.with(x).with(of).with(parts);
    // SAFETY: `of` is cut out of the rows and columns of x, and each of its blocks writes its three rows.
    unsafe { call.launch(of.grid(), THREADS) }?;
    let narrow = of.narrow();
    let call = gpu.call("batch_norm", "batch_norm_statistics")?.with(parts).with(narrow).size(of.blocks());
    let call = call.with(mean).with(variance);
    // SAFETY: so many parts were written; each thread that writes has a column of its own.
    unsafe { call.launch([1, narrow.tiles(), 1], THREADS) }
}

/// The room, in numbers, that `statistics` and `parameter_gradients` need for x [M, C].
pub(crate) fn scratch([rows, channels]: [usize; 2]) -> usize {
    // Behind a pooling there are fewer rows, which may be cut into a few more blocks.
    3 * (Columns::parts([rows, channels]).blocks() + 1) * channels
}

/// r = 1/√(σ² + ε): overwrites `to`.
pub(crate) fn inverse_deviation(gpu: &Gpu, variance: Span<'_, f32>, epsilon: f64, to: Span<'_, f32>) -> Result<()> {
    assert_eq!(variance.len(), to.len());
    let call = gpu.call("batch_norm", "batch_norm_inverse_deviation")?;
    let call = call.with(variance).with(epsilon as f32).with(to).size(to.len());
    // SAFETY: a thread reads and writes one number.
    unsafe { call.for_each(to.len()) }
}

/// moving ← momentum · moving + (1 − momentum) · new, in the form that is exact where both are the same; not where the
/// training is halted.
pub(crate) fn follow(
    gpu: &Gpu,
    control: Span<'_, u32>,
    moving: Span<'_, f32>,
    new: Span<'_, f32>,
    momentum: f64,
) -> Result<()> {
    assert!(control.len() == 4 && moving.len() == new.len());
    let call = gpu.call("batch_norm", "batch_norm_follow")?.with(control).with(moving).with(new);
    let call = call.with((1.0 - momentum) as f32).size(new.len());
    // SAFETY: as above.
    unsafe { call.for_each(new.len()) }
}

/// Overwrites `y` [N, PH, PW, C] with the tail of γ·x̂ + β, and `winners`, which go with a pooling, as the tail does.
#[expect(clippy::too_many_arguments, reason = "a tensor to read, two to write, and all between them")]
pub(crate) fn forward(
    gpu: &Gpu,
    picture: [usize; 4],
    x: Span<'_, f32>,
    norm: &Norm<'_>,
    tail: &Tail,
    y: Span<'_, f32>,
    winners: Option<Span<'_, u8>>,
) -> Result<()> {
    let [n, h, w, c] = picture;
    norm.check(c);
    let [ph, pw] = tail.output([h, w]);
    assert!(x.len() == n * h * w * c && y.len() == n * ph * pw * c && x.len() <= i32::MAX as usize);
    assert!(winners.is_none_or(|winners| winners.len() == y.len() && tail.pool.is_some()));
    let of = Columns::each([n * ph * pw, c]);
    let call = match &tail.pool {
        None => {
            gpu.call("batch_norm", "batch_norm_forward")?.with(x).with(*norm).with(tail.activation).with(of).with(y)
        }
        Some(pool) => {
            assert!(pool.input == [h, w] && Tail::takes(pool));
            let call = gpu.call("batch_norm", "batch_norm_pooled")?.with(x).with(*norm).with(tail.activation);
            call.with(Windows::new(pool, c)).with(of).with(y).with(winners.unwrap_or(Span::none()))
        }
    };
    // SAFETY: a thread writes numbers of its rows of y, and reads those of x that lie in their windows.
    unsafe { call.launch(of.grid(), THREADS) }
}

/// The pooling of the tail, and which tap of each window won.
pub(crate) type Pool<'a> = Option<(Geometry2D, Span<'a, u8>)>;

/// `struct Gradient` of batch_norm.cu.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct Gradient {
    dy: u64,
    winners: u64,
    windows: Windows,
}

// SAFETY: laid out as there.
unsafe impl Parameter for Gradient {
    type Passed = Self;

    fn passed(self) -> Self {
        self
    }
}

impl Gradient {
    /// The gradient behind the tail, times the activation's slope: of each pixel, or of each window.
    fn new([n, h, w, c]: [usize; 4], x: Span<'_, f32>, dy: Span<'_, f32>, pool: Pool<'_>) -> Self {
        assert!(x.len() == n * h * w * c && x.len() <= i32::MAX as usize);
        let Some((pool, winners)) = pool else {
            assert_eq!(dy.len(), x.len());
            return Self { dy: dy.passed(), winners: 0, windows: Windows::none() };
        };
        assert!(pool.input == [h, w] && dy.len() == n * pool.pixels() * c && winners.len() == dy.len());
        Self { dy: dy.passed(), winners: winners.passed(), windows: Windows::new(&pool, c) }
    }
}

/// dγ = Σ dy·x̂ and dβ = Σ dy: overwrites both [C].
#[expect(clippy::too_many_arguments, reason = "all that belongs to a normalisation's way back")]
pub(crate) fn parameter_gradients(
    gpu: &Gpu,
    picture: [usize; 4],
    x: Span<'_, f32>,
    norm: &Norm<'_>,
    dy: Span<'_, f32>,
    pool: Pool<'_>,
    dgamma: Span<'_, f32>,
    dbeta: Span<'_, f32>,
    scratch: Span<'_, f32>,
) -> Result<()> {
    let channels = picture[3];
    norm.check(channels);
    assert!(dgamma.len() == channels && dbeta.len() == channels);
    let (gradient, of) = (Gradient::new(picture, x, dy, pool), Columns::parts([dy.len() / channels, channels]));
    let parts = scratch.part(..2 * of.blocks() * channels);
    let call = gpu.call("batch_norm", "batch_norm_products")?.with(x).with(norm.mean).with(gradient);
    let call = call.with(of).with(parts);
    // SAFETY: `of` is cut out of the rows of dy, and each of its blocks writes its two rows. The kernel reads x where the
    // window has a pixel.
    unsafe { call.launch(of.grid(), THREADS) }?;
    let of = Columns::of_parts([of.blocks(), channels]);
    let call = gpu.call("batch_norm", "batch_norm_parameter_gradients")?.with(parts).with(norm.inverse_deviation);
    let call = call.with(of).with(dgamma).with(dbeta);
    // SAFETY: so many parts were written; each thread that writes has a column of its own.
    unsafe { call.launch(of.grid(), THREADS) }
}

/// dx = γ·r·(dy − dβ/M − x̂·dγ/M): overwrites `dx` [N, H, W, C].
#[expect(clippy::too_many_arguments, reason = "as above")]
pub(crate) fn input_gradient(
    gpu: &Gpu,
    picture: [usize; 4],
    x: Span<'_, f32>,
    norm: &Norm<'_>,
    dy: Span<'_, f32>,
    pool: Pool<'_>,
    dgamma: Span<'_, f32>,
    dbeta: Span<'_, f32>,
    dx: Span<'_, f32>,
) -> Result<()> {
    let [n, h, w, channels] = picture;
    norm.check(channels);
    assert!(dgamma.len() == channels && dbeta.len() == channels && dx.len() == x.len());
    let (gradient, of) = (Gradient::new(picture, x, dy, pool), Columns::each([n * h * w, channels]));
    let call = gpu.call("batch_norm", "batch_norm_input_gradient")?.with(x).with(*norm).with(gradient);
    let call = call.with(dgamma).with(dbeta).with(of).with(dx);
    // SAFETY: a thread writes numbers of its rows of dx, and reads the outputs whose windows they lie in.
    unsafe { call.launch(of.grid(), THREADS) }
}
