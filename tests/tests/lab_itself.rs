//! The lab's own promises.
#![cfg(feature = "lab")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test's helper functions are tests too")]

use ringfence_tests::lab::{Disks, Lab, Needs};

#[test]
fn a_command_in_a_guest_has_its_code_and_both_streams() {
    let lab = Lab::open(&Needs::of("a_command_in_a_guest_has_its_code_and_both_streams")).unwrap();
    let [guest] = lab.guests(["n1"], &Disks::none()).unwrap();
    let ran = guest.run("hostname; uname -s >&2; exit 7").unwrap();
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (7, "n1\n", "Linux\n"));
}
