//! What one picture undergoes: the drawn numbers, and their affine matrix.
//!
//! M = C · R · T · S · Z · C⁻¹ takes a place of the *result* to the place of the *source* that is seen there, both
//! as (row, column, 1):
//!
//! ```text
//! R = ⎛cos θ  −sin θ  0⎞   T = ⎛1  0  t₀⎞   S = ⎛1  −sin φ  0⎞   Z = ⎛z₀  0   0⎞   C = ⎛1  0  (H−1)/2⎞
//!     ⎜sin θ   cos θ  0⎟       ⎜0  1  t₁⎟       ⎜0   cos φ  0⎟       ⎜0   z₁  0⎟       ⎜0  1  (W−1)/2⎟
//!     ⎝0       0      1⎠       ⎝0  0  1 ⎠       ⎝0   0      1⎠       ⎝0   0   1⎠       ⎝0  0  1      ⎠
//! ```
//!
//! These are the matrices and the order of Keras 2's `apply_affine_transform`, with the centre where later versions
//! have it: the Keras of the thesis turned about ((H+1)/2, (W+1)/2), a pixel off. Keras 3 exchanges rows and columns
//! in the finished matrix, and so shears the other axis; not so here.

/// The numbers that one picture needs: all that a sampler, here or on another device, has to know.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Transform {
    /// M without its last row (0, 0, 1).
    pub matrix: [[f64; 3]; 2],
    /// Left and right are exchanged after M.
    pub horizontal_flip: bool,
    /// Top and bottom are exchanged after M.
    pub vertical_flip: bool,
    /// The factor of the values; 1 leaves them, also outside 0 to 255.
    pub brightness: f32,
}

/// The matrix that leaves every place where it is.
pub(super) const IDENTITY: [[f64; 3]; 2] = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]];

/// What M is made of. Pairs are (rows, columns).
#[derive(Debug, Clone, Copy)]
pub(super) struct Geometry {
    /// θ, in radians.
    pub rotation: f64,
    /// t, in pixels.
    pub shift: [f64; 2],
    /// φ, in radians.
    pub shear: f64,
    /// z, the part of the picture that is seen.
    pub zoom: [f64; 2],
}

impl Geometry {
    // With A = R·S·Z, the upper left 2×2 of M, and c the centre, M's last column is c + R·t − A·c.
    pub fn matrix(&self, height: usize, width: usize) -> [[f64; 3]; 2] {
        let (sin, cos) = self.rotation.sin_cos();
        let (shear_sin, shear_cos) = self.shear.sin_cos();
        let rotation = [[cos, -sin], [sin, cos]];
        let centre = [(height as f64 - 1.0) / 2.0, (width as f64 - 1.0) / 2.0];
        [0, 1].map(|axis| {
            let [r0, r1] = rotation[axis];
            let a0 = r0 * self.zoom[0];
            let a1 = (r1 * shear_cos - r0 * shear_sin) * self.zoom[1];
            let shift = r0 * self.shift[0] + r1 * self.shift[1];
            [a0, a1, centre[axis] + shift - (a0 * centre[0] + a1 * centre[1])]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Matrix = [[f64; 3]; 3];

    fn product(a: Matrix, b: Matrix) -> Matrix {
        let entry = |i: usize, j: usize| (0..3).map(|k| a[i][k] * b[k][j]).sum();
        [0, 1, 2].map(|i| [0, 1, 2].map(|j| entry(i, j)))
    }

    #[test]
    fn the_matrix_is_the_product_above() {
        let (theta, phi, t, z) = (0.4f64, -0.3f64, [1.25, -2.5], [0.8, 1.15]);
        let (height, width) = (5, 8);
        let centre = |sign: f64| [[1.0, 0.0, sign * 2.0], [0.0, 1.0, sign * 3.5], [0.0, 0.0, 1.0]];
        let product = [
            [[theta.cos(), -theta.sin(), 0.0], [theta.sin(), theta.cos(), 0.0], [0.0, 0.0, 1.0]],
            [[1.0, 0.0, t[0]], [0.0, 1.0, t[1]], [0.0, 0.0, 1.0]],
            [[1.0, -phi.sin(), 0.0], [0.0, phi.cos(), 0.0], [0.0, 0.0, 1.0]],
            [[z[0], 0.0, 0.0], [0.0, z[1], 0.0], [0.0, 0.0, 1.0]],
            centre(-1.0),
        ]
        .into_iter()
        .fold(centre(1.0), product);
        let matrix = Geometry { rotation: theta, shift: t, shear: phi, zoom: z }.matrix(height, width);
        for (row, expected) in matrix.into_iter().zip(product) {
            approx::assert_abs_diff_eq!(row[..], expected[..], epsilon = 1e-14);
        }
    }

    #[test]
    fn nothing_drawn_is_exactly_the_identity() {
        let still = Geometry { rotation: 0.0, shift: [0.0; 2], shear: 0.0, zoom: [1.0; 2] };
        assert_eq!(still.matrix(64, 63), IDENTITY);
    }
}
