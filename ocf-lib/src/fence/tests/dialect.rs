//! The `external` plugin dialect.

use super::super::Power;
use super::fake::*;

const CONFIG: [(&str, &str); 5] =
    [("hostname", "Node1"), ("ipaddr", "bmc"), ("userid", "u"), ("passwd", "p"), ("interface", "lanplus")];

fn plugin(lab: Lab, words: &[&'static str], env: &[(&'static str, &'static str)]) -> Ran {
    let mut argv = vec!["/usr/lib/stonith/plugins/external/fake"];
    argv.extend(words);
    run::<false>(lab, Caller { argv, stdin: Vec::new(), env: env.to_vec() })
}

#[test]
fn information_needs_no_configuration() {
    for (op, out) in [
        ("getconfignames", "hostname\nipaddr\nuserid\npasswd\ninterface\n"),
        ("getinfo-devid", "Fake device\n"),
        ("getinfo-devname", "Fake device\n"),
        ("getinfo-devdescr", "A device that is not there.\n"),
        ("getinfo-devurl", "http://example.com/\n"),
    ] {
        let ran = plugin(lab(&[]), &[op], &[]);
        assert_eq!((ran.status, ran.out.as_str()), (0, out), "{op}");
    }
    let xml = plugin(lab(&[]), &["getinfo-xml"], &[]).out;
    assert!(xml.starts_with("<parameters>") && xml.contains("name=\"userid\"") && xml.contains("<longdesc"));
    assert!(!xml.contains("passwd_method"));
}

#[test]
fn hosts_come_from_the_configuration() {
    assert_eq!(plugin(lab(&[]), &["gethosts"], &CONFIG).out, "Node1\n");
    assert_eq!(plugin(lab(&[]), &["gethosts"], &[("hostname", "a,b c")]).out, "a\nb\nc\n");
    assert_eq!(plugin(lab(&[]), &["gethosts"], &[]).status, 1);
}

#[test]
fn power_operations_are_verified_and_for_our_hosts_only() {
    let ran = plugin(node(Power::On), &["off", "node1"], &CONFIG);
    assert_eq!((ran.status, ran.out.as_str()), (0, "Success: Powered OFF\n"), "{}", ran.err);
    assert!(ran.said("ip=bmc") && ran.said("lanplus=true") && ran.said("login=u"));
    let ran = plugin(node(Power::On), &["reset", "node1"], &CONFIG);
    assert_eq!(ran.status, 0);
    assert!(ran.calls.contains(&"set  OFF".to_owned()) && ran.calls.contains(&"set  ON".to_owned()));
    assert_eq!(plugin(node(Power::Off), &["on", "node1"], &CONFIG).status, 0);
    let mut stuck = node(Power::On);
    stuck.plugs.get_mut("").unwrap().stuck = true;
    assert_eq!(plugin(stuck, &["reset", "node1"], &CONFIG).status, 1);
    for words in [&["off", "other"][..], &["off"], &["explode"], &[]] {
        let ran = plugin(node(Power::On), words, &CONFIG);
        assert_eq!(ran.status, 1, "{words:?}");
        assert!(ran.calls.is_empty(), "{words:?}");
    }
}

#[test]
fn status_is_that_of_the_device() {
    assert_eq!(plugin(node(Power::On), &["status"], &CONFIG).status, 0);
    assert_eq!(plugin(node(Power::Off), &["status"], &CONFIG).status, 0);
    assert_eq!(plugin(node(Power::On), &["status"], &CONFIG[..3]).status, 1, "no password");
}

#[test]
fn the_password_may_lie_in_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("secret");
    std::fs::write(&file, "from file\nrest\n").unwrap();
    let path: &'static str = Box::leak(file.to_str().unwrap().to_owned().into_boxed_str());
    let mut env = CONFIG.to_vec();
    env.retain(|(name, _)| *name != "passwd");
    env.extend([("passwd", path), ("passwd_method", "file")]);
    assert!(plugin(node(Power::On), &["status"], &env).said("password=from file"));
    env.extend([("passwd_method", "other")]);
    assert_eq!(plugin(node(Power::On), &["status"], &env).status, 1);
    let mut wrong = CONFIG.to_vec();
    wrong.extend([("interface", "serial")]);
    let ran = plugin(node(Power::On), &["status"], &wrong);
    assert!(ran.err.contains("say lan or lanplus"), "{}", ran.err);
}

#[test]
fn the_plugin_name_alone_is_enough() {
    let ran = run::<false>(
        lab(&[]),
        Caller { argv: vec!["fake", "getinfo-devid"], stdin: Vec::new(), env: Vec::new() },
    );
    assert_eq!(ran.out, "Fake device\n");
}
