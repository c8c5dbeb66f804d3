//! Looking from outside: are the gradients right, and how fast can this machine be?

mod gradcheck;
mod peak;

pub use gradcheck::{GradCheck, GradReport, check_layer, check_loss};
pub use peak::{peak_gflops, simd_path};
