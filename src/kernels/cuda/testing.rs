//! What the tests of the kernels share: a GPU, and the proof that the order in which it works does not matter.

#[path = "../../../tests/emulator/mod.rs"]
mod emulator;

use super::{Buffer, Gpu};
use std::sync::Arc;

/// A GPU of its own for each test: nothing that others do is in its stream.
pub fn gpu() -> Arc<Gpu> {
    open(false)
}

/// The same, with tensor cores.
pub fn gpu_tf32() -> Arc<Gpu> {
    open(true)
}

fn open(tf32: bool) -> Arc<Gpu> {
    emulator::driver();
    Gpu::open(0, tf32).expect("a GPU opens")
}

/// Numbers that nobody has written: NaN.
pub fn poisoned(gpu: &Gpu, len: usize) -> Buffer<f32> {
    Buffer::of(gpu, &vec![f32::NAN; len]).expect("the GPU has room")
}

/// What `work` gives, once its bits were the same with blocks and threads in their order, backwards, and in random ones.
pub fn same_bits(mut work: impl FnMut() -> Vec<f32>) -> Vec<f32> {
    let mut in_order = |order: i32| {
        choose_order(order);
        work()
    };
    let bits = |numbers: &[f32]| numbers.iter().map(|number| number.to_bits()).collect::<Vec<_>>();
    let first = in_order(0);
    for order in [1, 2, 2] {
        let again = in_order(order);
        assert!(bits(&again) == bits(&first), "order {order} of blocks and threads changes bits");
    }
    choose_order(-1);
    first
}

/// Of the launches from this thread: 0 forward, 1 backwards, 2 random, -1 each in turn. A real GPU has its own.
fn choose_order(order: i32) {
    let Some(driver) = emulator::driver() else { return };
    // SAFETY: kernels/emulator/driver.cpp defines it so.
    unsafe { driver.get::<unsafe extern "C" fn(i32)>(b"tapetum_emulator_order").expect("the emulator has it")(order) }
}

#[cfg(test)]
mod tests {
    use super::super::call::Call;
    use super::super::{Graph, Span};
    use super::*;
    use cudarc::driver::CudaFunction;
    use cudarc::nvrtc::Ptx;

    /// A kernel of kernels/emulator/probe.cu; none on a real GPU.
    fn probe(gpu: &Gpu, kernel: &str) -> Option<CudaFunction> {
        emulator::driver()?;
        let module = gpu.stream.context().load_module(Ptx::from_src("// kernels/emulator/probe.cu"));
        Some(module.expect("the emulator has it").load_function(kernel).expect("it has the kernel"))
    }

    fn reverse(gpu: &Gpu, kernel: &CudaFunction, from: Span<f32>, to: Span<f32>) -> crate::error::Result<()> {
        let call = Call::new(gpu, kernel.clone()).with(from).with(to).size(from.len());
        // SAFETY: probe.cu's kernels read and write so many numbers.
        unsafe { call.launch([from.len().div_ceil(64), 1, 1], 64) }
    }

    #[test]
    fn a_kernel_runs_at_once_and_from_a_graph() {
        let gpu = gpu();
        let Some(kernel) = probe(&gpu, "reversed") else { return };
        let numbers: Vec<f32> = (0..128).map(|i| i as f32).collect();
        let expected: Vec<f32> = (0..128).map(|i| (i / 64 * 64 + 63 - i % 64) as f32).collect();
        let from = Buffer::of(&gpu, &numbers).unwrap();
        let result = same_bits(|| {
            let to = poisoned(&gpu, 128);
            reverse(&gpu, &kernel, from.span(), to.span()).unwrap();
            to.read(&gpu).unwrap()
        });
        assert_eq!(result, expected);

        let [there, back] = [(); 2].map(|()| poisoned(&gpu, 128));
        let mut graph = Graph::capture(&gpu, || {
            reverse(&gpu, &kernel, from.span(), there.span())?;
            reverse(&gpu, &kernel, there.span(), back.span())
        })
        .unwrap();
        assert!(there.read(&gpu).unwrap()[0].is_nan(), "a capture does nothing yet");
        graph.launch(&gpu).unwrap();
        assert_eq!((there.read(&gpu).unwrap(), back.read(&gpu).unwrap()), (expected, numbers));
    }
}
