//! sums[u, k, f] += Σ_j dy[j, f] · x[2a + u][j·2c + b·c + k]    (a, b) = the tap of window j that won for filter f
//!
//! The weight gradient behind a pooling of 2 × 2, for pictures of few channels. What a window's four patches see of a row
//! of x fits in one register, so each lane can choose the number of its own patch: by `vpermt2ps`, which takes one of
//! thirty-two numbers for each lane. A quarter of the products of a dense gradient, and none of its zeros.
#![allow(clippy::needless_range_loop, reason = "counters that end at a constant: all loops over registers unroll")]

use super::Simd;

/// One row of windows of one image.
#[derive(Clone, Copy)]
pub struct Row<'a, E> {
    /// The picture from the patch of the first window's first tap on, and the numbers of one of its rows.
    pub x: &'a [E],
    pub x_row: usize,
    /// c: channels of x, 1 or 3.
    pub channels: usize,
    /// [windows, F]
    pub dy: &'a [E],
    pub argmax: &'a [u8],
    /// F, whole registers.
    pub filters: usize,
}

/// Rows and columns of taps of the convolution.
pub const TAPS: usize = 3;

/// Whether this instruction set can choose, and the numbers fill its registers.
pub fn is_able<S: Simd>(channels: usize, filters: usize) -> bool {
    x86::is_able::<S>() && [1, 3].contains(&channels) && filters.is_multiple_of(S::LANES)
}

impl<E> Row<'_, E> {
    /// Adds into `sums` [3, 3·c, F].
    ///
    /// # Panics
    /// Where this path is not able, or a slice is too short.
    pub fn add<S: Simd<Elem = E>>(&self, simd: S, sums: &mut [E]) {
        let (windows, run) = (self.dy.len() / self.filters.max(1), (TAPS + 1) * self.channels);
        assert!(is_able::<S>(self.channels, self.filters) && self.argmax.len() == self.dy.len());
        assert!(self.dy.len() == windows * self.filters && sums.len() == TAPS * TAPS * self.channels * self.filters);
        if windows > 0 {
            // Of the last row of x, what the last window sees.
            let last = TAPS.saturating_mul(self.x_row).saturating_add((windows - 1) * 2 * self.channels);
            assert!(last.saturating_add(run) <= self.x.len());
            x86::add(simd, self, sums);
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod x86 {
    use super::{Row, Simd};

    pub fn is_able<S: Simd>() -> bool {
        false
    }

    pub fn add<S: Simd>(_: S, _: &Row<'_, S::Elem>, _: &mut [S::Elem]) {
        unreachable!("no path is able")
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::super::x86::Avx512;
    use super::{Row, Simd, TAPS};
    use crate::simd::largest::NO_TAP;
    use std::any::TypeId;
    use std::arch::x86_64::*;

    const LANES: usize = 16;

    pub fn is_able<S: Simd>() -> bool {
        TypeId::of::<S>() == TypeId::of::<Avx512<f32>>()
    }

    /// Only `Row::add` calls it, and it checked all lengths.
    pub fn add<S: Simd>(_: S, row: &Row<'_, S::Elem>, sums: &mut [S::Elem]) {
        assert!(is_able::<S>());
        let channels = row.channels;
        // SAFETY: `S` is `Avx512<f32>`, so the numbers are f32, and the value of it proves that the machine has the
        // instructions. `Row::add` checked that all that is read and written lies in the slices.
        unsafe {
            let row = &*std::ptr::from_ref(row).cast::<Row<'_, f32>>();
            let sums = sums.as_mut_ptr().cast::<f32>();
            // Two rows of taps, and then the third: the sums of three would not fit in the registers.
            match channels {
                1 => (taps::<2, 3>(row, 0, sums), taps::<1, 3>(row, 2, sums)),
                _ => (taps::<2, 9>(row, 0, sums), taps::<1, 9>(row, 2, sums)),
            };
        }
    }

    /// Adds the products of U rows of taps from `first` on, each of K = 3·c numbers.
    ///
    /// # Safety
    /// All that [`Row::add`] checks must hold.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    unsafe fn taps<const U: usize, const K: usize>(row: &Row<'_, f32>, first: usize, sums: *mut f32) {
        let Row { x_row, channels, filters, .. } = *row;
        // Tap 2a + b begins b pixels to the right in the first (a = 0) or the second of two registers.
        let c = channels as i32;
        let begins = _mm512_setr_epi32(0, c, 16, 16 + c, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
        let seen = ((1u32 << ((TAPS + 1) * channels)) - 1) as __mmask16;
        for f in (0..filters).step_by(LANES) {
            let mut products = [[_mm512_setzero_ps(); K]; U];
            let mut x = row.x.as_ptr().wrapping_add(first * x_row);
            for at in (f..row.dy.len()).step_by(filters) {
                let mut rows = [_mm512_setzero_ps(); 3];
                for r in 0..=U {
                    // SAFETY: the caller vouches for what a window sees of each row.
                    rows[r] = unsafe { _mm512_maskz_loadu_ps(seen, x.wrapping_add(r * x_row)) };
                }
                // SAFETY: both slices hold a register's numbers from `at` on: F is whole registers.
                let (tags, dy) = unsafe {
                    let tags = _mm_loadu_si128(row.argmax.as_ptr().add(at).cast());
                    let won = _mm_cmpneq_epi8_mask(tags, _mm_set1_epi8(NO_TAP as i8));
                    (tags, _mm512_maskz_loadu_ps(won, row.dy.as_ptr().add(at)))
                };
                let begin = _mm512_permutexvar_epi32(_mm512_cvtepu8_epi32(tags), begins);
                for k in 0..K {
                    let place = _mm512_add_epi32(begin, _mm512_set1_epi32(k as i32));
                    for u in 0..U {
                        let chosen = _mm512_permutex2var_ps(rows[u], place, rows[u + 1]);
                        products[u][k] = _mm512_fmadd_ps(dy, chosen, products[u][k]);
                    }
                }
                x = x.wrapping_add(2 * channels);
            }
            for u in 0..U {
                for k in 0..K {
                    // SAFETY: the sums are 3 · 3·c rows of F numbers, and K is 3·c.
                    unsafe {
                        let to = sums.add(((first + u) * K + k) * filters + f);
                        _mm512_storeu_ps(to, _mm512_add_ps(_mm512_loadu_ps(to), products[u][k]));
                    }
                }
            }
        }
    }
}
