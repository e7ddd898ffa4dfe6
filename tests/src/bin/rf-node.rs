//! The processes of a test cluster: see [`ringfence_tests::cluster::helper`].

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    ringfence_tests::cluster::helper::main(&args)
}
