//! The kernels on the CPU.

pub(crate) mod conv2d;
pub(crate) mod gemm;
#[cfg(test)]
mod naive;
pub(crate) mod pool2d;
pub(crate) mod reduce;
