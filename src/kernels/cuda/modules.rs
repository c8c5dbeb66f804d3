//! The kernels' code: PTX that is part of this crate, which the driver compiles for its device.
//!
//! For work on the kernels, `TAPETUM_CUDA_SOURCES=kernels` has their sources compiled by NVRTC instead.

use super::driver::explain;
use cudarc::driver::result::DriverError;
use cudarc::driver::{CudaContext, CudaFunction, CudaModule};
use cudarc::nvrtc::{CompileOptions, Ptx, compile_ptx_with_opts};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

macro_rules! ptx {
    ($stem:literal) => {
        ($stem, include_str!(concat!("../../../kernels/ptx/", $stem, ".ptx")))
    };
}

/// The PTX of each file of `kernels`, for compute capability 7.5 and newer.
const PTX: &[(&str, &str)] = &[
    ptx!("activation"),
    ptx!("augment"),
    ptx!("batch_norm"),
    ptx!("conv2d"),
    ptx!("conv2d_gradient"),
    ptx!("dropout"),
    ptx!("gemm"),
    ptx!("loss"),
    ptx!("pool2d"),
    ptx!("reduce"),
    ptx!("update"),
];

/// Those that have tensor cores in them, for compute capability 8.0 and newer: the same kernels, by the same names.
const TF32: &[(&str, &str)] = &[
    ("conv2d", include_str!("../../../kernels/ptx/conv2d_tf32.ptx")),
    ("conv2d_gradient", include_str!("../../../kernels/ptx/conv2d_gradient_tf32.ptx")),
    ("gemm", include_str!("../../../kernels/ptx/gemm_tf32.ptx")),
];

/// All files' kernels on a device.
#[derive(Debug)]
pub(super) struct Modules(BTreeMap<&'static str, Arc<CudaModule>>);

impl Modules {
    /// Fails with what is wrong.
    pub fn load(context: &Arc<CudaContext>, tf32: bool) -> Result<Self, String> {
        let sources = std::env::var_os("TAPETUM_CUDA_SOURCES");
        let code = PTX.iter().chain(if tf32 { TF32 } else { &[] });
        // Of two with the same stem, the later one counts.
        let code: BTreeMap<_, _> = code.copied().collect();
        let module = |(stem, ptx): (&'static str, &'static str)| {
            let ptx = match &sources {
                Some(folder) => compile(context, folder.as_ref(), stem, tf32)?,
                None => Ptx::from_src(ptx),
            };
            let module = context.load_module(ptx);
            module.map(|module| (stem, module)).map_err(|error| format!("kernels/{stem}: {}", explain(error)))
        };
        code.into_iter().map(module).collect::<Result<_, String>>().map(Self)
    }

    pub fn kernel(&self, stem: &str, kernel: &str) -> Result<CudaFunction, DriverError> {
        self.0[stem].load_function(kernel)
    }
}

/// The PTX that NVRTC makes of a source.
fn compile(context: &CudaContext, folder: &Path, stem: &str, tf32: bool) -> Result<Ptx, String> {
    // SAFETY: this loads the library, whose start-up code is trusted, and calls nothing of it.
    if !unsafe { cudarc::nvrtc::sys::is_culib_present() } {
        return Err("TAPETUM_CUDA_SOURCES is set, but NVRTC (libnvrtc) was not found".into());
    }
    let path = folder.join(format!("{stem}.cu"));
    let told = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let source = std::fs::read_to_string(&path).map_err(|error| told(&error))?;
    let (major, minor) = context.compute_capability().map_err(explain)?;
    let mut options = vec![format!("--gpu-architecture=compute_{major}{minor}"), "--std=c++17".into()];
    options.extend(tf32.then(|| "-DTAPETUM_TF32".into()));
    let include_paths = vec![folder.to_string_lossy().into_owned()];
    let options = CompileOptions { options, include_paths, name: Some(format!("{stem}.cu")), ..Default::default() };
    compile_ptx_with_opts(source, options).map_err(|error| told(&format!("{error:?}")))
}
