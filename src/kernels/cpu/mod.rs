//! The kernels on the CPU.

pub(crate) mod activation;
mod axis;
pub(crate) mod batch_norm;
pub(crate) mod batch_norm_gradient;
mod chosen_gradient;
pub(crate) mod conv2d;
pub(crate) mod dropout;
pub(crate) mod gemm;
mod matrix;
#[cfg(test)]
pub(crate) mod naive;
mod panels;
mod parallel;
pub(crate) mod peak;
pub(crate) mod pool2d;
pub(crate) mod pooled_gradient;
pub(crate) mod reduce;
mod scratch;
mod slide;
pub(crate) mod tail;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod update;
pub(crate) mod vector;
mod weight_gradient;
mod winograd;
