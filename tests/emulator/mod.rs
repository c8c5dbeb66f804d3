//! A GPU for the tests: the CPU, through a driver that is built of the kernels' sources (kernels/emulator), or with
//! `TAPETUM_CUDA_TESTS=device` a real one.
#![allow(unsafe_code, reason = "a library is loaded")]

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

static DRIVER: LazyLock<Option<Library>> = LazyLock::new(|| {
    if std::env::var_os("TAPETUM_CUDA_TESTS").is_some_and(|which| which == "device") {
        return None;
    }
    let path = folder().join("libcuda.so");
    // SAFETY: the library's start-up code only fills lists.
    let library = unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_GLOBAL) };
    Some(library.unwrap_or_else(|error| panic!("{}: {error}", path.display())))
});

/// The emulated driver, once it is built and loaded: whoever looks for libcuda.so finds it. None: the machine's own.
pub fn driver() -> Option<&'static Library> {
    DRIVER.as_ref()
}

/// Where the emulated driver is, once it is built.
pub fn folder() -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let folder = root.join("target/emulator");
    let built = Command::new(root.join("kernels/emulator/build")).arg(&folder).status();
    assert!(built.is_ok_and(|status| status.success()), "the emulation of a GPU cannot be built");
    folder
}
