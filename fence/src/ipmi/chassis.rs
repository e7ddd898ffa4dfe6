//! Chassis commands: the power state and its faults, and what can be done about it.
//!
//! IPMI v2.0 rev 1.1 sections 28.2 (get chassis status) and 28.3 (chassis control).

use super::error::Error;

/// What the BMC says about the chassis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "these are the bits of the answer")]
pub struct Chassis {
    /// The system power is on (S0 to S4 included as the BMC sees it: power good).
    pub on: bool,
    /// Shut down because of a power overload.
    pub overload: bool,
    /// A fault in the main power subsystem.
    pub power_fault: bool,
    /// The power controller could not reach the wanted state.
    pub control_fault: bool,
}

impl Chassis {
    pub(super) fn parse(data: &[u8]) -> Result<Self, Error> {
        let state = data.first().ok_or_else(|| Error::Protocol("chassis status without data".into()))?;
        Ok(Self {
            on: state & 0x01 != 0,
            overload: state & 0x02 != 0,
            power_fault: state & 0x08 != 0,
            control_fault: state & 0x10 != 0,
        })
    }
}

/// A power command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// Power down at once.
    Off,
    /// Power up.
    On,
    /// Off, a pause of the BMC's choice, on.
    Cycle,
    /// Hard reset.
    Reset,
    /// Diagnostic interrupt (NMI).
    Diag,
    /// Ask the operating system to shut down (ACPI).
    Soft,
}

impl Control {
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Off => 0,
            Self::On => 1,
            Self::Cycle => 2,
            Self::Reset => 3,
            Self::Diag => 4,
            Self::Soft => 5,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Off => "power off",
            Self::On => "power on",
            Self::Cycle => "power cycle",
            Self::Reset => "power reset",
            Self::Diag => "diagnostic interrupt",
            Self::Soft => "soft power off",
        }
    }

    /// Doing it twice is doing it once. The others interrupt the node a second time: a second NMI even breaks the crash dump that
    /// the first one started.
    pub(super) fn is_idempotent(self) -> bool {
        match self {
            Self::Off | Self::On => true,
            Self::Cycle | Self::Reset | Self::Diag | Self::Soft => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_bits() {
        let off = Chassis { on: false, overload: false, power_fault: false, control_fault: false };
        assert_eq!(Chassis::parse(&[0x60, 0, 0]).unwrap(), off);
        assert_eq!(Chassis::parse(&[0x21]).unwrap(), Chassis { on: true, ..off });
        assert_eq!(
            Chassis::parse(&[0x1A]).unwrap(),
            Chassis { overload: true, power_fault: true, control_fault: true, ..off }
        );
        assert!(matches!(Chassis::parse(&[]), Err(Error::Protocol(_))));
    }
}
