//! Section 7 of the contract: metadata, manual page, usage.

use super::super::{Action, OptionSet, PowerDevice, Table};
use super::fake::*;

fn metadata(name: &'static str, action: &str) -> String {
    let mut caller = stdin(&format!("action={action}"));
    caller.argv = vec![name];
    let ran = run::<false>(lab(&[]), caller);
    assert_eq!((ran.status, ran.err.as_str()), (0, ""));
    assert!(ran.calls.is_empty());
    ran.out
}

#[test]
fn the_metadata_names_itself_as_it_was_called() {
    assert!(metadata("/x/fence_fake", "metadata").contains("<resource-agent name=\"fence_fake\" "));
    let linked = metadata("fence_fake3", "meta-data");
    assert!(linked.contains("<resource-agent name=\"fence_fake3\" "));
    assert!(linked.contains("<content type=\"second\" default=\"4\"/>"), "{linked}");
    assert!(metadata("fence_fake3", "manpage").contains("<resource-agent name=\"fence_fake\" "));
}

#[test]
fn troff_stays_in_the_manual_page() {
    assert!(metadata("fence_fake", "metadata").contains("<longdesc>A fake.\nMore.</longdesc>"));
    assert!(metadata("fence_fake", "manpage").contains("\\fBfake\\fP.\n.P\n"));
}

#[test]
fn old_and_new_names_point_at_each_other() {
    let xml = metadata("fence_fake", "metadata");
    for line in [
        "<parameter name=\"ip\" unique=\"0\" required=\"0\" obsoletes=\"ipaddr\">",
        "<parameter name=\"ipaddr\" unique=\"0\" required=\"0\" deprecated=\"1\">",
        "<parameter name=\"plug\" unique=\"0\" required=\"0\" obsoletes=\"port\">",
        "<getopt mixed=\"-a, --ip=[ip]\"/>",
        "<content type=\"string\" default=\"2\"/>",
        "<action name=\"on\" automatic=\"0\"/>",
    ] {
        assert!(xml.contains(line), "{line}\n{xml}");
    }
    assert!(!xml.contains("\"list\"") && xml.contains("\"diag\""));
    assert!(!xml.contains("name=\"output\""), "an extension is not announced");
}

#[test]
fn every_option_can_be_told_from_every_other() {
    let table = Table::new(Fake::<false>::SPEC, <Fake<false> as PowerDevice>::Options::DEFS, "x");
    assert_eq!(table.clashes(), Vec::<String>::new());
    // -c of SNMP, -P of lanplus and of the privacy password: the check sees it.
    let mut spec = Fake::<true>::SPEC;
    spec.takes = &[super::super::Takes::Snmp];
    let table = Table::new(spec, <Fake<true> as PowerDevice>::Options::DEFS, "x");
    assert_eq!(table.clashes().len(), 1);
    assert!(Action::accepted(&table, "list").is_none());
}

#[test]
fn usage_and_version_check_nothing() {
    let ran = run::<false>(lab(&[]), args(&["-h"]));
    assert_eq!(ran.status, 0);
    assert!(ran.out.starts_with("Usage:\n\tfence_fake [options]\nOptions:\n"), "{}", ran.out);
    assert!(ran.out.contains("   -a, --ip=[ip]"));
    let ran = run::<false>(lab(&[]), args(&["-V"]));
    assert_eq!(ran.out.trim(), env!("CARGO_PKG_VERSION"));
}
