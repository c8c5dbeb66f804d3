//! Memory on a device.

use super::call::Parameter;
use super::gpu::Gpu;
use crate::error::Result;
use cudarc::driver::{CudaSlice, DevicePtr, DeviceRepr, ValidAsZeroBits};
use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};

/// What may lie on a device: numbers without pointers, for which all bits 0 are a value.
pub(crate) trait Plain: DeviceRepr + ValidAsZeroBits + Copy + std::fmt::Debug {}

impl<T: DeviceRepr + ValidAsZeroBits + Copy + std::fmt::Debug> Plain for T {}

/// Memory of its own for `len` values, on the device until it is dropped.
#[derive(Debug)]
pub(crate) struct Buffer<T> {
    /// None where there is nothing to hold: drivers allocate no 0 bytes.
    memory: Option<CudaSlice<T>>,
}

impl<T: Plain> Buffer<T> {
    /// All zeros.
    pub fn zeros(gpu: &Gpu, len: usize) -> Result<Self> {
        let memory = (len > 0).then(|| gpu.told(gpu.stream.alloc_zeros(len))).transpose()?;
        Ok(Self { memory })
    }

    /// A copy of `values`.
    pub fn of(gpu: &Gpu, values: &[T]) -> Result<Self> {
        let buffer = Self::zeros(gpu, values.len())?;
        buffer.span().write(gpu, values)?;
        Ok(buffer)
    }

    /// All of it.
    pub fn span(&self) -> Span<'_, T> {
        let Some(memory) = &self.memory else { return Span { pointer: 0, len: 0, owner: PhantomData } };
        let (pointer, _record) = memory.device_ptr(memory.stream());
        Span { pointer, len: memory.len(), owner: PhantomData }
    }

    /// What is in it, once all work before this is done.
    pub fn read(&self, gpu: &Gpu) -> Result<Vec<T>> {
        self.span().read(gpu)
    }
}

/// A part of a buffer. Kernels write through it: the device does its work in order, one thing after the other.
#[derive(Debug)]
pub(crate) struct Span<'a, T> {
    pointer: u64,
    len: usize,
    owner: PhantomData<&'a T>,
}

impl<T> Clone for Span<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Span<'_, T> {}

// SAFETY: a kernel is given the pointer, as it expects.
unsafe impl<T: Plain> Parameter for Span<'_, T> {
    type Passed = u64;

    fn passed(self) -> u64 {
        self.pointer
    }
}

impl<'a, T: Plain> Span<'a, T> {
    /// Nothing: where a kernel takes a tensor or none.
    pub fn none() -> Self {
        Self { pointer: 0, len: 0, owner: PhantomData }
    }

    pub fn len(self) -> usize {
        self.len
    }

    /// Whether its values can be read four at a time.
    pub fn holds_quads(self) -> bool {
        self.pointer.is_multiple_of(4 * size_of::<T>() as u64)
    }

    /// # Panics
    /// Where the part is not inside.
    pub fn part(self, range: impl RangeBounds<usize>) -> Self {
        let first = match range.start_bound() {
            Bound::Included(&first) => first,
            Bound::Excluded(&before) => before + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&last) => last + 1,
            Bound::Excluded(&end) => end,
            Bound::Unbounded => self.len,
        };
        assert!(first <= end && end <= self.len, "{first}..{end} of {}", self.len);
        Self { pointer: self.pointer + (first * size_of::<T>()) as u64, len: end - first, owner: PhantomData }
    }

    /// Overwrites it, after all work before this.
    ///
    /// # Panics
    /// Where there are not as many values.
    pub fn write(self, gpu: &Gpu, values: &[T]) -> Result<()> {
        assert_eq!(values.len(), self.len);
        if values.is_empty() {
            return Ok(());
        }
        gpu.told(gpu.stream.context().bind_to_thread())?;
        // SAFETY: the span lies in a buffer that is borrowed, and has as many values. The driver has taken them out of
        // pageable memory when the call returns.
        gpu.told(unsafe { cudarc::driver::result::memcpy_htod_async(self.pointer, values, gpu.stream.cu_stream()) })
    }

    /// What is in it, once all work before this is done.
    pub fn read(self, gpu: &Gpu) -> Result<Vec<T>> {
        // SAFETY: for these types all bits 0 are a value.
        let mut values = vec![unsafe { std::mem::zeroed() }; self.len];
        self.read_into(gpu, &mut values)?;
        Ok(values)
    }

    /// The same, into `values`.
    ///
    /// # Panics
    /// Where there are not as many values.
    pub fn read_into(self, gpu: &Gpu, values: &mut [T]) -> Result<()> {
        assert_eq!(values.len(), self.len);
        if values.is_empty() {
            return Ok(());
        }
        gpu.told(gpu.stream.context().bind_to_thread())?;
        // SAFETY: as in `write`; `values` stays borrowed until the stream has done the copy.
        gpu.told(unsafe { cudarc::driver::result::memcpy_dtoh_async(values, self.pointer, gpu.stream.cu_stream()) })?;
        gpu.finish()
    }
}
