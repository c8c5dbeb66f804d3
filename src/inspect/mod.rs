//! Looking at layers and losses from outside: are the gradients right?

mod gradcheck;

pub use gradcheck::{GradCheck, GradReport, check_layer, check_loss};
