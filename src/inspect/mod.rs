//! Looking from outside: are the gradients right, what does a network see, and how fast can this machine be?

mod feature_maps;
mod filters;
mod grad_cam;
mod gradcheck;
mod grey;
mod peak;
mod pullback;

pub use feature_maps::{FeatureMaps, feature_maps};
pub use filters::filters;
pub use grad_cam::{grad_cam, grad_cam_at, last_picture};
pub use gradcheck::{GradCheck, GradReport, check_layer, check_loss};
pub use grey::grey_picture;
pub use peak::{peak_gflops, simd_path};
