//! Every form of report, of a whole run on a small agent.
//!
//! Needs root, as the judge does: without it the tests fail, they do not skip.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test: what goes wrong must end it"
)]

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// The run's exit status and its report.
fn report(form: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let agent = folder.path().join("fence_<odd>");
    let document = "<?xml version='1.0'?><resource-agent name='other' shortdesc='&lt;b&gt;'><parameters/></resource-agent>";
    std::fs::write(&agent, format!("#!/bin/sh\ncat <<'END'\n{document}\nEND\n")).unwrap();
    std::fs::set_permissions(&agent, std::fs::Permissions::from_mode(0o755)).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_ringfence-conformance"))
        .args(["check", "--case", "fence/metadata-", "--format", form])
        .arg(&agent)
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn each_form_tells_the_same_findings() {
    for (form, sign) in [
        ("text", "broken fence/metadata-name"),
        ("tap", "fence/metadata-name\n  ---\n  verdict: broken"),
        ("junit", "name=\"fence/metadata-name\""),
        ("json", "\"case\": \"fence/metadata-name\""),
        ("html", "data-case=\"fence/metadata-name\""),
    ] {
        let (status, text) = report(form);
        assert_eq!(status, Some(1), "{form}: {text}");
        assert!(text.contains(sign), "{form}: {text}");
        if matches!(form, "junit" | "html") {
            assert!(!text.contains("fence_<odd>") && text.contains("fence_&lt;odd&gt;"), "{form} escapes");
        }
    }
}
