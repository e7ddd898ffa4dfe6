//! The fence side of the framework: one fence agent is one file that declares a [`FenceSpec`] and its
//! own options, implements [`PowerDevice`] (or [`FabricDevice`]) and calls [`run`].
//!
//! Everything else exists once, here: standard input and command line, aliases, checks, password
//! scripts, delay, multi-plug rules, polling and verification, retries, messages, exit statuses, logs,
//! metadata, usage, signals, and the dialect of `external` STONITH plugins. The complete example is
//! `examples/fence_example.rs`.
//!
//! Invariant: `off` ends with status 0 only when [`PowerDevice::status`] said "off" for every plug, and
//! where a request was made, said so after the request.

mod action;
mod call;
mod check;
mod command_line;
mod common_options;
mod device;
mod documentation;
mod error;
mod external;
mod log;
mod option;
mod perform;
mod power;
mod process;
mod run;
mod spec;
mod stdin_input;
mod values;

#[cfg(test)]
mod tests;

pub use action::Action;
pub use call::{Call, LONGEST_WAIT, Method, Timing, Tls};
pub use common_options::Takes;
pub use device::{FabricDevice, Monitored, Outlet, Plug, Power, PowerDevice, Rebooted, Wanted};
pub use error::{ErrorKind, FenceError};
pub use external::{External, ExternalParam, Meaning, external_param};
pub use log::{Level, Log};
pub use option::{Adjust, Field, FromText, Kind, OptionDef, OptionSet, adjust, option};
pub use process::asked_to_end as interrupted;
pub use run::{Ended, World, run, run_fabric, run_fabric_in, run_in};
pub use spec::{FenceSpec, OldForm, Symlink, Table};
pub use values::Values;

/// What the file of a fence agent imports.
pub mod prelude {
    pub use super::{
        Adjust, Call, ErrorKind, External, ExternalParam, FabricDevice, FenceError, FenceSpec, Meaning,
        Method, Monitored, OldForm, Outlet, Plug, Power, PowerDevice, Rebooted, Symlink, Takes, Timing, Tls,
        Wanted, adjust, external_param, option, run, run_fabric,
    };
    pub use crate::secret::Secret;
    pub use crate::{fence_choices, fence_options};
}
