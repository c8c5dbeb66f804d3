//! The kernels on a GPU: a launcher for each kernel of `kernels/*.cu`, under the stems of `kernels/cpu`.
//!
//! The only unsafe code outside `simd`. A launcher checks every length before it launches, so that what calls it is safe.
#![allow(unsafe_code, reason = "what runs on a GPU is out of the compiler's sight; see `call` and `memory`")]

pub(crate) mod activation;
pub(crate) mod augment;
pub(crate) mod batch_norm;
mod call;
mod columns;
pub(crate) mod conv2d;
pub(crate) mod conv2d_gradient;
mod driver;
pub(crate) mod dropout;
#[cfg(test)]
mod emulation;
pub(crate) mod gemm;
mod gpu;
mod graph;
pub(crate) mod head;
pub(crate) mod loss;
mod memory;
mod modules;
mod parameters;
pub(crate) mod pool2d;
pub(crate) mod reduce;
#[cfg(test)]
pub(crate) mod testing;
mod tile;
pub(crate) mod update;
mod windows;

pub(crate) use call::Call;
pub(crate) use gpu::Gpu;
pub(crate) use graph::{Graph, Moment};
pub(crate) use memory::{Buffer, Span};
