//! What drbdadm and drbdsetup say when they fail.

use ocf_lib::cmd::Output;
use ocf_lib::resource::prelude::*;

/// The kernel's words. drbdadm's own last line only repeats the command (`Command 'drbdsetup-84 ...' terminated with exit code 11`).
pub fn said(output: &Output) -> String {
    let text = output.stderr_text() + &output.stdout_text();
    let words: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| {
            !line.is_empty() && !line.starts_with("Command '") && *line != "additional info from kernel:"
        })
        .take(3)
        .collect();
    if words.is_empty() { format!("it {} and said nothing", output.how_it_ended()) } else { words.join(", ") }
}

/// A failure to bring it up.
pub fn adjust_fault(name: &str, words: &str) -> Fault {
    let missing = words.to_lowercase();
    let hint = if missing.contains("no valid meta") {
        format!("; make its metadata once, on this node: drbdadm create-md {name}")
    } else {
        String::new()
    };
    Fault::generic(format!("{name} does not come up: {words}{hint}"))
}
