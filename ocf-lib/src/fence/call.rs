//! One call of an agent: everything that was asked, checked and ready.

use super::action::Action;
use super::device::Plug;
use super::log::Log;
use super::values::Values;
use crate::deadline::Deadline;
use crate::secret::Secret;
use std::sync::Arc;
use std::time::Duration;

/// How the connection is to be protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    Off,
    /// Encrypted, certificate verified.
    Verified,
    /// Encrypted, certificate not verified: the administrator said `ssl_insecure=1`.
    Insecure,
}

/// How `reboot` is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Off, verified, then on.
    OnOff,
    /// The device's own power cycle.
    Cycle,
}

/// The timing options. `None` is upstream's 0: no limit of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    pub login: Option<Duration>,
    pub shell: Option<Duration>,
    pub power: Option<Duration>,
    pub power_wait: Duration,
    pub status_sleep: Duration,
    pub delay: Duration,
    /// Further attempts to power on.
    pub retry_on: u64,
}

/// Even where the caller minds the time (Pacemaker kills an agent at the end of its own timeout) no
/// single wait for a device may be endless, or the agent would die without having said why.
/// Pacemaker's default for a fencing operation is 60 s, for a monitor 20 s.
pub const LONGEST_WAIT: Duration = Duration::from_secs(15);

pub(super) struct CallData {
    pub action: Action,
    pub plugs: Vec<Plug>,
    pub values: Values,
    pub password: Option<Secret>,
    pub snmp_priv_password: Option<Secret>,
    pub ip: Option<String>,
    pub ipport: u16,
    pub tls: Tls,
    pub method: Method,
    pub timing: Timing,
    pub verbose_level: u64,
    pub json: bool,
    pub log: Log,
}

/// What an agent is called for. Cheap to copy; keep one in the device.
#[derive(Clone)]
pub struct Call(pub(super) Arc<CallData>);

impl Call {
    pub fn action(&self) -> Action {
        self.0.action
    }

    /// The plugs to work on: at least one, [`Plug::only`] for an agent without plugs, none for `list`.
    pub fn plugs(&self) -> &[Plug] {
        &self.0.plugs
    }

    /// Address of the device, `port_as_ip` applied.
    pub fn ip(&self) -> Option<&str> {
        self.0.ip.as_deref()
    }

    /// Port of the device; 0 when neither the caller nor the agent nor the protocol says one.
    pub fn ipport(&self) -> u16 {
        self.0.ipport
    }

    pub fn login(&self) -> Option<String> {
        self.0.values.nonempty("login")
    }

    /// The password: of the script, else as given. `None` is "not given", which is not the empty one.
    pub fn password(&self) -> Option<&Secret> {
        self.0.password.as_ref()
    }

    pub fn snmp_priv_password(&self) -> Option<&Secret> {
        self.0.snmp_priv_password.as_ref()
    }

    pub fn tls(&self) -> Tls {
        self.0.tls
    }

    pub fn method(&self) -> Method {
        self.0.method
    }

    pub fn timing(&self) -> &Timing {
        &self.0.timing
    }

    /// 0 silent, 1 steps, above: as much as the tool behind it can say.
    pub fn verbose_level(&self) -> u64 {
        self.0.verbose_level
    }

    /// A common option by its key (`cmd_prompt`, `ssh_options`, `switch`); `None` when unset or empty.
    pub fn text(&self, key: &str) -> Option<String> {
        self.0.values.nonempty(key)
    }

    /// A common flag by its key (`secure`, `sudo`, `missing_as_off`): a real boolean.
    pub fn flag(&self, key: &str) -> bool {
        self.0.values.flag(key)
    }

    pub fn log(&self) -> &Log {
        &self.0.log
    }

    /// From now until connection and login must stand: `login_timeout`.
    pub fn connect_deadline(&self) -> Deadline {
        Deadline::after(bounded(self.0.timing.login))
    }

    /// From now until one request must be answered: `shell_timeout`.
    pub fn request_deadline(&self) -> Deadline {
        Deadline::after(bounded(self.0.timing.shell))
    }

    /// From now until a vendor's tool must have ended: `power_timeout`, as upstream has it.
    pub fn tool_deadline(&self) -> Deadline {
        Deadline::after(bounded(self.0.timing.power))
    }

    /// True when a signal asked the agent to end: return [`super::FenceError::interrupted`] soon. A
    /// waiting system call returns EINTR; the process ends by force a few seconds later.
    pub fn interrupted(&self) -> bool {
        super::process::interrupted().is_some()
    }
}

fn bounded(span: Option<Duration>) -> Duration {
    match span {
        Some(span) => span,
        None => LONGEST_WAIT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_without_a_timeout_is_bounded_all_the_same() {
        assert_eq!(bounded(None), Duration::from_secs(15));
        assert_eq!(bounded(Some(Duration::from_secs(60))), Duration::from_secs(60));
    }
}
