//! The one screen of the demonstration, its JSON, and the way into a cluster that was kept.

use ringfence_tests::cluster::address_plan::{SERVICE_ADDRESS, node_name};
use ringfence_tests::cluster::failover::{Failover, Stage};
use ringfence_tests::cluster::stamp::Micros;
use ringfence_tests::cluster::{Fault, Kept};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::time::Duration;

/// One cluster's failover.
pub struct Run {
    /// `ringfence` or `upstream`.
    pub whose: &'static str,
    /// From nothing to everything started.
    pub boot: Duration,
    pub story: Failover,
    /// What was wrong; empty is good.
    pub findings: Vec<String>,
}

/// Colour is for a person at a terminal who did not refuse it (no-color.org).
pub fn colour_wanted() -> bool {
    std::io::stdout().is_terminal() && crate::process::env_value("NO_COLOR").is_none()
}

fn seconds(time: Option<Micros>) -> String {
    time.map_or_else(|| "-".to_owned(), |time| format!("{:.3}", as_seconds(time)))
}

#[allow(clippy::cast_precision_loss, reason = "a few minutes in microseconds are exact in 53 bits")]
fn as_seconds(time: Micros) -> f64 {
    time as f64 / 1e6
}

/// How many times shorter the first run's recovery is than the second's.
fn ratio(runs: &[Run]) -> Option<f64> {
    let [ours, theirs] = runs else { return None };
    let (ours, theirs) = (ours.story.recovery()?, theirs.story.recovery()?);
    (ours > 0).then(|| as_seconds(theirs) / as_seconds(ours))
}

/// The table: a row per stage, for each run the time after the fault and the time since the stage before.
pub fn table(runs: &[Run], nodes: u8, fault: Fault, colour: bool) -> String {
    let (bold, good, bad, plain) =
        if colour { ("\x1b[1m", "\x1b[32m", "\x1b[31m", "\x1b[0m") } else { ("", "", "", "") };
    let mut out = String::new();
    let victim = runs.first().map(|run| node_name(run.story.victim)).unwrap_or_default();
    let _ = writeln!(
        out,
        "\n{bold}{nodes} nodes, {} on {victim}, which has {SERVICE_ADDRESS}{plain}\n",
        fault.name()
    );
    let _ = write!(out, "  {:<24}", "");
    for run in runs {
        let _ = write!(out, "{bold}{:>20}{plain}", run.whose);
    }
    let _ = write!(out, "\n  {:<24}", "seconds");
    for _ in runs {
        let _ = write!(out, "{:>12}{:>8}", "after fault", "step");
    }
    out.push('\n');
    for (index, stage) in Stage::ALL.into_iter().enumerate() {
        let key = matches!(stage, Stage::FencingDecided | Stage::FirstPing);
        let (on, off) = if key { (bold, plain) } else { ("", "") };
        let _ = write!(out, "  {on}{:<24}", stage.label());
        for run in runs {
            let before =
                index.checked_sub(1).and_then(|before| run.story.steps.get(before)).map(|step| step.stage);
            let step = before.and_then(|before| run.story.between(before, stage));
            let step = step.map_or_else(String::new, |time| format!("{:+.3}", as_seconds(time)));
            let _ = write!(out, "{:>12}{step:>8}", seconds(run.story.between(Stage::Fault, stage)));
        }
        let _ = writeln!(out, "{off}");
    }
    let _ = write!(out, "\n  {bold}{:<24}", "decision to first ping");
    for run in runs {
        let _ = write!(out, "{:>12}{:8}", seconds(run.story.recovery()), "");
    }
    if let Some(ratio) = ratio(runs) {
        let (colour, words) = if ratio >= 1.0 {
            (good, format!("{ratio:.1} times shorter"))
        } else {
            (bad, format!("{:.1} times longer", 1.0 / ratio))
        };
        let whose = runs.first().map_or("", |run| run.whose);
        let _ = write!(
            out,
            "{plain}\n  {colour}{words} with {whose}'s agents; detection is corosync's and the same for both"
        );
    }
    let _ = writeln!(out, "{plain}\n");
    for run in runs {
        let survivor = run.story.survivor.map(node_name).unwrap_or_default();
        if run.findings.is_empty() {
            let _ = writeln!(
                out,
                "  {}: {good}clean{plain}: the BMC confirmed before {survivor} took the address; never two owners",
                run.whose
            );
        }
        for finding in &run.findings {
            let _ = writeln!(out, "  {}: {bad}wrong{plain}: {finding}", run.whose);
        }
    }
    out
}

/// The same for a program: seconds after the fault.
pub fn json(runs: &[Run], nodes: u8, fault: Fault, kept: Option<&Kept>) -> String {
    let run = |run: &Run| {
        let after: Map<String, Value> = Stage::ALL
            .into_iter()
            .map(|stage| {
                (stage.key().to_owned(), json!(run.story.between(Stage::Fault, stage).map(as_seconds)))
            })
            .collect();
        json!({
            "agents": run.whose,
            "start_seconds": run.boot.as_secs_f64(),
            "victim": node_name(run.story.victim),
            "survivor": run.story.survivor.map(node_name),
            "seconds_after_fault": after,
            "decision_to_first_ping": run.story.recovery().map(as_seconds),
            "findings": run.findings,
        })
    };
    let runs_json: Vec<Value> = runs.iter().map(run).collect();
    let document = json!({ "nodes": nodes, "fault": fault.name(), "runs": runs_json, "ratio": ratio(runs), "kept": kept });
    format!("{document:#}")
}

/// What to type to look at a kept cluster and to end it.
pub fn how_to_enter(kept: &Kept) -> String {
    let mut out = String::from("\nThe cluster stays up. Enter a node:\n");
    for (name, pid) in &kept.nodes {
        let _ = writeln!(out, "  {name}: nsenter -t {pid} -n -m -p -u -i -- bash -l");
    }
    out.push_str("Inside: `crm_mon -1`, `crm_mon`, `stonith_admin --history '*'`, `stonith_admin --unfence NODE` (power on), `ip addr`, /var/log.\n");
    out.push_str("Take it down: cargo xtask demo --down\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringfence_tests::cluster::failover::Step;

    fn run(whose: &'static str, ping: Micros) -> Run {
        let times = [0, 1_560_000, 3_540_000, 3_600_000, 3_700_000, 3_710_000, 3_720_000, 3_800_000, ping];
        let steps =
            Stage::ALL.into_iter().zip(times).map(|(stage, at)| Step { stage, at: Some(at + 5) }).collect();
        let story = Failover { victim: 1, survivor: Some(2), steps };
        Run { whose, boot: Duration::from_secs(6), story, findings: Vec::new() }
    }

    #[test]
    fn both_timelines_fit_on_one_screen() {
        let text =
            table(&[run("ringfence", 3_900_000), run("upstream", 6_300_000)], 3, Fault::KillCorosync, false);
        assert!(text.lines().count() <= 24, "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        assert!(text.contains("9.0 times shorter"), "{text}");
        assert!(text.contains("first ping answered            3.900  +0.100"), "{text}");
        assert!(!text.contains('\x1b'));
    }

    #[test]
    fn a_finding_is_never_called_clean() {
        let mut bad = run("ringfence", 3_900_000);
        bad.findings.push("n1 and n2 have the address".to_owned());
        let text = table(&[bad], 3, Fault::CutLink, false);
        assert!(text.contains("wrong: n1 and n2") && !text.contains("clean"), "{text}");
    }

    #[test]
    fn the_json_has_every_stage() {
        let text = json(&[run("ringfence", 3_900_000)], 2, Fault::PowerCut, None);
        let value: Value = serde_json::from_str(&text).unwrap();
        let after = &value["runs"][0]["seconds_after_fault"];
        assert_eq!(after.as_object().unwrap().len(), Stage::ALL.len());
        assert_eq!(after["first_ping"], json!(3.9));
        assert_eq!(value["ratio"], Value::Null);
    }

    #[test]
    fn a_kept_cluster_can_be_entered() {
        let kept = Kept { init: 1, started: 2, dir: "/x".into(), nodes: vec![("n2".to_owned(), 77)] };
        assert!(how_to_enter(&kept).contains("nsenter -t 77 "));
    }
}
