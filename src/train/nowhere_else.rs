//! A build without CUDA: everything happens here.

use super::StepReport;
use super::feed::{Drawn, Feed};
use super::trainer::{Done, Trainer};
use crate::data::{Batch, Dataset};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::model::{Predictor, Sequential};

/// Nothing is anywhere else.
#[derive(Debug, Default)]
pub(super) struct There;

impl Trainer {
    fn expect_processor(&self) -> Result<()> {
        match self.device {
            Device::Cuda(_) => Err(Error::device(self.device, "this build has no CUDA: build with the feature cuda")),
            Device::Cpu | Device::Auto => Ok(()),
        }
    }

    pub(super) fn settle(&mut self, _: &dyn Dataset, _: usize, _: &mut Feed<'_>) -> Result<()> {
        self.expect_processor()
    }

    pub(super) fn leave(&mut self) {}

    pub(super) fn fetch(&mut self) -> Result<()> {
        Ok(())
    }

    pub(super) fn batch_there(&mut self, _: &Batch) -> Result<Option<StepReport>> {
        self.expect_processor().map(|()| None)
    }

    pub(super) fn group_there(&mut self, _: &[Drawn]) -> Result<Option<Done>> {
        Ok(None)
    }

    pub(super) fn predictor(&self, model: &Sequential, count: usize) -> Result<Predictor<f32>> {
        self.expect_processor()?;
        Predictor::new(model, count)
    }

    /// The card that this trainer uses, as its driver names it; none where it is the processor.
    ///
    /// # Errors
    /// Where the device that was asked for is not there.
    pub fn card(&self) -> Result<Option<String>> {
        self.expect_processor().map(|()| None)
    }

    #[doc(hidden)]
    pub fn time_on_gpu(&self, _: &Batch, _: std::time::Duration) -> Result<Vec<f64>> {
        self.expect_processor()?;
        Err(Error::device(self.device, "there is no GPU to be timed"))
    }
}
