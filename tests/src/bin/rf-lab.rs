//! `rf-lab hold FILE` is a driver of a lab: it opens one with two guests, writes its folder into FILE, and holds it for a minute.
//! The tests kill it, to see that nothing is left.
#![allow(clippy::disallowed_methods, reason = "a test bed, not an agent")]

use ringfence_tests::lab::{Disks, Lab, LabError, Needs};
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["hold", file] => hold(Path::new(file)),
        _ => Err(LabError::Refused("usage: rf-lab hold FILE".to_owned())),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            let _ = writeln!(std::io::stderr(), "rf-lab: {why}");
            ExitCode::FAILURE
        }
    }
}

fn hold(file: &Path) -> Result<(), LabError> {
    let lab = Lab::open(&Needs::of("rf-lab-hold"))?;
    let _guests = lab.guests(["n1", "n2"], &Disks::none())?;
    let text = format!("{}\n", lab.folder().display());
    std::fs::write(file, text).map_err(|why| LabError::Io("write the note".to_owned(), why))?;
    std::thread::sleep(Duration::from_secs(60));
    Ok(())
}
