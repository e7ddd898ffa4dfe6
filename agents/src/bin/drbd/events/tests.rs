use super::*;

macro_rules! recording {
    ($name:literal) => {
        include_str!(concat!("../../../../../tests/fixtures/drbd/", $name, ".txt"))
    };
}

/// Role, own disk, the peer's connection, role and disk.
fn seen(text: &str) -> (Role, Disk, String, Role, Disk) {
    let resource = parse(text, "r0").unwrap().unwrap();
    let (device, peer) = (&resource.devices[0], &resource.connections[0]);
    assert_eq!((resource.devices.len(), resource.connections.len(), device.minor), (1, 1, 0));
    assert!(device.quorum && !device.client);
    (resource.role, device.disk.clone(), peer.state.clone(), peer.role, peer.disks[0].clone())
}

#[test]
fn every_recording_is_understood() {
    use Disk::{Diskless, Inconsistent, Outdated, UpToDate};
    use Role::{Primary, Secondary, Unknown};
    let all = [
        (recording!("n1-02-up-WFConnection"), Secondary, Inconsistent, "Connecting", Unknown, Disk::Unknown),
        (
            recording!("n1-03-connected-inconsistent"),
            Secondary,
            Inconsistent,
            "Connected",
            Secondary,
            Inconsistent,
        ),
        (recording!("n1-04-SyncSource"), Primary, UpToDate, "Connected", Secondary, Inconsistent),
        (recording!("n1-05-UpToDate-Connected"), Primary, UpToDate, "Connected", Secondary, UpToDate),
        (recording!("n1-10-split-brain-StandAlone"), Primary, UpToDate, "StandAlone", Unknown, Disk::Unknown),
        (recording!("n1-11-sb-resolved"), Primary, UpToDate, "Connected", Secondary, UpToDate),
        (recording!("n1-12-peer-Diskless"), Primary, UpToDate, "Connected", Secondary, Diskless),
        (recording!("n1-17-primary-diskless"), Primary, UpToDate, "Connected", Secondary, Inconsistent),
        (recording!("n2-04-SyncTarget"), Secondary, Inconsistent, "Connected", Primary, UpToDate),
        (recording!("n2-05-UpToDate-Connected"), Secondary, UpToDate, "Connected", Primary, UpToDate),
        (recording!("n2-10-split-brain"), Primary, UpToDate, "StandAlone", Unknown, Disk::Unknown),
        (recording!("n2-12-Diskless-secondary"), Secondary, Diskless, "Connected", Primary, UpToDate),
        (recording!("n2-14-StandAlone-Outdated"), Secondary, Outdated, "StandAlone", Unknown, Disk::Unknown),
        (recording!("n2-18-peer-down"), Secondary, Inconsistent, "Connecting", Unknown, Disk::Unknown),
    ];
    for (text, role, disk, state, peer_role, peer_disk) in all {
        assert_eq!(seen(text), (role, disk, state.to_owned(), peer_role, peer_disk), "{text}");
    }
}

#[test]
fn what_is_not_there_is_none() {
    assert_eq!(parse(recording!("n1-00-loaded-unconfigured-no-metadata"), "r0"), Ok(None));
    assert_eq!(parse(recording!("n1-18-down-Unconfigured"), "r0"), Ok(None));
    assert_eq!(parse(recording!("n1-05-UpToDate-Connected"), "r"), Ok(None));
}

#[test]
fn a_forgotten_name_of_a_peer_is_its_number() {
    let resource = parse(recording!("n1-10-split-brain-StandAlone"), "r0").unwrap().unwrap();
    assert!(resource.connections[0].stands_alone() && resource.connections[0].peer == "peer 0");
}

#[test]
fn nine_has_more_peers_volumes_keys_and_kinds() {
    let resource = parse(recording!("nine"), "r0").unwrap().unwrap();
    let devices: Vec<_> = resource.devices.iter().map(|d| (d.minor, d.client, d.quorum)).collect();
    assert_eq!(devices, [(1000, true, true), (1001, false, false)]);
    assert_eq!(resource.connections[0].disks, [Disk::UpToDate, Disk::UpToDate]);
    assert!(resource.connections[0].all_up_to_date() && !resource.connections[1].all_up_to_date());
}

#[test]
fn half_an_answer_is_none() {
    let whole = recording!("n1-05-UpToDate-Connected");
    for (end, _) in whole.match_indices('\n').filter(|(end, _)| *end + 1 < whole.len()) {
        assert!(parse(&whole[..end], "r0").is_err(), "{}", &whole[..end]);
    }
    assert!(parse("", "r0").is_err());
}

#[test]
fn what_is_wrong_is_told() {
    for wrong in [
        "create resource name:r0 role:Primary\nexists -",
        "exists resource name:r0 role:Master\nexists -",
        "exists resource name:r0\nexists -",
        "exists resource\nexists -",
        "exists\nexists -",
        "exists device name:r0 minor:0 disk:UpToDate\nexists -",
        "exists resource name:r0 role:Primary\nexists device name:r0 minor:x disk:UpToDate\nexists -",
        "exists resource name:r0 role:Primary\nexists peer-device name:r0 peer-node-id:3 peer-disk:UpToDate\nexists -",
    ] {
        assert!(parse(wrong, "r0").is_err(), "{wrong}");
    }
}
