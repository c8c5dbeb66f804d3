//! One GPU: its context, one stream, and the kernels on it.

use super::call::Call;
use super::driver::{device_count, explain};
use super::modules::Modules;
use crate::error::{Error, Result};
use cudarc::driver::result::DriverError;
use cudarc::driver::{CudaContext, CudaStream};
use std::sync::Arc;

/// A device that is open. All its work is done in the order in which it is asked for.
#[derive(Debug)]
pub(crate) struct Gpu {
    name: String,
    pub(super) stream: Arc<CudaStream>,
    modules: Modules,
}

impl Gpu {
    /// Opens device `ordinal`; with `tf32`, matrix products and convolutions run on its tensor cores.
    ///
    /// # Errors
    /// Where there is no driver, no such device, or one that cannot run the kernels; the text says which.
    pub fn open(ordinal: usize, tf32: bool) -> Result<Arc<Self>> {
        let name = format!("cuda:{ordinal}");
        let count = device_count(&name)?;
        if ordinal >= count {
            let devices = if count == 1 { "one device".into() } else { format!("{count} devices") };
            return Err(Error::device(name, format!("there is no such device: the driver sees {devices}")));
        }
        let named = |error| Error::device(&name, explain(error));
        let context = CudaContext::new(ordinal).map_err(named)?;
        let compute = context.compute_capability().map_err(named)?;
        let least = if tf32 { (8, 0) } else { (7, 5) };
        if compute < least {
            let [found, least] = [compute, least].map(|(major, minor)| format!("{major}.{minor}"));
            let what = if tf32 { "tensor cores for TF32 come" } else { "kernels run" };
            return Err(Error::device(name, format!("{what} with compute capability {least}, this one has {found}")));
        }
        // SAFETY: there is one stream, so no work waits for that of another.
        unsafe { context.disable_event_tracking() };
        // The default stream cannot be captured.
        let stream = context.new_stream().map_err(named)?;
        let modules = Modules::load(&context, tf32).map_err(|message| Error::device(&name, message))?;
        Ok(Arc::new(Self { name, stream, modules }))
    }

    /// The name that errors tell, as in `cuda:0`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The card's name, as its driver tells it.
    pub fn card(&self) -> Result<String> {
        self.told(self.stream.context().name())
    }

    /// A kernel of `kernels/{stem}.cu`, to be given its parameters.
    pub fn call(&self, stem: &'static str, kernel: &'static str) -> Result<Call<'_>> {
        Ok(Call::new(self, self.told(self.modules.kernel(stem, kernel))?))
    }

    /// Waits until everything that was asked for is done.
    pub fn finish(&self) -> Result<()> {
        self.told(self.stream.synchronize())
    }

    /// An error of the driver with this device's name.
    pub(super) fn told<T>(&self, result: Result<T, DriverError>) -> Result<T> {
        result.map_err(|error| Error::device(&self.name, explain(error)))
    }
}
