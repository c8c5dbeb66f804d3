//! A kernel and its parameters, launched.

use super::gpu::Gpu;
use crate::error::Result;
use cudarc::driver::{CudaFunction, result};
use std::ffi::c_void;

/// Threads of a block, unless a kernel has a reason for others.
pub(super) const THREADS: usize = 256;

/// A parameter of a kernel.
///
/// # Safety
/// `Passed` has the size and layout of the parameter's type in the kernel: a number, a pointer, or a `repr(C)` struct
/// of such.
pub(crate) unsafe trait Parameter {
    type Passed: Copy + 'static;

    fn passed(self) -> Self::Passed;
}

/// Types that are the same in Rust and in CUDA.
macro_rules! as_it_is {
    ($($type:ty),+) => {$(
        // SAFETY: a number, or a `repr(C)` struct of numbers that a header of `kernels` declares in the same order.
        unsafe impl $crate::kernels::cuda::call::Parameter for $type {
            type Passed = Self;

            fn passed(self) -> Self {
                self
            }
        }
    )+};
}

pub(super) use as_it_is;

as_it_is!(i32, u32, f32, u64);

/// A kernel that is given its parameters one after the other.
pub(crate) struct Call<'a> {
    gpu: &'a Gpu,
    kernel: CudaFunction,
    parameters: Vec<Box<dyn std::any::Any>>,
    pointers: Vec<*mut c_void>,
}

impl<'a> Call<'a> {
    pub(super) fn new(gpu: &'a Gpu, kernel: CudaFunction) -> Self {
        Self { gpu, kernel, parameters: Vec::new(), pointers: Vec::new() }
    }

    /// The next parameter.
    pub fn with(mut self, parameter: impl Parameter) -> Self {
        let mut value = Box::new(parameter.passed());
        self.pointers.push((&raw mut *value).cast());
        self.parameters.push(value);
        self
    }

    /// The next parameter: a count or a size.
    ///
    /// # Panics
    /// Where it does not fit in 31 bits.
    pub fn size(self, size: usize) -> Self {
        self.with(i32::try_from(size).expect("kernels count in 31 bits"))
    }

    /// Launches a thread for each of `count` numbers, in blocks of [`THREADS`]; those that are left over have nothing to
    /// do.
    ///
    /// # Safety
    /// As [`launch`](Self::launch).
    pub unsafe fn for_each(self, count: usize) -> Result<()> {
        assert!(count <= (i32::MAX as usize) - THREADS, "kernels count in 31 bits");
        // SAFETY: handed on to the caller.
        unsafe { self.launch([count.div_ceil(THREADS), 1, 1], THREADS) }
    }

    /// Launches `blocks` of `threads`. A grid without a block is no launch.
    ///
    /// # Safety
    /// The parameters are those of the kernel, and every address that it computes from them lies in their spans.
    pub unsafe fn launch(mut self, blocks: [usize; 3], threads: usize) -> Result<()> {
        if blocks.contains(&0) {
            return Ok(());
        }
        let [x, y, z] = blocks.map(|count| u32::try_from(count).expect("kernels count in 31 bits"));
        let stream = &self.gpu.stream;
        self.gpu.told(stream.context().bind_to_thread())?;
        // SAFETY: the pointers lead to the boxes beside them; the rest is the caller's promise.
        let launched = unsafe {
            let kernel = self.kernel.cu_function();
            result::launch_kernel(kernel, (x, y, z), (threads as u32, 1, 1), 0, stream.cu_stream(), &mut self.pointers)
        };
        self.gpu.told(launched)
    }
}
