//! Vector registers: one trait, a token for each instruction set, and the choice between them at run time.
//!
//! A kernel is written once, over [`Simd`], and compiled for every instruction set. `Element::dispatch` picks the best
//! one that the machine has, once. The environment variable `TAPETUM_SIMD` with `portable`, `avx2` or `avx512`
//! picks another; what is unknown, or beyond the machine, leaves the best one in place.
//!
//! With AVX2 and AVX-512 a product and its sum are rounded once (FMA). The portable path rounds twice, unless the
//! target always has FMA: without the instruction, `mul_add` is a slow call into the C library. So the last bits
//! differ from path to path; on one path they are the same for any number of threads.
#![allow(unsafe_code)]

pub(crate) mod chosen;
pub(crate) mod largest;
pub(crate) mod matrix;
pub(crate) mod outer;
pub(crate) mod pooled;
mod portable;
pub(crate) mod sparse;
pub(crate) mod tile;
pub(crate) mod turn;
pub(crate) mod winograd;
#[cfg(target_arch = "x86_64")]
mod x86;

use crate::element::Element;
#[cfg(not(target_arch = "x86_64"))]
pub(crate) use portable::dispatch;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86::dispatch;

/// The vector registers of one instruction set, filled with numbers of one type. A value of such a type proves that
/// the machine has the instructions.
///
/// All methods must be `#[inline(always)]`, and so must be what calls them, down from [`Kernel::run`]: only then does
/// the code end up inside the function that `vectorize` compiled for the instruction set. Closures do not.
pub trait Simd: Copy + Send + Sync + 'static {
    /// What the lanes hold.
    type Elem: Element;
    /// One register.
    type Vector: Copy;
    /// Which lanes of a register take part.
    type Mask: Copy;
    /// A number 0..=255 for each lane of a register.
    type Tags: Copy;
    /// As `TAPETUM_SIMD` names it.
    const NAME: &'static str;
    /// Numbers in a register.
    const LANES: usize;
    /// Rows and columns of the square that [`turn`](Self::turn) turns.
    const SQUARE: usize;
    /// How many rows of two registers each a tile can accumulate: as many as leave registers for the factors.
    const ROWS: usize;

    /// Runs `kernel`, compiled for this instruction set.
    fn vectorize<K: Kernel<Self::Elem>>(self, kernel: K) -> K::Output;

    /// The same number in all lanes.
    fn splat(self, x: Self::Elem) -> Self::Vector;

    /// a + b
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// a − b
    fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// a · b + c
    fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;

    /// 0 instead of magnitudes smaller than `Elem::TINY`; NaN stays NaN.
    fn flush(self, x: Self::Vector) -> Self::Vector;

    /// 0 instead of what is smaller than `Elem::TINY`, as all negative numbers are; NaN stays NaN.
    fn rectify(self, x: Self::Vector) -> Self::Vector;

    /// The same tag in all lanes.
    fn tag(self, tag: u8) -> Self::Tags;

    /// In each lane the larger of two numbers, with its tag: b where b > a, or where b is NaN and a is not; else a.
    fn larger(self, a: (Self::Vector, Self::Tags), b: (Self::Vector, Self::Tags)) -> (Self::Vector, Self::Tags);

    /// The tags of the first lanes, `to.len()` of them or all that there are.
    fn store_tags(self, to: &mut [u8], tags: Self::Tags);

    /// The first `lanes` lanes; all of them where there are fewer.
    fn first(self, lanes: usize) -> Self::Mask;

    /// # Safety
    /// `from` must be valid for reads of `LANES` numbers.
    unsafe fn load(self, from: *const Self::Elem) -> Self::Vector;

    /// Zeros in the lanes that `mask` leaves out.
    ///
    /// # Safety
    /// `from` must be valid for reads of as many numbers as `mask` has lanes.
    unsafe fn load_first(self, from: *const Self::Elem, mask: Self::Mask) -> Self::Vector;

    /// Asks for the line of the cache at `address`, which need not be valid.
    fn prefetch(self, address: *const Self::Elem);

    /// Zeros in the lanes whose tag is not `tag`.
    ///
    /// # Safety
    /// `from` must be valid for reads of `LANES` numbers, and `tags` of `LANES` bytes.
    unsafe fn load_tagged(self, from: *const Self::Elem, tags: *const u8, tag: u8) -> Self::Vector;

    /// # Safety
    /// `to` must be valid for writes of `LANES` numbers.
    unsafe fn store(self, to: *mut Self::Elem, x: Self::Vector);

    /// # Safety
    /// `to` must be valid for writes of as many numbers as `mask` has lanes.
    unsafe fn store_first(self, to: *mut Self::Elem, mask: Self::Mask, x: Self::Vector);

    /// Writes the columns of a square as rows, given the distances between rows.
    ///
    /// # Safety
    /// `from` must be valid for reads, and `to` for writes, of `SQUARE` numbers in each of `SQUARE` rows.
    unsafe fn turn(self, from: *const Self::Elem, from_row: usize, to: *mut Self::Elem, to_row: usize);
}

/// Work that is compiled for each instruction set.
pub trait Kernel<E> {
    /// What it gives back.
    type Output;

    /// Does the work. Must be `#[inline(always)]`.
    fn run<S: Simd<Elem = E>>(self, simd: S) -> Self::Output;
}

/// The paths through the kernels, slowest first.
#[cfg(any(test, target_arch = "x86_64"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Path {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

#[cfg(any(test, target_arch = "x86_64"))]
impl Path {
    /// The paths that this machine has.
    #[cfg(not(target_arch = "x86_64"))]
    pub fn available() -> Vec<Self> {
        vec![Self::Portable]
    }

    /// The paths that this machine has.
    #[cfg(target_arch = "x86_64")]
    pub fn available() -> Vec<Self> {
        let mut paths = vec![Self::Portable];
        paths.extend(x86::Avx2::<f32>::new().map(|_| Self::Avx2));
        paths.extend(x86::Avx512::<f32>::new().map(|_| Self::Avx512));
        paths
    }

    /// The path of this process, chosen at its first call.
    #[cfg(target_arch = "x86_64")]
    pub fn current() -> Self {
        static CHOSEN: std::sync::OnceLock<Path> = std::sync::OnceLock::new();
        #[cfg(test)]
        if let Some(path) = forced::PATH.get() {
            return path;
        }
        *CHOSEN.get_or_init(|| {
            let wish = std::env::var("TAPETUM_SIMD").unwrap_or_default().to_lowercase();
            let mut paths = Self::available();
            let best = paths.pop().unwrap_or(Self::Portable);
            paths.into_iter().find(|path| format!("{path:?}").to_lowercase() == wish).unwrap_or(best)
        })
    }
}

#[cfg(test)]
pub(crate) mod forced {
    use super::Path;
    use std::cell::Cell;

    thread_local!(pub static PATH: Cell<Option<Path>> = const { Cell::new(None) });

    /// Runs `work` on `path`. Kernels choose the path on the thread that calls them.
    pub fn with<T>(path: Path, work: impl FnOnce() -> T) -> T {
        let before = PATH.replace(Some(path));
        let result = work();
        PATH.set(before);
        result
    }
}
