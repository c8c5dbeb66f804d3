//! What a GPU's kernel has to know of an augmentation: see `kernels/cuda/augment`.

use super::{Augmentation, FillMode};
use crate::kernels::cuda::augment::{Fill, Row};
use crate::random::Key;

impl Augmentation {
    /// Whether one sampling and a factor are all of it: then a GPU can do it.
    pub(crate) fn is_affine(&self) -> bool {
        let nothing = (1.0, 1.0);
        self.saturation == nothing && self.contrast == nothing && self.erasing == 0.0
    }

    /// What `apply` does with this key, where that is affine, to the picture of this number.
    pub(crate) fn row(&self, shape: [usize; 3], key: Key, picture: u32) -> Row {
        let drawn = self.draw(shape, key);
        let flips = u32::from(drawn.horizontal_flip) + 2 * u32::from(drawn.vertical_flip);
        Row { matrix: drawn.matrix, picture, flips, brightness: drawn.brightness, reserved: 0 }
    }

    /// What is seen beyond the edges.
    pub(crate) fn fill(&self) -> Fill {
        match self.fill_mode {
            FillMode::Nearest => Fill::Nearest,
            FillMode::Constant(value) => Fill::Constant(value),
            FillMode::Reflect => Fill::Reflect,
            FillMode::Wrap => Fill::Wrap,
        }
    }
}
