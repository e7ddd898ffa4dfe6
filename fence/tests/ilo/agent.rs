//! A simulated device, and the program before it.

use std::path::Path;

use ringfence_tests::sim::ribcl::{Generation, Quirks, Ribcl, Settings};

pub use super::ran::Run;
use super::ran::run;

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_fence_ilo");

/// A device and the folder in which it keeps its power.
pub struct Bed {
    pub sim: Ribcl,
    pub folder: tempfile::TempDir,
}

pub fn bed(generation: Generation) -> Bed {
    with(generation, true, Quirks::default())
}

pub fn with(generation: Generation, on: bool, quirks: Quirks) -> Bed {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { on, quirks, ..Settings::new(generation, folder.path()) };
    Bed { sim: Ribcl::start(settings).unwrap(), folder }
}

impl Bed {
    /// Address, user, password and the certificate's fingerprint, quick: `lines` follow and win.
    pub fn options(&self, lines: &str) -> String {
        let address = self.sim.address();
        format!(
            "ip={}\nipport={}\nusername=admin\npassword=s3cret1\nssl_fingerprint={}\nlogin_timeout=5\n\
             stonith_status_sleep=0\npower_timeout=5\n{lines}\n",
            address.ip(),
            address.port(),
            self.sim.fingerprint()
        )
    }

    pub fn given(&self, lines: &str) -> Run {
        given(&self.options(lines))
    }
}

/// The program, options on standard input.
pub fn given(stdin: &str) -> Run {
    run(Path::new(PROGRAM), &[], stdin)
}

/// The program, options on the command line.
pub fn called(args: &[&str]) -> Run {
    run(Path::new(PROGRAM), args, "")
}
