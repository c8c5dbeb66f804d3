//! From a transform to a picture: one bilinear sampling.
//!
//! y[i,j,k] = Σ_{u,v ∈ {0,1}} |1−u−α| · |1−v−β| · x[⌊p⌋+u, ⌊q⌋+v, k]     (p, q) = M · (i, j, 1)   α = p−⌊p⌋   β = q−⌊q⌋
//! x [H, W, C]  →  y [H, W, C]
//!
//! This is `scipy.ndimage.affine_transform` with `order = 1`, which Keras calls.

use super::transform::{IDENTITY, Transform};
use serde::{Deserialize, Serialize};

/// What is seen beyond the edges of a picture.
///
/// ```
/// use tapetum::data::{Augmentation, FillMode};
/// let shifted = Augmentation::default().width_shift(0.2).fill_mode(FillMode::Constant(127.5));
/// shifted.validate()?;
/// # Ok::<(), tapetum::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FillMode {
    /// The nearest pixel: `a a a | a b c d | d d d`.
    #[default]
    Nearest,
    /// This value, on the scale 0 to 255: `k k k | a b c d | k k k`. No mixing with the edge, as in SciPy.
    Constant(f32),
    /// The picture mirrored at its edges: `c b a | a b c d | d c b`.
    Reflect,
    /// The picture again: `b c d | a b c d | a b c`. As Keras documents it; SciPy calls it `grid-wrap`, while SciPy's
    /// `wrap`, which Keras in fact calls, lays the last pixel over the first.
    Wrap,
}

impl FillMode {
    /// The place from 0 to n − 1 (with `Wrap`: below n) that is seen at `x`; none where the constant is seen.
    #[inline(always)]
    fn inside(self, x: Fixed, n: usize) -> Option<Fixed> {
        let last = (n as Fixed - 1) << BITS;
        if (0..=last).contains(&x) { Some(x) } else { self.beyond(x, last) }
    }

    #[cold]
    fn beyond(self, x: Fixed, last: Fixed) -> Option<Fixed> {
        let length = last + ONE;
        match self {
            Self::Nearest => Some(x.clamp(0, last)),
            Self::Constant(_) => None,
            // Pixels are cells one wide: the mirrors stand at −½ and n − ½.
            Self::Reflect => {
                let cell = (x + ONE / 2).rem_euclid(2 * length);
                Some((cell.min(2 * length - cell) - ONE / 2).clamp(0, last))
            }
            Self::Wrap => Some(x.rem_euclid(length)),
        }
    }
}

/// A place on one axis: whole pixels above, parts of one in the lower 32 bits. Steps of it add up exactly, and
/// taking it apart costs less than rounding floats. `apply` keeps all places far below the 2³¹ that fit.
type Fixed = i64;

const BITS: u32 = 32;
const ONE: Fixed = 1 << BITS;

fn fixed(x: f64) -> Fixed {
    (x * ONE as f64).round() as Fixed
}

/// Overwrites `out` [H, W, C] with `source` [H, W, C] as `transform` makes it.
pub(super) fn sample(transform: &Transform, fill: FillMode, source: &[u8], shape: [usize; 3], out: &mut [f32]) {
    if source.is_empty() {
        return;
    }
    if transform.matrix == IDENTITY {
        copy(transform, source, shape, out);
    } else {
        bilinear(transform, fill, source, shape, out);
    }
    if transform.brightness != 1.0 {
        out.iter_mut().for_each(|y| *y = (*y * transform.brightness).clamp(0.0, 255.0));
    }
}

fn copy(transform: &Transform, source: &[u8], [h, w, c]: [usize; 3], out: &mut [f32]) {
    for (i, y) in out.chunks_exact_mut(w * c).enumerate() {
        let i = if transform.vertical_flip { h - 1 - i } else { i };
        let x = &source[i * w * c..][..w * c];
        y.iter_mut().zip(x).for_each(|(y, &x)| *y = f32::from(x));
        if transform.horizontal_flip {
            y.reverse();
            y.chunks_exact_mut(c).for_each(<[f32]>::reverse);
        }
    }
}

fn bilinear(transform: &Transform, fill: FillMode, source: &[u8], [h, w, c]: [usize; 3], out: &mut [f32]) {
    let x = torus(source, [h, w, c]);
    let stride = (w + 1) * c;
    let outside = if let FillMode::Constant(value) = fill { value } else { f32::NAN };
    let (first, direction) = if transform.horizontal_flip { (w - 1, -1.0) } else { (0, 1.0) };
    let [p1, q1] = transform.matrix.map(|[_, step, _]| fixed(step * direction));
    for i in 0..h {
        let row = if transform.vertical_flip { h - 1 - i } else { i };
        let [mut p, mut q] = transform.matrix.map(|m| fixed(m[0] * row as f64 + m[1] * first as f64 + m[2]));
        for j in 0..w {
            let y = &mut out[(i * w + j) * c..];
            if let (Some(p), Some(q)) = (fill.inside(p, h), fill.inside(q, w)) {
                let at = (p >> BITS) as usize * stride + (q >> BITS) as usize * c;
                let part = |x: Fixed| x as u32 as f32 / ONE as f32;
                blend([&x[at..], &x[at + stride..]], c, [part(p), part(q)], y);
            } else {
                y[..c].fill(outside);
            }
            (p, q) = (p + p1, q + q1);
        }
    }
}

/// `source` [H, W, C] → [H+1, W+1, C]: each row is followed by its first pixel and the last row by the first, so
/// that every pixel has a right and a lower neighbour; their weight is zero unless the picture wraps around.
/// One entry more lets the last pixel be read as four.
fn torus(source: &[u8], [h, w, c]: [usize; 3]) -> Vec<f32> {
    let mut x = Vec::with_capacity((h + 1) * (w + 1) * c + 1);
    for row in source.chunks_exact(w * c) {
        x.extend(row.iter().map(|&x| f32::from(x)));
        x.extend_from_within(x.len() - w * c..x.len() - w * c + c);
    }
    x.extend_from_within(..(w + 1) * c);
    x.push(0.0);
    x
}

/// One pixel, at the front of `y`; what lies behind it is overwritten by the pixels that follow.
#[inline(always)]
fn blend([above, below]: [&[f32]; 2], c: usize, parts: [f32; 2], y: &mut [f32]) {
    // Red, green, blue and whatever follows, as one vector; the last pixel of `y` has nothing that follows.
    if c == 3
        && let (Some(above), Some(below), Some(y)) =
            (above.first_chunk::<7>(), below.first_chunk::<7>(), y.first_chunk_mut::<4>())
    {
        let neighbours = |x: &[f32; 7]| [[x[0], x[1], x[2], x[3]], [x[3], x[4], x[5], x[6]]];
        *y = mix(neighbours(above), neighbours(below), parts);
    } else {
        blend_channels([above, below], parts, &mut y[..c]);
    }
}

// Not inlined: seen together, the compiler would take the vector above apart to share a channel with this loop.
#[inline(never)]
fn blend_channels([above, below]: [&[f32]; 2], parts: [f32; 2], y: &mut [f32]) {
    let c = y.len();
    for (k, y) in y.iter_mut().enumerate() {
        [*y] = mix([[above[k]], [above[k + c]]], [[below[k]], [below[k + c]]], parts);
    }
}

/// (1−α) · ((1−β) · x₀₀ + β · x₀₁) + α · ((1−β) · x₁₀ + β · x₁₁), for each lane
#[inline(always)]
fn mix<const N: usize>([x00, x01]: [[f32; N]; 2], [x10, x11]: [[f32; N]; 2], [alpha, beta]: [f32; 2]) -> [f32; N] {
    let line = |from: f32, to: f32, part: f32| from + part * (to - from);
    std::array::from_fn(|k| line(line(x00[k], x01[k], beta), line(x10[k], x11[k], beta), alpha))
}

#[cfg(test)]
mod tests {
    use super::super::transform::Geometry;
    use super::*;
    use crate::random::{Key, Random};
    use approx::assert_abs_diff_eq;

    const MODES: [FillMode; 4] = [FillMode::Nearest, FillMode::Constant(7.0), FillMode::Reflect, FillMode::Wrap];

    fn still(matrix: [[f64; 3]; 2]) -> Transform {
        Transform { matrix, horizontal_flip: false, vertical_flip: false, brightness: 1.0 }
    }

    fn sampled(transform: &Transform, fill: FillMode, source: &[u8], shape: [usize; 3]) -> Vec<f32> {
        let mut out = vec![-1.0; source.len()];
        sample(transform, fill, source, shape, &mut out);
        out
    }

    /// The pixel that stands at (i, j) of the picture continued to all sides; none where the constant stands.
    fn continued(fill: FillMode, [i, j]: [i64; 2], [h, w, _]: [usize; 3]) -> Option<[usize; 2]> {
        let axis = |i: i64, n: usize| {
            let n = n as i64;
            match fill {
                FillMode::Nearest => Some(i.clamp(0, n - 1)),
                FillMode::Constant(_) => (0..n).contains(&i).then_some(i),
                FillMode::Reflect if i.div_euclid(n) % 2 == 0 => Some(i.rem_euclid(n)),
                FillMode::Reflect => Some(n - 1 - i.rem_euclid(n)),
                FillMode::Wrap => Some(i.rem_euclid(n)),
            }
        };
        Some([axis(i, h)? as usize, axis(j, w)? as usize])
    }

    #[test]
    fn whole_shifts_are_shifts_of_the_array() {
        let shape = [4, 5, 3];
        let source: Vec<u8> = (0..60).map(|i| (i * 41 % 256) as u8).collect();
        for (fill, down, right) in MODES
            .into_iter()
            .flat_map(|fill| (-9..10).flat_map(move |down| (-11..12).map(move |right| (fill, down, right))))
        {
            let out = sampled(&still([[1.0, 0.0, -down as f64], [0.0, 1.0, -right as f64]]), fill, &source, shape);
            for (index, y) in out.into_iter().enumerate() {
                let (i, j, k) = ((index / 15) as i64, (index / 3 % 5) as i64, index % 3);
                let expected = match continued(fill, [i - down, j - right], shape) {
                    Some([i, j]) => f32::from(source[(i * 5 + j) * 3 + k]),
                    None => 7.0,
                };
                assert_eq!(y, expected, "{fill:?} by {down}, {right} at {i}, {j}, {k}");
            }
        }
    }

    /// The formula at the top, in f64, over the continued picture.
    fn naive(transform: &Transform, fill: FillMode, source: &[u8], shape: [usize; 3]) -> Vec<f32> {
        let [h, w, c] = shape;
        let value = |index: usize| {
            let i = if transform.vertical_flip { h - 1 - index / (w * c) } else { index / (w * c) } as f64;
            let j = if transform.horizontal_flip { w - 1 - index / c % w } else { index / c % w } as f64;
            let [p, q] = transform.matrix.map(|m| m[0] * i + m[1] * j + m[2]);
            let inside = |p: f64, n: usize| (0.0..=n as f64 - 1.0).contains(&p);
            if let FillMode::Constant(value) = fill
                && !(inside(p, h) && inside(q, w))
            {
                return value;
            }
            let mut sum = 0.0;
            for (u, v) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                let weight = |p: f64, u: i64| (1.0 - u as f64 - (p - p.floor())).abs();
                if let Some([i, j]) = continued(fill, [p.floor() as i64 + u, q.floor() as i64 + v], shape) {
                    sum += weight(p, u) * weight(q, v) * f64::from(source[(i * w + j) * c + index % c]);
                }
            }
            sum as f32
        };
        (0..h * w * c).map(value).collect()
    }

    fn drawn(random: &mut Random, [h, w, _]: [usize; 3]) -> Transform {
        let geometry = Geometry {
            rotation: random.uniform(-3.0, 3.0),
            shift: [random.uniform(-0.5, 0.5) * h as f64, random.uniform(-0.5, 0.5) * w as f64],
            shear: random.uniform(-0.6, 0.6),
            zoom: [random.uniform(0.3, 2.0), random.uniform(0.3, 2.0)],
        };
        let (horizontal_flip, vertical_flip) = (random.chance(0.5), random.chance(0.5));
        Transform { matrix: geometry.matrix(h, w), horizontal_flip, vertical_flip, brightness: 1.0 }
    }

    #[test]
    fn any_transform_agrees_with_the_formula() {
        let mut random = Key::new(11).stream();
        for shape in [[12, 17, 3], [64, 64, 3], [9, 9, 1], [6, 7, 4], [1, 1, 3], [1, 8, 3], [7, 1, 2]] {
            let source: Vec<u8> = (0..shape.iter().product()).map(|_| random.below(256) as u8).collect();
            for fill in MODES {
                for _ in 0..20 {
                    let transform = drawn(&mut random, shape);
                    let out = sampled(&transform, fill, &source, shape);
                    // Single precision: a few units in the last place of 255.
                    assert_abs_diff_eq!(out[..], naive(&transform, fill, &source, shape)[..], epsilon = 1e-4);
                }
            }
        }
    }

    // From SciPy 1.17.1:
    //     x = [[(37*i + 53*j + 11*i*j) % 256 for j in range(6)] for i in range(5)]
    //     m = np.array([[1.3, -0.3, -0.65], [0.4, 1.4, -2.3]])
    //     affine_transform(np.array(x, float), m[:, :2], m[:, 2], order=1, mode=mode, cval=7.0)[[0, 4]]
    // with mode "nearest", "constant", "reflect" and "grid-wrap".
    #[test]
    fn scipy_says_the_same() {
        let matrix = [[1.3, -0.3, -0.65], [0.4, 1.4, -2.3]];
        let source: Vec<u8> =
            (0..30).map(|k| [k / 6, k % 6]).map(|[i, j]| (37 * i + 53 * j + 11 * i * j) as u8).collect();
        let expected = [
            [[0.0, 0.0, 26.5, 100.7, 174.9, 69.9], [148.0, 215.9, 92.695, 121.875, 68.855, 33.6]],
            [[7.0, 7.0, 7.0, 7.0, 7.0, 7.0], [7.0, 7.0, 92.695, 121.875, 68.855, 7.0]],
            [[68.9, 0.0, 37.125, 132.545, 171.925, 95.105], [148.0, 215.9, 92.695, 121.875, 68.855, 80.595]],
            [[115.24, 117.92, 185.875, 70.055, 138.275, 93.575], [61.56, 171.2, 92.695, 121.875, 68.855, 138.815]],
        ];
        for (fill, [first, last]) in MODES.into_iter().zip(expected) {
            let out = sampled(&still(matrix), fill, &source, [5, 6, 1]);
            assert_abs_diff_eq!(out[..6], first[..], epsilon = 1e-4);
            assert_abs_diff_eq!(out[24..], last[..], epsilon = 1e-4);
        }
    }
}
