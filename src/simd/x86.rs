//! AVX2 with FMA, and AVX-512, for `f32` and `f64`.

use super::portable::Portable;
use super::{Kernel, Path, Simd};
use crate::element::Element;
use std::arch::x86_64::*;
use std::marker::PhantomData;

/// Proof that this machine has AVX-512.
#[derive(Clone, Copy)]
pub struct Avx512<E>(PhantomData<E>);

impl<E> Avx512<E> {
    /// The proof, where it can be had.
    pub fn new() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        has.then_some(Self(PhantomData))
    }
}

/// Proof that this machine has AVX2 and FMA.
#[derive(Clone, Copy)]
pub struct Avx2<E>(PhantomData<E>);

impl<E> Avx2<E> {
    /// The proof, where it can be had.
    pub fn new() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Self(PhantomData))
    }
}

/// Runs `kernel` on the path of this process.
pub(crate) fn dispatch<E, const L: usize, K: Kernel<E>>(kernel: K) -> K::Output
where
    Avx512<E>: Simd<Elem = E>,
    Avx2<E>: Simd<Elem = E>,
    Portable<E, L>: Simd<Elem = E>,
{
    let path = Path::current();
    if let Some(simd) = Avx512::<E>::new().filter(|_| path == Path::Avx512) {
        return simd.vectorize(kernel);
    }
    if let Some(simd) = Avx2::<E>::new().filter(|_| path == Path::Avx2) {
        return simd.vectorize(kernel);
    }
    Portable::<E, L>::new().vectorize(kernel)
}

/// The methods that differ in the names of their instructions only.
macro_rules! methods {
    ($elem:ty, $vector:ty, $features:literal, $set1:ident, $add:ident, $sub:ident, $fmadd:ident, $load:ident, $store:ident, $turn:ident) => {
        type Elem = $elem;
        type Vector = $vector;
        const LANES: usize = size_of::<$vector>() / size_of::<$elem>();
        const SQUARE: usize = size_of::<__m256>() / size_of::<$elem>();

        #[inline(always)]
        fn vectorize<K: Kernel<$elem>>(self, kernel: K) -> K::Output {
            #[target_feature(enable = $features)]
            fn compiled<S: Simd<Elem = $elem>, K: Kernel<$elem>>(simd: S, kernel: K) -> K::Output {
                kernel.run(simd)
            }
            // SAFETY: `self` proves that the machine has the features.
            unsafe { compiled(self, kernel) }
        }

        #[inline(always)]
        fn splat(self, x: $elem) -> $vector {
            // SAFETY: `self` proves that the machine has the instruction.
            unsafe { $set1(x) }
        }

        #[inline(always)]
        fn add(self, a: $vector, b: $vector) -> $vector {
            // SAFETY: `self` proves that the machine has the instruction.
            unsafe { $add(a, b) }
        }

        #[inline(always)]
        fn sub(self, a: $vector, b: $vector) -> $vector {
            // SAFETY: `self` proves that the machine has the instruction.
            unsafe { $sub(a, b) }
        }

        #[inline(always)]
        fn mul_add(self, a: $vector, b: $vector, c: $vector) -> $vector {
            // SAFETY: `self` proves that the machine has the instruction.
            unsafe { $fmadd(a, b, c) }
        }

        #[inline(always)]
        unsafe fn load(self, from: *const $elem) -> $vector {
            // SAFETY: `self` proves that the machine has the instruction; the caller vouches for the memory.
            unsafe { $load(from) }
        }

        #[inline(always)]
        fn prefetch(self, address: *const $elem) {
            // SAFETY: a hint, which no address can make fail.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut $elem, x: $vector) {
            // SAFETY: `self` proves that the machine has the instruction; the caller vouches for the memory.
            unsafe { $store(to, x) }
        }

        #[inline(always)]
        unsafe fn turn(self, from: *const $elem, from_row: usize, to: *mut $elem, to_row: usize) {
            // SAFETY: `self` proves that the machine has the instructions; the caller vouches for the memory.
            unsafe { $turn(from, from_row, to, to_row) }
        }
    };
}

/// The two highest bits of an exponent: both are 0 in all numbers smaller than `TINY`, and only there.
macro_rules! not_tiny {
    ($elem:ty) => {
        3 << (<$elem>::to_bits(<$elem>::INFINITY).ilog2() - 1)
    };
}

/// Turns a square of 8 × 8 numbers: both halves of a register hold a square of 4 × 4.
///
/// # Safety
/// `from` must be valid for reads, and `to` for writes, of 8 numbers in each of 8 rows.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn turn_8(from: *const f32, from_row: usize, to: *mut f32, to_row: usize) {
    for j in [0, 4] {
        // SAFETY: handed on to the caller.
        let [a, b, c, d] = [0, 1, 2, 3]
            .map(|i| unsafe { _mm256_loadu2_m128(from.add((i + 4) * from_row + j), from.add(i * from_row + j)) });
        let [low, low2] = [_mm256_unpacklo_ps(a, b), _mm256_unpacklo_ps(c, d)];
        let [high, high2] = [_mm256_unpackhi_ps(a, b), _mm256_unpackhi_ps(c, d)];
        let turned = [
            _mm256_shuffle_ps::<0x44>(low, low2),
            _mm256_shuffle_ps::<0xEE>(low, low2),
            _mm256_shuffle_ps::<0x44>(high, high2),
            _mm256_shuffle_ps::<0xEE>(high, high2),
        ];
        for (i, row) in turned.into_iter().enumerate() {
            // SAFETY: handed on to the caller.
            unsafe { _mm256_storeu_ps(to.add((j + i) * to_row), row) };
        }
    }
}

/// Turns a square of 4 × 4 numbers: both halves of a register hold a square of 2 × 2.
///
/// # Safety
/// `from` must be valid for reads, and `to` for writes, of 4 numbers in each of 4 rows.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn turn_4(from: *const f64, from_row: usize, to: *mut f64, to_row: usize) {
    for j in [0, 2] {
        // SAFETY: handed on to the caller.
        let [a, b] = [0, 1]
            .map(|i| unsafe { _mm256_loadu2_m128d(from.add((i + 2) * from_row + j), from.add(i * from_row + j)) });
        let turned = [_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b)];
        for (i, row) in turned.into_iter().enumerate() {
            // SAFETY: handed on to the caller.
            unsafe { _mm256_storeu_pd(to.add((j + i) * to_row), row) };
        }
    }
}

macro_rules! avx512 {
    ($elem:ty, $vector:ty, $mask:ty, $maskz_load:ident, $mask_store:ident, $to_bits:ident, $test_bits:ident,
     $set1_bits:ident, $maskz_move:ident, $compare:ident, $mask_compare:ident, $blend:ident, $tagged:ident,
     $($method:ident),*) => {
        impl Simd for Avx512<$elem> {
            methods!($elem, $vector, "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma", $($method),*);
            type Mask = $mask;
            /// One byte for each lane.
            type Tags = __m128i;
            const NAME: &'static str = "avx512";
            const ROWS: usize = 14;

            #[inline(always)]
            fn flush(self, x: $vector) -> $vector {
                // SAFETY: `self` proves that the machine has the instructions.
                unsafe { $maskz_move($test_bits($to_bits(x), $set1_bits(not_tiny!($elem))), x) }
            }

            #[inline(always)]
            fn rectify(self, x: $vector) -> $vector {
                // SAFETY: `self` proves that the machine has the instructions.
                unsafe { $maskz_move($compare::<_CMP_NLT_UQ>(x, self.splat(<$elem>::TINY)), x) }
            }

            #[inline(always)]
            fn tag(self, tag: u8) -> __m128i {
                // SAFETY: `self` proves that the machine has the instruction.
                unsafe { _mm_set1_epi8(tag as i8) }
            }

            #[inline(always)]
            fn larger(self, a: ($vector, __m128i), b: ($vector, __m128i)) -> ($vector, __m128i) {
                // SAFETY: `self` proves that the machine has the instructions.
                unsafe {
                    let wins = $mask_compare::<_CMP_NLE_UQ>($compare::<_CMP_ORD_Q>(a.0, a.0), b.0, a.0);
                    ($blend(wins, a.0, b.0), _mm_mask_blend_epi8(wins.into(), a.1, b.1))
                }
            }

            #[inline(always)]
            fn store_tags(self, to: &mut [u8], tags: __m128i) {
                // SAFETY: `self` proves that the machine has the instruction; no more bytes are written than there are.
                unsafe { _mm_mask_storeu_epi8(to.as_mut_ptr().cast(), self.first(to.len()).into(), tags) }
            }

            #[inline(always)]
            fn first(self, lanes: usize) -> $mask {
                ((1u32 << lanes.min(Self::LANES)) - 1) as $mask
            }

            #[inline(always)]
            unsafe fn load_first(self, from: *const $elem, mask: $mask) -> $vector {
                // SAFETY: `self` proves that the machine has the instruction; the caller vouches for the memory.
                unsafe { $maskz_load(mask, from) }
            }

            #[inline(always)]
            unsafe fn load_tagged(self, from: *const $elem, tags: *const u8, tag: u8) -> $vector {
                // SAFETY: `self` proves that the machine has the instructions; the caller vouches for the memory.
                unsafe {
                    let tagged = $tagged(tags, tag);
                    $maskz_load(tagged, from)
                }
            }

            #[inline(always)]
            unsafe fn store_first(self, to: *mut $elem, mask: $mask, x: $vector) {
                // SAFETY: `self` proves that the machine has the instruction; the caller vouches for the memory.
                unsafe { $mask_store(to, mask, x) }
            }
        }
    };
}

/// The lanes, of sixteen, with this tag.
///
/// # Safety
/// `tags` must be valid for reads of sixteen bytes.
#[target_feature(enable = "avx512bw,avx512vl")]
#[inline]
unsafe fn tagged_of_16(tags: *const u8, tag: u8) -> __mmask16 {
    // SAFETY: handed on to the caller.
    _mm_cmpeq_epi8_mask(unsafe { _mm_loadu_si128(tags.cast()) }, _mm_set1_epi8(tag as i8))
}

/// The lanes, of eight, with this tag.
///
/// # Safety
/// `tags` must be valid for reads of eight bytes.
#[target_feature(enable = "avx512bw,avx512vl")]
#[inline]
unsafe fn tagged_of_8(tags: *const u8, tag: u8) -> __mmask8 {
    // SAFETY: handed on to the caller.
    _mm_cmpeq_epi8_mask(unsafe { _mm_loadl_epi64(tags.cast()) }, _mm_set1_epi8(tag as i8)) as __mmask8
}

avx512!(
    f32,
    __m512,
    __mmask16,
    _mm512_maskz_loadu_ps,
    _mm512_mask_storeu_ps,
    _mm512_castps_si512,
    _mm512_test_epi32_mask,
    _mm512_set1_epi32,
    _mm512_maskz_mov_ps,
    _mm512_cmp_ps_mask,
    _mm512_mask_cmp_ps_mask,
    _mm512_mask_blend_ps,
    tagged_of_16,
    _mm512_set1_ps,
    _mm512_add_ps,
    _mm512_sub_ps,
    _mm512_fmadd_ps,
    _mm512_loadu_ps,
    _mm512_storeu_ps,
    turn_8
);
avx512!(
    f64,
    __m512d,
    __mmask8,
    _mm512_maskz_loadu_pd,
    _mm512_mask_storeu_pd,
    _mm512_castpd_si512,
    _mm512_test_epi64_mask,
    _mm512_set1_epi64,
    _mm512_maskz_mov_pd,
    _mm512_cmp_pd_mask,
    _mm512_mask_cmp_pd_mask,
    _mm512_mask_blend_pd,
    tagged_of_8,
    _mm512_set1_pd,
    _mm512_add_pd,
    _mm512_sub_pd,
    _mm512_fmadd_pd,
    _mm512_loadu_pd,
    _mm512_storeu_pd,
    turn_4
);

macro_rules! avx2 {
    ($elem:ty, $vector:ty, $mask_of:expr, $maskload:ident, $maskstore:ident, $to_bits:ident, $of_bits:ident,
     $set1_bits:ident, $equal_bits:ident, $compare:ident, $and:ident, $blend:ident, $to_words:expr,
     $tagged:ident, $($method:ident),*) => {
        impl Simd for Avx2<$elem> {
            methods!($elem, $vector, "avx2,fma", $($method),*);
            type Mask = __m256i;
            type Tags = $vector;
            const NAME: &'static str = "avx2";
            const ROWS: usize = 6;

            #[inline(always)]
            fn flush(self, x: $vector) -> $vector {
                // SAFETY: `self` proves that the machine has the instructions.
                unsafe {
                    let high = _mm256_and_si256($to_bits(x), $set1_bits(not_tiny!($elem)));
                    let tiny = $equal_bits(high, _mm256_setzero_si256());
                    $of_bits(_mm256_andnot_si256(tiny, $to_bits(x)))
                }
            }

            #[inline(always)]
            fn rectify(self, x: $vector) -> $vector {
                // SAFETY: `self` proves that the machine has the instructions.
                unsafe { $and($compare::<_CMP_NLT_UQ>(x, self.splat(<$elem>::TINY)), x) }
            }

            #[inline(always)]
            fn tag(self, tag: u8) -> $vector {
                self.splat(tag.into())
            }

            #[inline(always)]
            fn larger(self, a: ($vector, $vector), b: ($vector, $vector)) -> ($vector, $vector) {
                // SAFETY: `self` proves that the machine has the instructions.
                unsafe {
                    let wins = $and($compare::<_CMP_NLE_UQ>(b.0, a.0), $compare::<_CMP_ORD_Q>(a.0, a.0));
                    ($blend(a.0, b.0, wins), $blend(a.1, b.1, wins))
                }
            }

            #[inline(always)]
            fn store_tags(self, to: &mut [u8], tags: $vector) {
                // SAFETY: `self` proves that the machine has the instructions.
                let bytes = unsafe {
                    let words: __m128i = $to_words(tags);
                    _mm_cvtsi128_si64(_mm_packus_epi16(words, words)).to_le_bytes()
                };
                let lanes = to.len().min(Self::LANES);
                to[..lanes].copy_from_slice(&bytes[..lanes]);
            }

            #[inline(always)]
            fn first(self, lanes: usize) -> __m256i {
                // SAFETY: `self` proves that the machine has the instructions.
                unsafe { $mask_of(lanes.min(Self::LANES)) }
            }

            #[inline(always)]
            unsafe fn load_first(self, from: *const $elem, mask: __m256i) -> $vector {
                // SAFETY: `self` proves that the machine has the instruction; the caller vouches for the memory.
                unsafe { $maskload(from, mask) }
            }

            #[inline(always)]
            unsafe fn load_tagged(self, from: *const $elem, tags: *const u8, tag: u8) -> $vector {
                // SAFETY: `self` proves that the machine has the instructions; the caller vouches for the memory.
                unsafe {
                    let tagged = $tagged(tags, tag);
                    $maskload(from, tagged)
                }
            }

            #[inline(always)]
            unsafe fn store_first(self, to: *mut $elem, mask: __m256i, x: $vector) {
                // SAFETY: `self` proves that the machine has the instruction; the caller vouches for the memory.
                unsafe { $maskstore(to, mask, x) }
            }
        }
    };
}

/// All bits in the first `lanes` of eight lanes.
#[target_feature(enable = "avx2")]
#[inline]
fn first_of_8(lanes: usize) -> __m256i {
    _mm256_cmpgt_epi32(_mm256_set1_epi32(lanes as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
}

/// All bits in the first `lanes` of four lanes.
#[target_feature(enable = "avx2")]
#[inline]
fn first_of_4(lanes: usize) -> __m256i {
    _mm256_cmpgt_epi64(_mm256_set1_epi64x(lanes as i64), _mm256_setr_epi64x(0, 1, 2, 3))
}

/// Eight small whole numbers as 16-bit integers.
#[target_feature(enable = "avx2")]
#[inline]
fn words_of_8(x: __m256) -> __m128i {
    let x = _mm256_cvtps_epi32(x);
    _mm_packs_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256::<1>(x))
}

/// Four small whole numbers as 16-bit integers.
#[target_feature(enable = "avx2")]
#[inline]
fn words_of_4(x: __m256d) -> __m128i {
    let x = _mm256_cvtpd_epi32(x);
    _mm_packs_epi32(x, x)
}

/// All bits in the lanes, of eight, with this tag.
///
/// # Safety
/// `tags` must be valid for reads of eight bytes.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn wide_tagged_of_8(tags: *const u8, tag: u8) -> __m256i {
    // SAFETY: handed on to the caller.
    let tags = unsafe { _mm_loadl_epi64(tags.cast()) };
    _mm256_cvtepi8_epi32(_mm_cmpeq_epi8(tags, _mm_set1_epi8(tag as i8)))
}

/// All bits in the lanes, of four, with this tag.
///
/// # Safety
/// `tags` must be valid for reads of four bytes.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn wide_tagged_of_4(tags: *const u8, tag: u8) -> __m256i {
    // SAFETY: handed on to the caller.
    let tags = _mm_cvtsi32_si128(unsafe { tags.cast::<i32>().read_unaligned() });
    _mm256_cvtepi8_epi64(_mm_cmpeq_epi8(tags, _mm_set1_epi8(tag as i8)))
}

avx2!(
    f32,
    __m256,
    first_of_8,
    _mm256_maskload_ps,
    _mm256_maskstore_ps,
    _mm256_castps_si256,
    _mm256_castsi256_ps,
    _mm256_set1_epi32,
    _mm256_cmpeq_epi32,
    _mm256_cmp_ps,
    _mm256_and_ps,
    _mm256_blendv_ps,
    words_of_8,
    wide_tagged_of_8,
    _mm256_set1_ps,
    _mm256_add_ps,
    _mm256_sub_ps,
    _mm256_fmadd_ps,
    _mm256_loadu_ps,
    _mm256_storeu_ps,
    turn_8
);
avx2!(
    f64,
    __m256d,
    first_of_4,
    _mm256_maskload_pd,
    _mm256_maskstore_pd,
    _mm256_castpd_si256,
    _mm256_castsi256_pd,
    _mm256_set1_epi64x,
    _mm256_cmpeq_epi64,
    _mm256_cmp_pd,
    _mm256_and_pd,
    _mm256_blendv_pd,
    words_of_4,
    wide_tagged_of_4,
    _mm256_set1_pd,
    _mm256_add_pd,
    _mm256_sub_pd,
    _mm256_fmadd_pd,
    _mm256_loadu_pd,
    _mm256_storeu_pd,
    turn_4
);
