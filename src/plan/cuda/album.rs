//! Pictures on a device, from which batches are made there.

use crate::data::Pictures;
use crate::error::Result;
use crate::kernels::cuda::augment::Fill;
use crate::kernels::cuda::{Buffer, Gpu};

/// Pictures that lie on the device, and what holds for all samples that are made of them.
#[derive(Debug)]
pub(super) struct Album {
    pub bytes: Buffer<u8>,
    /// [H, W, C]
    pub shape: [usize; 3],
    pub fill: Fill,
    pub rescale: f32,
}

impl Album {
    pub fn new(gpu: &Gpu, pictures: &Pictures<'_>) -> Result<Self> {
        let Pictures { bytes, shape, rescale, augmentation, .. } = pictures;
        Ok(Self { bytes: Buffer::of(gpu, bytes)?, shape: *shape, fill: augmentation.fill(), rescale: *rescale })
    }
}
