//! Where networks are trained. Serving is always on the processor, so that forecasts need no graphics card.

use std::fmt;

use burn::tensor::Device;

/// A kind of device that this program knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceKind {
    /// The processor.
    #[default]
    Cpu,
    /// The first NVIDIA card, in programs built with the feature `cuda`.
    Cuda,
    /// The card that `wgpu` (Vulkan, Metal, DirectX) prefers, in programs built with the feature `wgpu`.
    Wgpu,
}

/// Why a device cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// No device has this name.
    #[error("device {name:?} is not known, the devices are cpu, cuda and wgpu")]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// This program was built without it.
    #[error("device {name} is not in this program, build it with `--features {name}`")]
    NotCompiled {
        /// Name of the device and of the feature.
        name: &'static str,
    },
}

/// The device of a name: `cpu`, `cuda` or `wgpu`.
///
/// # Errors
/// A name that is not known; a device whose feature this program was built without.
pub fn device_named(name: &str) -> Result<DeviceKind, DeviceError> {
    let kind = [DeviceKind::Cpu, DeviceKind::Cuda, DeviceKind::Wgpu].into_iter().find(|kind| kind.name() == name);
    let kind = kind.ok_or_else(|| DeviceError::Unknown { name: name.to_owned() })?;
    kind.open().map(|_| kind)
}

impl DeviceKind {
    /// Name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::Wgpu => "wgpu",
        }
    }

    /// The device itself. Nothing is started before its first use.
    ///
    /// # Errors
    /// [`DeviceError::NotCompiled`] in a program built without it.
    pub fn open(self) -> Result<Device, DeviceError> {
        match self {
            Self::Cpu => Ok(processor()),
            #[cfg(feature = "cuda")]
            Self::Cuda => Ok(Device::cuda(0usize)),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => Ok(Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)),
            #[cfg(not(all(feature = "cuda", feature = "wgpu")))]
            other => Err(DeviceError::NotCompiled { name: other.name() }),
        }
    }
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// The device that serves.
#[must_use]
pub fn processor() -> Device {
    Device::flex()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_have_names() {
        assert_eq!(device_named("cpu"), Ok(DeviceKind::Cpu));
        assert_eq!(device_named("tpu"), Err(DeviceError::Unknown { name: "tpu".to_owned() }));
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_device_that_was_not_built_in_says_how_to_get_it() {
        let error = device_named("cuda").unwrap_err();
        assert_eq!(error, DeviceError::NotCompiled { name: "cuda" });
        assert!(error.to_string().contains("--features cuda"));
    }
}
