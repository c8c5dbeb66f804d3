//! Numbers in, numbers out: functions over slices and shapes that know nothing of layers.

pub(crate) mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
