//! The schemas and checkers that Debian installs, asked through xmllint.

use std::io::Write as _;
use std::process::{Command, Stdio};

pub const XMLLINT: (&str, &str) = ("xmllint", "libxml2-utils");
pub const RESOURCE_AGENTS_RNG: &str = "/usr/share/resource-agents/metadata.rng";
pub const RESOURCE_AGENTS_DTD: &str = "/usr/share/resource-agents/ra-api-1.dtd";
pub const PCS_OCF_10: &str = "/usr/share/pcs/data/ocf-1.0.rng";
pub const PCS_OCF_11: &str = "/usr/share/pcs/data/ocf-1.1.rng";
pub const FENCE_AGENTS_RNG: &str = "/usr/share/cluster/relaxng/metadata.rng";

/// The DTD that the document names, which lies beside resource-agents' schema.
pub fn valid_by_dtd(who: &str, xml: &str) {
    lint(who, xml, &["--valid"]);
}

pub fn valid_by_schema(who: &str, xml: &str, schema: &str) {
    lint(who, xml, &["--relaxng", schema]);
}

fn lint(who: &str, xml: &str, how: &[&str]) {
    let mut child = Command::new("xmllint")
        .args(["--noout", "--nonet"])
        .args(how)
        .arg("-")
        .current_dir("/usr/share/resource-agents")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(xml.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{who}, {how:?}: {said}\n{xml}");
    assert!(said.lines().all(|line| line == "- validates"), "{who}, {how:?}: {said}");
}

#[test]
fn a_wrong_document_is_refused() {
    if !super::can("a_wrong_document_is_refused", &[XMLLINT, (PCS_OCF_11, "pcs")]) {
        return;
    }
    let refused = std::panic::catch_unwind(|| valid_by_schema("x", "<resource-agent/>", PCS_OCF_11));
    assert!(refused.is_err());
}
