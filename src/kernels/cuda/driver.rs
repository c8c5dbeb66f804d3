//! Is there a driver, and has it all that is called? Asked before cudarc calls anything, since it panics where it finds
//! nothing.

use crate::error::{Error, Result};
use cudarc::driver::{result, sys};
use std::panic::catch_unwind;

/// The functions of the driver that are called, in the order of their names. The emulation (kernels/emulator/driver.cpp)
/// has these and no others, so that its tests would notice one that is missing here.
const FUNCTIONS: &[&str] = &[
    "cuCtxGetCurrent",
    "cuCtxSetCurrent",
    "cuDeviceGet",
    "cuDeviceGetAttribute",
    "cuDeviceGetCount",
    "cuDeviceGetName",
    "cuDevicePrimaryCtxRelease_v2",
    "cuDevicePrimaryCtxRetain",
    "cuEventCreate",
    "cuEventDestroy_v2",
    "cuEventElapsedTime",
    "cuEventRecord",
    "cuEventSynchronize",
    "cuGetErrorName",
    "cuGetErrorString",
    "cuGraphDestroy",
    "cuGraphExecDestroy",
    "cuGraphInstantiateWithFlags",
    "cuGraphLaunch",
    "cuInit",
    "cuLaunchKernel",
    "cuMemAllocAsync",
    "cuMemAlloc_v2",
    "cuMemFreeAsync",
    "cuMemFree_v2",
    "cuMemcpyDtoHAsync_v2",
    "cuMemcpyHtoDAsync_v2",
    "cuMemsetD8Async",
    "cuModuleGetFunction",
    "cuModuleLoadData",
    "cuModuleUnload",
    "cuStreamBeginCapture_v2",
    "cuStreamCreate",
    "cuStreamDestroy_v2",
    "cuStreamEndCapture",
    "cuStreamSynchronize",
];

/// How many devices there are.
///
/// # Errors
/// Where there is no driver, one that is too old, or none that works; the text says which.
pub(super) fn device_count(device: &str) -> Result<usize> {
    let refuse = |message: String| Err(Error::device(device, message));
    // SAFETY: this loads the driver's library, whose start-up code is trusted, and calls nothing of it.
    if !unsafe { sys::is_culib_present() } {
        return refuse("there is no NVIDIA driver (libcuda was not found); --device cpu works without one".into());
    }
    // SAFETY: as above; the library was just found.
    let Ok(library) = catch_unwind(|| unsafe { sys::culib() }) else {
        return refuse("the NVIDIA driver's library (libcuda) cannot be loaded".into());
    };
    // SAFETY: the symbol is only looked up, not called.
    let missing = |name: &&&str| unsafe { library.get::<unsafe extern "C" fn()>(name.as_bytes()) }.is_err();
    if let Some(name) = FUNCTIONS.iter().find(missing) {
        return refuse(format!("the NVIDIA driver is too old: it has no {name}; 525 or newer is needed"));
    }
    let count = result::init().and_then(|()| result::device::get_count());
    count.map(|count| count.max(0) as usize).or_else(|error| refuse(explain(error)))
}

/// What the driver says of an error, and what helps.
pub(super) fn explain(error: result::DriverError) -> String {
    use sys::cudaError_enum as Code;
    let text = error.error_string().map(|text| text.to_string_lossy().into_owned());
    let text = text.unwrap_or_else(|_| format!("error {:?}", error.0));
    match error.0 {
        Code::CUDA_ERROR_NO_DEVICE => "the NVIDIA driver is there, but sees no GPU".into(),
        Code::CUDA_ERROR_OUT_OF_MEMORY => format!("{text}: a smaller batch needs less"),
        Code::CUDA_ERROR_UNSUPPORTED_PTX_VERSION => format!("{text}: driver 525 or newer is needed"),
        Code::CUDA_ERROR_NO_BINARY_FOR_GPU => format!("{text}: compute capability 7.5 or newer is needed"),
        _ => text,
    }
}
