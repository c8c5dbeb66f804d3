//! Weights, state, moments and averages, to the device and back.

use super::layout::assign;
use super::training::CudaTraining;
use crate::error::Result;
use crate::kernels::cuda::Buffer;
use crate::layers::{Chain, Layer};
use ndarray::ArrayD;

/// How `Ema` ends the names of its state.
const AVERAGE: &str = "ema";

impl CudaTraining {
    /// Gives the device the network's weights and state.
    pub fn write_network(&self, chain: &Chain<f32>) -> Result<()> {
        let views = chain.parameters();
        self.parameters.write(&self.gpu, &self.theta, views.iter().map(|(_, view)| view.view()))?;
        let views = chain.state();
        self.state.write(&self.gpu, &self.moving, views.iter().map(|(_, view)| view.view()))
    }

    /// Gives the network the device's weights and state. Nothing is changed where the device fails.
    pub fn read_network(&self, chain: &mut Chain<f32>) -> Result<()> {
        let parameters = self.parameters.read(&self.gpu, &self.theta)?;
        let state = self.state.read(&self.gpu, &self.moving)?;
        assign(chain.parameters_mut(), &parameters);
        assign(chain.state_mut(), &state);
        Ok(())
    }

    /// Gives the device an optimizer's moments, each as `parameter.moment`; those that are missing are 0.
    pub fn write_moments(&self, state: &[(String, ArrayD<f32>)]) -> Result<()> {
        self.moments.iter().try_for_each(|(moment, buffer)| self.write_named(state, moment, buffer))
    }

    /// The moments, as an optimizer restores them.
    pub fn read_moments(&self) -> Result<Vec<(String, ArrayD<f32>)>> {
        let read = self.moments.iter().map(|(moment, buffer)| self.read_named(moment, buffer));
        Ok(read.collect::<Result<Vec<_>>>()?.concat())
    }

    /// Gives the device the averaged weights, each as `parameter.ema`.
    pub fn write_average(&self, state: &[(String, ArrayD<f32>)]) -> Result<()> {
        self.average.iter().try_for_each(|buffer| self.write_named(state, AVERAGE, buffer))
    }

    /// The averaged weights, as an average restores them.
    pub fn read_average(&self) -> Result<Vec<(String, ArrayD<f32>)>> {
        self.average.as_ref().map_or(Ok(Vec::new()), |buffer| self.read_named(AVERAGE, buffer))
    }

    fn write_named(&self, state: &[(String, ArrayD<f32>)], suffix: &str, buffer: &Buffer<f32>) -> Result<()> {
        let of = |(name, shape): &(String, Vec<usize>)| {
            let name = format!("{name}.{suffix}");
            let found = state.iter().find(|(known, _)| *known == name);
            found.map_or_else(|| ArrayD::zeros(shape.as_slice()), |(_, tensor)| tensor.clone())
        };
        let tensors: Vec<_> = self.parameters.tensors().iter().map(of).collect();
        self.parameters.write(&self.gpu, buffer, tensors.iter().map(|tensor| tensor.view()))
    }

    fn read_named(&self, suffix: &str, buffer: &Buffer<f32>) -> Result<Vec<(String, ArrayD<f32>)>> {
        let names = self.parameters.tensors().iter().map(|(name, _)| format!("{name}.{suffix}"));
        Ok(names.zip(self.parameters.read(&self.gpu, buffer)?).collect())
    }
}
