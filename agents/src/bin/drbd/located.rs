//! Where the cluster thinks that the resource is promoted.

use ocf_lib::cmd::Cmd;
use ocf_lib::deadline::Deadline;
use ocf_lib::resource::prelude::*;
use std::time::Duration;

/// A cluster that is busy with an election does not answer; a monitor must not wait for it.
const LIMIT: Duration = Duration::from_secs(5);

/// Nodes with a promoted instance, as `crm_resource --locate` says.
pub fn promoted_nodes(cx: &Cx) -> Result<Vec<String>, Fault> {
    let id = cx.instance().split(':').next().unwrap_or_default();
    let cmd = Cmd::new("crm_resource").args(["--resource", id, "--locate"]);
    let limit = (cx.left_or(LIMIT * 2) / 2).min(LIMIT);
    cx.run_checked_until(&cmd, Deadline::after(limit)).map(|said| parse(&said.stdout_text()))
}

/// `resource drbd is running on: n1 Master`; since Pacemaker 2.1 the word is `Promoted`. Unpromoted instances have no word.
fn parse(text: &str) -> Vec<String> {
    let promoted = |line: &str| {
        let (_, tail) = line.split_once(" is running on: ")?;
        let mut words = tail.split_whitespace();
        let node = words.next()?.to_owned();
        words.any(|word| matches!(word, "Master" | "Promoted")).then_some(node)
    };
    text.lines().filter_map(promoted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_words_are_understood_and_nothing_else() {
        let old = "resource ms is running on: n1 Master\nresource ms is running on: n2 \n";
        assert_eq!(parse(old), ["n1"]);
        let new = "resource drbd-clone is running on: n1 \nresource drbd-clone is running on: n2 Promoted\n";
        assert_eq!(parse(new), ["n2"]);
        assert!(parse("resource drbd is NOT running\n").is_empty());
        assert!(parse("resource drbd is running on: Master\n").is_empty());
        assert!(parse("resource drbd is running on: n1 Unpromoted\n").is_empty());
    }
}
