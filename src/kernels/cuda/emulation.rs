//! What the emulated GPU does and what it notices, by the kernels of kernels/emulator/probe.cu. A real one is not asked.

use super::call::Call;
use super::testing::{emulator, gpu, gpu_tf32, poisoned, same_bits};
use super::{Buffer, Gpu, Graph, Span};
use crate::error::Result;
use cudarc::driver::CudaFunction;
use cudarc::nvrtc::Ptx;
use std::process::{Command, Output};

/// Which kernel a process that tries one is to launch, and for how many numbers.
const TRIED: &str = "TAPETUM_TRIED";

fn is_emulated() -> bool {
    emulator::driver().is_some()
}

/// A probe, and numbers for it.
struct Probe<'a> {
    gpu: &'a Gpu,
    kernel: CudaFunction,
}

impl<'a> Probe<'a> {
    fn new(gpu: &'a Gpu, kernel: &str, code: &str) -> Self {
        let module = gpu.stream.context().load_module(Ptx::from_src(code)).expect("code of the emulator loads");
        Self { gpu, kernel: module.load_function(kernel).expect("probe.cu has the kernel") }
    }

    fn of(gpu: &'a Gpu, kernel: &str) -> Self {
        Self::new(gpu, kernel, "// kernels/emulator/probe.cu")
    }

    fn launch(&self, from: Span<f32>, to: Span<f32>) -> Result<()> {
        let call = Call::new(self.gpu, self.kernel.clone()).with(from).with(to).size(from.len());
        // SAFETY: nothing is lost where a probe does what it must not do.
        unsafe { call.launch([from.len().div_ceil(64), 1, 1], 64) }
    }

    /// What it makes of 0, 1, 2 and so on.
    fn run(&self, count: usize) -> Vec<f32> {
        let from = Buffer::of(self.gpu, &numbers(count)).unwrap();
        let to = poisoned(self.gpu, count);
        self.launch(from.span(), to.span()).unwrap();
        to.read(self.gpu).unwrap()
    }
}

fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|number| number as f32).collect()
}

/// Each `chunk` backwards.
fn backwards(count: usize, chunk: usize) -> Vec<f32> {
    numbers(count).chunks(chunk).flat_map(|chunk| chunk.iter().rev().copied()).collect()
}

/// A test of this file that is ignored, in a process of its own.
fn alone(test: &str, variable: &str, value: &str) -> Output {
    let name = format!("{}::{test}", module_path!().split_once("::").expect("the crate's name comes first").1);
    let program = std::env::current_exe().expect("a test runs from a file");
    let arguments = ["--exact", &name, "--ignored", "--test-threads=1"];
    Command::new(program).args(arguments).env(variable, value).output().expect("a test starts")
}

#[test]
fn a_kernel_runs_in_any_order() {
    let gpu = gpu();
    if is_emulated() {
        assert_eq!(same_bits(|| Probe::of(&gpu, "reversed").run(128)), backwards(128, 64));
        assert_eq!(same_bits(|| Probe::of(&gpu, "warp_reversed").run(128)), backwards(128, 32));
    }
}

#[test]
fn a_missing_barrier_is_noticed() {
    let gpu = gpu();
    if is_emulated() {
        let attempt = std::panic::AssertUnwindSafe(|| same_bits(|| Probe::of(&gpu, "no_barrier").run(128)));
        assert!(std::panic::catch_unwind(attempt).is_err());
        assert!(Probe::of(&gpu, "shared_before_written").run(64).iter().all(|number| number.is_nan()));
    }
}

#[test]
fn code_says_which_variant_it_is() {
    let gpu = gpu_tf32();
    if is_emulated() {
        assert_eq!(Probe::of(&gpu, "is_tf32").run(64), [0.0; 64]);
        assert_eq!(Probe::new(&gpu, "is_tf32", "// kernels/emulator/probe.cu, TF32").run(64), [1.0; 64]);
    }
}

#[test]
fn more_threads_than_a_kernel_has_registers_for_are_refused() {
    let gpu = gpu();
    if is_emulated() {
        let kernel = Probe::of(&gpu, "reversed").kernel;
        let room = poisoned(&gpu, 64);
        let call = Call::new(&gpu, kernel).with(room.span()).with(room.span()).size(64);
        // SAFETY: it is not launched.
        assert!(unsafe { call.launch([1, 1, 1], 65) }.is_err());
    }
}

#[test]
fn a_graph_does_again_what_was_captured() {
    let gpu = gpu();
    if !is_emulated() {
        return;
    }
    let reversed = Probe::of(&gpu, "reversed");
    let from = Buffer::of(&gpu, &numbers(128)).unwrap();
    let [there, back] = [(); 2].map(|()| poisoned(&gpu, 128));
    let mut graph = Graph::capture(&gpu, || {
        reversed.launch(from.span(), there.span())?;
        reversed.launch(there.span(), back.span())
    })
    .unwrap();
    assert!(there.read(&gpu).unwrap()[0].is_nan(), "a capture does nothing yet");
    for start in [0.0, 7.0] {
        let numbers: Vec<f32> = numbers(128).iter().map(|number| start + number).collect();
        from.span().write(&gpu, &numbers).unwrap();
        graph.launch(&gpu).unwrap();
        assert_eq!(back.read(&gpu).unwrap(), numbers);
    }
}

#[test]
fn a_capture_survives_no_other_call() {
    let gpu = gpu();
    if !is_emulated() {
        return;
    }
    let room = poisoned(&gpu, 8);
    let calls: [&dyn Fn() -> Result<()>; 4] = [
        &|| Buffer::<f32>::zeros(&gpu, 8).map(drop),
        &|| room.read(&gpu).map(drop),
        &|| room.span().write(&gpu, &[0.0; 8]),
        &|| gpu.finish(),
    ];
    for call in calls {
        assert!(Graph::capture(&gpu, call).is_err());
        let ignored = Graph::capture(&gpu, || {
            let _ = call();
            Ok(())
        });
        assert!(ignored.is_err());
        room.span().write(&gpu, &[1.0; 8]).expect("the stream is usable again");
    }
    let freed = Graph::capture(&gpu, || {
        drop(room);
        Ok(())
    });
    assert!(freed.is_err());
}

#[test]
fn a_kernel_that_does_what_it_must_not_do_is_stopped() {
    gpu();
    if !is_emulated() {
        return;
    }
    let cases = [
        ("reads_past 128", "reads from 0 bytes past the end of an allocation of 512 bytes"),
        ("writes_past 128", "block (0, 0, 0), thread 0: writes to 0 bytes past the end of an allocation of 512 bytes"),
        ("writes_past 101", "wrote past an allocation of 404 bytes"),
        ("writes_before 128", "wrote before an allocation of 512 bytes"),
        ("writes_before 1024", "writes to 4 bytes before an allocation of 4096 bytes"),
        ("reads_null 64", "probe.cu:"),
        ("reads_unaligned 64", "an address that is null, not aligned, or outside its object"),
        ("reads_outside_tile 64", "an index outside its array"),
        ("writes_one_struct_too_many 64", "or outside its object"),
        ("overflows 64", "a product overflows"),
        ("returns_early 64", "but thread 5 has returned"),
        ("waits_elsewhere 64", "but thread 5 waits elsewhere"),
        ("reads_released 64", "that was released"),
    ];
    for (tried, expected) in cases {
        let output = alone("one_kernel", TRIED, tried);
        let text = String::from_utf8_lossy(&output.stderr);
        let is_told = text.contains("emulated GPU: kernel ") && text.contains(expected);
        assert!(!output.status.success() && is_told, "{tried}: {text}");
    }
}

#[test]
#[ignore = "stops its process"]
fn one_kernel() {
    let Ok(tried) = std::env::var(TRIED) else { return };
    let (kernel, count) = tried.split_once(' ').unwrap();
    let gpu = gpu();
    if kernel != "reads_released" {
        Probe::of(&gpu, kernel).run(count.parse().unwrap());
        return;
    }
    let [from, to] = [(); 2].map(|()| poisoned(&gpu, 64));
    let probe = Probe::of(&gpu, "reversed");
    let mut graph = Graph::capture(&gpu, || probe.launch(from.span(), to.span())).unwrap();
    drop(from);
    let _ = graph.launch(&gpu);
}

#[test]
fn memory_has_an_end() {
    gpu();
    if is_emulated() {
        let output = alone("with_1000_bytes", "TAPETUM_EMULATOR_MEMORY", "1000");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
#[ignore = "needs a device of 1000 bytes"]
fn with_1000_bytes() {
    if std::env::var_os("TAPETUM_EMULATOR_MEMORY").is_none() {
        return;
    }
    let gpu = gpu();
    let first = Buffer::<f32>::zeros(&gpu, 128).unwrap();
    let error = Buffer::<f32>::zeros(&gpu, 128).unwrap_err().to_string();
    assert!(error.contains("out of memory: a smaller batch needs less"), "{error}");
    drop(first);
    Buffer::<f32>::zeros(&gpu, 250).unwrap();
}

#[test]
fn a_device_can_be_lost() {
    gpu();
    if is_emulated() {
        let output = alone("with_2_launches", "TAPETUM_EMULATOR_LAUNCHES", "2");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
#[ignore = "needs a device that is soon lost"]
fn with_2_launches() {
    if std::env::var_os("TAPETUM_EMULATOR_LAUNCHES").is_none() {
        return;
    }
    let gpu = gpu();
    let room = poisoned(&gpu, 64);
    let probe = Probe::of(&gpu, "reversed");
    probe.run(64);
    probe.run(64);
    probe.launch(room.span(), room.span()).expect("nobody waits for a launch");
    let errors = [room.read(&gpu).map(drop), gpu.finish(), probe.launch(room.span(), room.span())];
    assert!(
        errors.iter().all(|result| result.as_ref().is_err_and(|error| error.to_string().contains("launch failure")))
    );
    assert!(Buffer::<f32>::zeros(&gpu, 1).is_err());
}
