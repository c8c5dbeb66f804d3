//! What happens where there is no driver, half a driver, or a driver that refuses: an error that says which, never a
//! panic, and with `Device::Auto` the CPU.
//!
//! Each case is a process of its own, which finds a `libcuda.so` that was compiled for it.
#![cfg(all(feature = "cuda", target_os = "linux"))]

#[allow(dead_code, reason = "the processes that are started load the driver themselves")]
mod emulator;

use ndarray::array;
use std::path::Path;
use std::process::Command;
use tapetum::prelude::*;

/// The names that the library looks up.
fn functions() -> impl Iterator<Item = &'static str> {
    let source = include_str!("../src/kernels/cuda/driver.rs");
    source
        .split('"')
        .filter(|text| text.starts_with("cu") && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
}

/// A driver in C: every function does nothing and succeeds, but for those that are told otherwise.
struct Driver {
    missing: Option<&'static str>,
    bodies: Vec<(&'static str, &'static str)>,
}

/// One device of compute capability 9.0.
fn driver() -> Driver {
    let bodies = vec![
        ("cuDeviceGetCount", "int *count) { *count = 1; return 0;"),
        ("cuDeviceGet", "int *device, int ordinal) { *device = ordinal; return 0;"),
        ("cuDevicePrimaryCtxRetain", "void **context, int device) { *context = context; return 0;"),
        ("cuStreamCreate", "void **stream, unsigned flags) { *stream = stream; return 0;"),
        ("cuDeviceGetAttribute", "int *value, int which) { *value = which == 75 ? 9 : 0; return 0;"),
        ("cuGetErrorString", "int code, const char **text) { *text = \"as the driver tells it\"; return 0;"),
    ];
    Driver { missing: None, bodies }
}

impl Driver {
    fn without(self, name: &'static str) -> Self {
        assert!(functions().any(|function| function == name));
        Self { missing: Some(name), ..self }
    }

    fn with(mut self, name: &'static str, body: &'static str) -> Self {
        assert!(functions().any(|function| function == name));
        self.bodies.retain(|(other, _)| *other != name);
        self.bodies.push((name, body));
        self
    }

    fn compile(&self, folder: &Path) {
        let body =
            |name| self.bodies.iter().find(|(other, _)| *other == name).map_or("void) { return 0;", |(_, body)| body);
        let there = functions().filter(|name| Some(*name) != self.missing);
        let source: String = there.map(|name| format!("int {name}({} }}\n", body(name))).collect();
        let path = folder.join("driver.c");
        std::fs::write(&path, source).unwrap();
        let mut command = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()));
        command.args(["-shared", "-fPIC", "-o"]).arg(folder.join("libcuda.so")).arg(path);
        assert!(command.status().expect("a C compiler").success());
    }
}

/// Set in the processes that the tests start; for some it says what to do.
const CHILD: &str = "TAPETUM_FAULT";

/// What this test says in a process that finds its driver in `folder`.
fn again(test: &str, folder: &Path, variables: &[(&str, &str)]) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(CHILD, "").env("LD_LIBRARY_PATH", folder);
    let done = command.envs(variables.iter().copied()).output().unwrap();
    let said = [done.stdout, done.stderr].map(|said| String::from_utf8(said).unwrap()).concat();
    assert!(done.status.success() && !said.contains("panicked") && said.contains("1 passed"), "{said}");
    said
}

/// Runs `body` in a process that finds this driver, or none.
fn with_driver(test: &str, driver: Option<Driver>, body: impl Fn()) {
    if std::env::var_os(CHILD).is_some() {
        return body();
    }
    let folder = tempfile::tempdir().unwrap();
    match driver {
        Some(driver) => driver.compile(folder.path()),
        // Files that are no libraries stand before a driver that this machine may have.
        None => {
            ["libcuda.so", "libcuda.so.1"].iter().for_each(|name| std::fs::write(folder.path().join(name), "").unwrap())
        }
    }
    again(test, folder.path(), &[]);
}

fn trainer(device: Device) -> Trainer {
    let model = Sequential::builder([2]).add(Dense::new(3)).add(ReLU).add(Dense::new(1)).add(Sigmoid).build(1).unwrap();
    Trainer::new(model, BinaryCrossEntropy::default(), Adam::new(0.1)).device(device)
}

fn data() -> ArraySet {
    ArraySet::new(array![[0.5, -1.0], [1.0, 2.0], [-0.5, 0.1], [0.3, 0.7]].into_dyn(), vec![0, 1, 1, 0]).unwrap()
}

/// Trains for some epochs of two steps.
fn trained(device: Device, epochs: usize) -> (Result<()>, Trainer) {
    let mut trainer = trainer(device);
    let outcome = trainer.fit(&data(), Fit::epochs(epochs).batch_size(2).verbosity(Verbosity::Silent));
    (outcome.map(drop), trainer)
}

/// The GPU is refused with a text that has this in it, the network is as it was, and the best device is the CPU.
fn refused(device: Device, because: &str) {
    let (outcome, touched) = trained(device, 1);
    let error = outcome.unwrap_err().to_string();
    assert!(error.starts_with(&device.to_string()) && error.contains(because), "{error}");
    assert_eq!(weights_sha256(touched.model()), weights_sha256(trainer(Device::Cpu).model()));

    let [(outcome, best), (_, cpu)] = [Device::Auto, Device::Cpu].map(|device| trained(device, 2));
    assert!(outcome.is_ok(), "{outcome:?}");
    assert_eq!(weights_sha256(best.model()), weights_sha256(cpu.model()));
}

#[test]
fn without_a_driver() {
    with_driver("without_a_driver", None, || refused(Device::Cuda(0), "there is no NVIDIA driver"));
}

#[test]
fn a_driver_that_lacks_a_function_is_too_old() {
    let old = driver().without("cuGraphInstantiateWithFlags");
    with_driver("a_driver_that_lacks_a_function_is_too_old", Some(old), || {
        refused(Device::Cuda(0), "too old: it has no cuGraphInstantiateWithFlags; 525 or newer is needed")
    });
}

#[test]
fn a_driver_that_sees_no_gpu() {
    let blind = driver().with("cuInit", "unsigned flags) { return 100;");
    with_driver("a_driver_that_sees_no_gpu", Some(blind), || {
        refused(Device::Cuda(0), "the NVIDIA driver is there, but sees no GPU")
    });
}

#[test]
fn a_driver_that_does_not_fit_its_kernel_module() {
    let broken = driver().with("cuInit", "unsigned flags) { return 803;");
    with_driver("a_driver_that_does_not_fit_its_kernel_module", Some(broken), || {
        refused(Device::Cuda(0), "as the driver tells it")
    });
}

#[test]
fn a_driver_with_no_device() {
    let empty = driver().with("cuDeviceGetCount", "int *count) { *count = 0; return 0;");
    with_driver("a_driver_with_no_device", Some(empty), || {
        refused(Device::Cuda(0), "there is no such device: the driver sees 0 devices")
    });
}

#[test]
fn a_number_that_no_device_has() {
    // The first device fails later on, so that the best one is the CPU.
    let one = driver().with("cuModuleLoadData", "void *module, void *image) { return 222;");
    with_driver("a_number_that_no_device_has", Some(one), || {
        refused(Device::Cuda(7), "there is no such device: the driver sees one device")
    });
}

#[test]
fn a_driver_that_does_not_know_this_ptx() {
    let old = driver().with("cuModuleLoadData", "void *module, void *image) { return 222;");
    with_driver("a_driver_that_does_not_know_this_ptx", Some(old), || {
        refused(Device::Cuda(0), "driver 525 or newer is needed")
    });
}

#[test]
fn a_card_that_is_too_old() {
    let pascal = driver().with(
        "cuDeviceGetAttribute",
        "int *value, int which) { *value = which == 75 ? 6 : which == 76 ? 1 : 0; return 0;",
    );
    with_driver("a_card_that_is_too_old", Some(pascal), || {
        refused(Device::Cuda(0), "compute capability 7.5, this one has 6.1")
    });
}

#[test]
fn more_than_fits_in_memory() {
    let test = "more_than_fits_in_memory";
    if std::env::var_os(CHILD).is_none() {
        again(test, &emulator::folder(), &[("TAPETUM_EMULATOR_MEMORY", "1000")]);
        return;
    }
    let (outcome, touched) = trained(Device::Cuda(0), 1);
    let error = outcome.unwrap_err().to_string();
    assert!(error.starts_with("cuda:0") && error.contains("a smaller batch needs less"), "{error}");
    assert_eq!(weights_sha256(touched.model()), weights_sha256(trainer(Device::Cpu).model()));
}

/// After any number of launches.
#[test]
fn a_device_that_is_lost_leaves_the_network_of_the_last_epoch() {
    const EPOCHS: usize = 3;
    if let Ok(epochs) = std::env::var(CHILD) {
        let (outcome, trainer) = trained(Device::Cuda(0), epochs.parse().unwrap());
        if let Err(error) = &outcome {
            assert!(error.to_string().starts_with("cuda:0"), "{error}");
        }
        let done = trainer.history().epochs.len();
        assert_eq!(trainer.steps(), 2 * done as u64);
        println!("found {done} {} {}", outcome.is_ok(), weights_sha256(trainer.model()));
        return;
    }
    let folder = emulator::folder();
    let found = |epochs: usize, launches: usize| {
        let [epochs, launches] = [epochs, launches].map(|number| number.to_string());
        let variables = [(CHILD, &*epochs), ("TAPETUM_EMULATOR_LAUNCHES", &*launches)];
        let said = again("a_device_that_is_lost_leaves_the_network_of_the_last_epoch", &folder, &variables);
        let line = said.lines().find_map(|line| line.split_once("found ")).expect("the child tells").1;
        let [done, well, weights] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        (done.parse::<usize>().unwrap(), well == "true", weights.to_owned())
    };
    let undisturbed: Vec<_> = (1..=EPOCHS).map(|epochs| found(epochs, usize::MAX).2).collect();
    let mut lost_in_epoch = [0; EPOCHS];
    for launches in 0.. {
        let (done, well, weights) = found(EPOCHS, launches);
        let expected = done
            .checked_sub(1)
            .map_or_else(|| weights_sha256(trainer(Device::Cpu).model()), |last| undisturbed[last].clone());
        assert_eq!(weights, expected, "after {launches} launches");
        if well {
            break;
        }
        lost_in_epoch[done] += 1;
    }
    assert!(lost_in_epoch.iter().all(|&times| times > 0), "{lost_in_epoch:?}");
}
