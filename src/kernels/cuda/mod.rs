//! The kernels on a GPU: a launcher for each kernel of `kernels/*.cu`, under the stems of `kernels/cpu`.
//!
//! The only unsafe code outside `simd`. A launcher checks every length before it launches, so that what calls it is safe.
#![allow(unsafe_code, reason = "what runs on a GPU is out of the compiler's sight; see `call` and `memory`")]

mod call;
mod driver;
mod gpu;
mod graph;
mod memory;
mod modules;
mod parameters;
#[cfg(test)]
mod testing;

pub(crate) use call::{Call, Parameter};
pub(crate) use gpu::Gpu;
pub(crate) use graph::{Graph, Moment};
pub(crate) use memory::{Buffer, Span};
