//! Work that was written down once, and is done again and again by one call.

use super::gpu::Gpu;
use crate::error::{Error, Result};
use cudarc::driver::sys::{CUgraphInstantiate_flags, CUstreamCaptureMode_enum};
use cudarc::driver::{CudaEvent, CudaGraph};
use std::fmt;

/// Launches in their order, with their parameters.
pub(crate) struct Graph(CudaGraph);

// SAFETY: the driver wants a graph to be used by one thread at a time, whichever it is; `launch` needs it mutably.
unsafe impl Send for Graph {}
// SAFETY: nothing can be done with a shared graph.
unsafe impl Sync for Graph {}

impl Graph {
    /// Writes down what `work` launches; nothing is done yet. `work` may neither read nor write nor allocate.
    pub fn capture(gpu: &Gpu, work: impl FnOnce() -> Result<()>) -> Result<Self> {
        gpu.told(gpu.stream.begin_capture(CUstreamCaptureMode_enum::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL))?;
        let worked = work();
        // Ended in any case, or the stream would be of no more use.
        let graph = gpu.told(gpu.stream.end_capture(CUgraphInstantiate_flags(0)));
        worked?;
        graph?.map(Self).ok_or_else(|| Error::device(gpu.name(), "the driver made no graph of a step"))
    }

    /// Does it all, after all work before this.
    pub fn launch(&mut self, gpu: &Gpu) -> Result<()> {
        gpu.told(self.0.launch())
    }
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Graph")
    }
}

/// A moment in the device's work.
#[derive(Debug)]
pub(crate) struct Moment(CudaEvent);

impl Moment {
    /// After all work that was asked for so far.
    pub fn now(gpu: &Gpu) -> Result<Self> {
        let flags = cudarc::driver::sys::CUevent_flags_enum::CU_EVENT_DEFAULT;
        gpu.told(gpu.stream.record_event(Some(flags))).map(Self)
    }

    /// Milliseconds between two moments, once both have passed.
    pub fn until(&self, gpu: &Gpu, later: &Self) -> Result<f64> {
        gpu.told(self.0.elapsed_ms(&later.0)).map(f64::from)
    }
}
