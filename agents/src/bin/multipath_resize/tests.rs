use super::*;
use ocf_lib::resource::testkit::Bench;
use std::path::Path;

fn call(verb: Verb, dir: &Path, more: &[(&str, &str)]) -> (u8, String, Vec<String>) {
    let bench = Bench::new("multipath-resize", verb)
        .recurring()
        .param("device", "/nonexistent/disk")
        .param("state", dir.join("state").to_str().unwrap())
        .set("HA_RSCTMP", dir.to_str().unwrap());
    let bench = more.iter().fold(bench, |bench, (name, value)| bench.param(name, value));
    let commands = bench.commands();
    let verdict = bench.perform::<Resize>();
    let told = commands.borrow().clone();
    (verdict.code.number(), verdict.reason.unwrap_or_default(), told)
}

#[test]
fn a_disk_that_is_not_there_fails_a_start_and_no_monitor() {
    let dir = tempfile::tempdir().unwrap();
    let run = |verb, more: &[(&str, &str)]| call(verb, dir.path(), more);
    assert_eq!(run(Verb::Monitor, &[]).0, 7);
    let (code, why, _) = run(Verb::Start, &[]);
    assert!(code == 2 && why.contains("cannot find /nonexistent/disk"), "{code} {why}");
    assert_eq!(run(Verb::Monitor, &[]).0, 7);
    // It vanished while this was running.
    std::fs::write(dir.path().join("state"), "").unwrap();
    assert_eq!(run(Verb::Monitor, &[]).0, 0);
    let (code, why, ran) = run(Verb::Monitor, &[("report_mismatch", "true"), ("auto", "true")]);
    assert_eq!((code, ran.len()), (190, 0));
    assert!(why.contains("cannot find /nonexistent/disk"), "{why}");
    assert_eq!(run(Verb::Stop, &[]).0, 0);
    assert_eq!(run(Verb::Monitor, &[]).0, 7);
}

#[test]
fn a_relative_device_is_wrong_everywhere_and_stop_does_not_care() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(call(Verb::ValidateAll, dir.path(), &[("device", "sda")]).0, 6);
    assert_eq!(call(Verb::Stop, dir.path(), &[("device", "sda")]).0, 0);
}
