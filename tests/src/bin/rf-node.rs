//! The processes of a test cluster: see [`ringfence_tests::cluster::node_program`].
//!
//! `rf-node hold FILE` is a driver instead: it makes a cluster, writes the host's pid of its first node and its state directory
//! into FILE, and holds it for half a minute. The tests kill it, to see that nothing is left.
#![allow(clippy::disallowed_methods, reason = "a test bed, not an agent")]

use ringfence_tests::cluster::{Cluster, ClusterError, NodeProgram, node_program};
use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    match args.as_slice() {
        [word, file] if word == "hold" => match hold(file) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                let _ = writeln!(std::io::stderr(), "hold: {error}");
                ExitCode::FAILURE
            }
        },
        _ => node_program::main(&args),
    }
}

fn hold(file: &OsString) -> Result<(), ClusterError> {
    let note = |error| ClusterError::Io(format!("write {}", file.display()), error);
    let program = std::env::current_exe().map_err(note)?;
    let cluster =
        Cluster::builder(NodeProgram::new(program)).nodes(2).lifetime(Duration::from_secs(60)).up()?;
    std::fs::write(file, format!("{} {}\n", cluster.node_pid(1)?, cluster.dir().display())).map_err(note)?;
    std::thread::sleep(Duration::from_secs(30));
    Ok(())
}
