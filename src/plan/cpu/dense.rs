//! A matrix product with bias and activation, and the way back.

use super::{Pass, Way, numbers};
use crate::element::Element;
use crate::error::Result;
use crate::kernels::cpu::activation::Activation;
use crate::kernels::cpu::gemm::{Matrix, gemm};
use crate::kernels::cpu::reduce::{add_row, sum_rows};
use crate::kernels::cpu::update::sum_of_squares;
use crate::layers::Dense;

impl<E: Element> Pass<'_, E> {
    // x [N, D] · w [D, F] → y [N, F]
    pub(super) fn dense(&self, [d, f]: [usize; 2], activation: Activation, x: &[E], y: &mut [E]) -> Result<()> {
        let (w, b) = self.typed::<Dense<E>>().numbers()?;
        gemm(Matrix::rows(x, self.batch, d), Matrix::rows(w, d, f), y);
        if let Some(b) = b {
            add_row(y, b);
        }
        activation.apply(y);
        Ok(())
    }

    pub(super) fn dense_backward(&self, [d, f]: [usize; 2], activation: Activation, way: Way<'_, E>) -> Result<()> {
        let (w, _) = self.typed::<Dense<E>>().numbers()?;
        let [dw, db @ ..] = way.parameters else { unreachable!("a dense layer has weights") };
        activation.apply_slope(way.y, way.dy);
        let dy = Matrix::rows(way.dy, self.batch, f);
        *way.waits &= is_bounded(way.x, way.dy);
        if !*way.waits {
            // xᵀ [D, N] · dy [N, F] → dw [D, F]
            gemm(Matrix::rows(way.x, self.batch, d).transposed(), dy, numbers(dw));
        }
        db.iter_mut().for_each(|db| sum_rows(way.dy, numbers(db)));
        if let Some(dx) = way.dx {
            // dy [N, F] · wᵀ [F, D] → dx [N, D]
            gemm(dy, Matrix::rows(w, d, f).transposed(), dx);
        }
        Ok(())
    }
}

/// Whether no sum of a product of x and dy can overflow: |Σₙ x[n,d]·dy[n,f]| ≤ ‖x‖·‖dy‖ (Cauchy and Schwarz). NaN says no.
fn is_bounded<E: Element>(x: &[E], dy: &[E]) -> bool {
    sum_of_squares(x).sqrt() * sum_of_squares(dy).sqrt() < E::max_value().as_f64() / 2.0
}
