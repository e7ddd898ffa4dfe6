//! What a fence agent implements.

use super::call::Call;
use super::error::FenceError;
use super::option::OptionSet;
use super::spec::FenceSpec;
use std::fmt;

/// The power state that a device reports. There is no default and no guess: what is not clearly on or
/// off is one of the other two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    On,
    Off,
    /// On the way from one to the other (Redfish `PoweringOff`, a guest in shutdown).
    Transitional,
    /// The device answered, but the answer does not tell. Never satisfies a request.
    Unknown,
}

impl fmt::Display for Power {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::On => "ON",
            Self::Off => "OFF",
            Self::Transitional => "TRANSITIONAL",
            Self::Unknown => "UNKNOWN",
        })
    }
}

/// What is asked of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    On,
    Off,
}

impl Wanted {
    /// The state that proves the request done.
    pub const fn power(self) -> Power {
        match self {
            Self::On => Power::On,
            Self::Off => Power::Off,
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.power().fmt(f)
    }
}

/// One outlet, guest or node at a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plug(Option<String>);

impl Plug {
    /// The plug of that name.
    pub fn named(name: impl Into<String>) -> Self {
        Self(Some(name.into()))
    }

    /// The only one, of a device that controls a single node.
    pub const fn only() -> Self {
        Self(None)
    }

    /// The name; empty for [`Plug::only`].
    pub fn name(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }

    /// The name when it is a UUID in its canonical form of 36 characters.
    pub fn uuid(&self) -> Option<&str> {
        let name = self.name();
        let shape = name.len() == 36
            && name.bytes().enumerate().all(|(at, byte)| match at {
                8 | 13 | 18 | 23 => byte == b'-',
                _ => byte.is_ascii_hexdigit(),
            });
        shape.then_some(name)
    }

    pub(super) fn in_words(&self) -> String {
        match &self.0 {
            Some(name) => format!("plug '{name}'"),
            None => "the node".into(),
        }
    }
}

/// One line of `list`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outlet {
    /// What `plug` would be.
    pub id: String,
    /// The name that the device's owner gave it; may be empty.
    pub alias: String,
    /// `None` when the device does not tell it in the same answer.
    pub power: Option<Power>,
}

/// A device that switches power.
///
/// The value is one session: it is made by [`connect`](Self::connect) after the start delay and dropped
/// on every way out, also after a signal or a panic, so that `Drop` is where a session is closed.
/// The framework decides what to ask and when, and believes only [`status`](Self::status).
pub trait PowerDevice: Sized {
    const SPEC: FenceSpec;
    /// The agent's own options, declared with [`fence_options!`](crate::fence_options).
    type Options: OptionSet;

    /// Checks that need no device, for `validate-all` and before every action: one complaint a fault.
    fn validate(_options: &Self::Options, _call: &Call) -> Result<(), FenceError> {
        Ok(())
    }

    /// Connects and logs in, before [`Call::connect_deadline`].
    fn connect(options: Self::Options, call: Call) -> Result<Self, FenceError>;

    /// Asks for the present state of `plug`.
    fn status(&mut self, plug: &Plug) -> Result<Power, FenceError>;

    /// Asks for a change and returns when the device has taken the request; the framework verifies.
    fn set(&mut self, plug: &Plug, wanted: Wanted) -> Result<(), FenceError>;

    /// The device's own power cycle, for `method=cycle`. [`super::ErrorKind::WrongState`] when the node is off.
    fn cycle(&mut self, _plug: &Plug) -> Result<(), FenceError> {
        Err(FenceError::unsupported("this device has no power cycle").hint("use method=onoff"))
    }

    /// Reboots all of `plugs` in the device's own way. By default nothing is done here, and the framework switches
    /// off, verifies, and switches on.
    ///
    /// For a device that cannot switch on a node that is off (a node's own sshd, a person): to answer
    /// [`Rebooted::Verified`] it must have seen, after the request, that every node was down.
    fn reboot(&mut self, plugs: &[Plug]) -> Result<Rebooted, FenceError> {
        let _ = plugs;
        Ok(Rebooted::ByDefault)
    }

    /// Interrupts the node so that it dumps or debugs (NMI).
    fn diag(&mut self, _plug: &Plug) -> Result<(), FenceError> {
        Err(FenceError::unsupported("this device cannot interrupt its node"))
    }

    /// All outlets; [`super::ErrorKind::Unsupported`] when the device cannot tell.
    fn list(&mut self) -> Result<Vec<Outlet>, FenceError> {
        Err(FenceError::unsupported("this device has no list"))
    }

    /// Finds out whether the device could fence. By default what upstream does: `list` for an agent with
    /// plugs, else `status`. Override it where that is much, and where a permission can be checked.
    fn monitor(&mut self, plugs: &[Plug]) -> Result<Monitored, FenceError> {
        let _ = plugs;
        Ok(Monitored::ByDefault)
    }
}

/// How [`PowerDevice::reboot`] went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rebooted {
    /// Every node was seen down after the request.
    Verified,
    /// Nothing was asked: do the usual.
    ByDefault,
}

/// How [`PowerDevice::monitor`] went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Monitored {
    /// The device can do its work.
    Good,
    /// Nothing was asked: do the usual.
    ByDefault,
}

/// A device that cuts a node from storage or network instead of from power.
pub trait FabricDevice: Sized {
    const SPEC: FenceSpec;
    type Options: OptionSet;

    /// See [`PowerDevice::validate`].
    fn validate(_options: &Self::Options, _call: &Call) -> Result<(), FenceError> {
        Ok(())
    }

    /// See [`PowerDevice::connect`].
    fn connect(options: Self::Options, call: Call) -> Result<Self, FenceError>;

    /// `Some(true)` when the node has access everywhere, `Some(false)` when nowhere, `None` in between.
    fn has_access(&mut self, plug: &Plug) -> Result<Option<bool>, FenceError>;

    /// Gives the node its access (`on`, unfencing).
    fn allow(&mut self, plug: &Plug) -> Result<(), FenceError>;

    /// Takes the node's access (`off`, fencing).
    fn deny(&mut self, plug: &Plug) -> Result<(), FenceError>;

    /// See [`PowerDevice::list`].
    fn list(&mut self) -> Result<Vec<Outlet>, FenceError> {
        Err(FenceError::unsupported("this device has no list"))
    }

    /// See [`PowerDevice::monitor`].
    fn monitor(&mut self, plugs: &[Plug]) -> Result<Monitored, FenceError> {
        let _ = plugs;
        Ok(Monitored::ByDefault)
    }
}

/// A [`FabricDevice`] seen as a device with on and off.
pub(super) struct Fabric<F>(F);

impl<F: FabricDevice> PowerDevice for Fabric<F> {
    const SPEC: FenceSpec = F::SPEC;
    type Options = F::Options;

    fn validate(options: &Self::Options, call: &Call) -> Result<(), FenceError> {
        F::validate(options, call)
    }

    fn connect(options: Self::Options, call: Call) -> Result<Self, FenceError> {
        F::connect(options, call).map(Self)
    }

    fn status(&mut self, plug: &Plug) -> Result<Power, FenceError> {
        Ok(match self.0.has_access(plug)? {
            Some(true) => Power::On,
            Some(false) => Power::Off,
            None => Power::Transitional,
        })
    }

    fn set(&mut self, plug: &Plug, wanted: Wanted) -> Result<(), FenceError> {
        match wanted {
            Wanted::On => self.0.allow(plug),
            Wanted::Off => self.0.deny(plug),
        }
    }

    fn list(&mut self) -> Result<Vec<Outlet>, FenceError> {
        self.0.list()
    }

    fn monitor(&mut self, plugs: &[Plug]) -> Result<Monitored, FenceError> {
        self.0.monitor(plugs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_belongs_to_its_own_plug() {
        let uuid = "0a1b2c3d-0000-1111-2222-333344445555";
        assert_eq!(Plug::named(uuid).uuid(), Some(uuid));
        assert_eq!(Plug::named("node1").uuid(), None);
        assert_eq!(Plug::only().uuid(), None);
    }
}
