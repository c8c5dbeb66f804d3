//! Where a network is trained and runs.

use crate::error::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// What computes.
///
/// ```
/// use tapetum::prelude::*;
/// assert_eq!("cuda:1".parse::<Device>()?, Device::Cuda(1));
/// assert_eq!(Device::Cuda(0).to_string(), "cuda:0");
/// assert!("tpu".parse::<Device>().is_err());
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Device {
    /// The processor: the same bits for any number of threads.
    #[default]
    Cpu,
    /// The NVIDIA GPU of this number, with the feature `cuda`; needs its driver, 525 or newer, and nothing else.
    Cuda(usize),
    /// The first GPU where there is one that can run the network, else the processor.
    Auto,
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
            Self::Auto => f.write_str("auto"),
        }
    }
}

impl FromStr for Device {
    type Err = Error;

    /// `cpu`, `cuda` for the first GPU, `cuda:1` for the second, or `auto`.
    fn from_str(text: &str) -> Result<Self> {
        let refused = || Error::argument("device", "device", "cpu, cuda, cuda:1 or auto", text);
        match text {
            "cpu" => Ok(Self::Cpu),
            "auto" => Ok(Self::Auto),
            "cuda" => Ok(Self::Cuda(0)),
            _ => {
                let ordinal = text.strip_prefix("cuda:").ok_or_else(refused)?;
                ordinal.parse().map(Self::Cuda).map_err(|_| refused())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for device in [Device::Cpu, Device::Cuda(0), Device::Cuda(12), Device::Auto] {
            assert_eq!(device.to_string().parse::<Device>().unwrap(), device);
        }
        let error = "cuda:-1".parse::<Device>().unwrap_err().to_string();
        assert_eq!(error, "device: device must be cpu, cuda, cuda:1 or auto, got cuda:-1");
    }
}
