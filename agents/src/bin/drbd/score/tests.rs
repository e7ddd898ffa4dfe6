use super::*;
use crate::events::parse;

fn of(ours: &str, role: &str, peers: &[&str]) -> Score {
    let line = |(id, disk): (usize, &&str)| {
        let connection = if *disk == "DUnknown" { "Connecting" } else { "Connected" };
        format!(
            "exists connection name:r peer-node-id:{id} connection:{connection} role:Secondary\n\
             exists peer-device name:r peer-node-id:{id} volume:0 peer-disk:{disk}\n"
        )
    };
    let own = format!("exists resource name:r role:{role}\nexists device name:r minor:0 {ours}\n");
    let text = std::iter::once(own).chain(peers.iter().enumerate().map(line)).collect::<String>();
    let steps = Steps::from_param("1 10 1000 10000").unwrap();
    score(&parse(&(text + "exists -\n"), "r").unwrap().unwrap(), steps)
}

#[test]
fn each_rule_gives_its_step() {
    use Score::{Keep, Never, Of};
    let rules: [(&str, &str, &[&str], Score); 16] = [
        ("disk:UpToDate", "Primary", &["DUnknown"], Of(10000)),
        ("disk:UpToDate", "Secondary", &["UpToDate"], Of(10000)),
        ("disk:UpToDate", "Secondary", &["Inconsistent"], Of(10000)),
        ("disk:UpToDate", "Secondary", &["UpToDate", "DUnknown"], Of(1000)),
        ("disk:UpToDate", "Secondary", &[], Of(1000)),
        ("disk:UpToDate quorum:no", "Secondary", &["UpToDate"], Never),
        ("disk:Inconsistent", "Secondary", &["UpToDate"], Of(10)),
        ("disk:Inconsistent", "Secondary", &["DUnknown"], Never),
        ("disk:Outdated", "Secondary", &["DUnknown"], Never),
        ("disk:Attaching", "Secondary", &["DUnknown"], Keep),
        ("disk:Negotiating", "Secondary", &[], Keep),
        ("disk:Consistent", "Secondary", &["DUnknown"], Of(1)),
        ("disk:Diskless", "Primary", &["UpToDate", "DUnknown"], Of(9999)),
        ("disk:Diskless", "Secondary", &["UpToDate", "UpToDate"], Of(9999)),
        ("disk:Diskless", "Secondary", &["UpToDate", "DUnknown"], Of(999)),
        ("disk:Diskless", "Secondary", &["DUnknown"], Never),
    ];
    for (ours, role, peers, wanted) in rules {
        assert_eq!(of(ours, role, peers), wanted, "{role} {ours} {peers:?}");
    }
}

#[test]
fn a_score_of_zero_is_none() {
    let text =
        "exists resource name:r role:Secondary\nexists device name:r minor:0 disk:Consistent\nexists -\n";
    let resource = parse(text, "r").unwrap().unwrap();
    assert_eq!(score(&resource, Steps::from_param("0 10 1000 10000").unwrap()), Score::Never);
    assert_eq!(score(&resource, Steps::from_param("-5 10 1000 10000").unwrap()), Score::Never);
}

#[test]
fn a_list_that_is_none_is_replaced_by_the_default() {
    let default = Steps { consistent: 0, remote: 10, alone: 1000, full: 10000, as_given: false };
    for wrong in ["", "1 2 3", "1 2 3 4 5", "4 3 2 1", "a b c d", "1 2 3 x"] {
        assert_eq!(Steps::from_param(wrong).unwrap(), default, "{wrong}");
    }
    assert!(Steps::from_param("5 5 5 5").unwrap().as_given);
}
