//! What tgtd says of its targets (`tgtadm --op show --mode target`), line by line: indentation tells what belongs to what.

/// One target and all that hangs on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    pub id: u32,
    pub name: String,
    /// `ready` or `offline`.
    pub state: String,
    pub sessions: Vec<Session>,
    pub luns: Vec<Lun>,
    /// Users whose password an initiator must know.
    pub accounts: Vec<String>,
    /// Addresses, networks and names that may log in; `ALL`.
    pub acl: Vec<String>,
}

/// An initiator that is logged in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    pub id: u64,
    pub initiator: String,
    pub connections: Vec<u32>,
}

/// A logical unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lun {
    pub number: u64,
    pub scsi_id: String,
    pub scsi_sn: String,
    pub online: bool,
    /// `None`: it has none (the controller, LUN 0).
    pub path: Option<String>,
    /// Its size as tgtd tells it: in millions of bytes, to the nearest.
    pub megabytes: u64,
    /// The kind of its backing store: `rdwr`.
    pub store: String,
}

impl Target {
    pub fn lun(&self, number: u64) -> Option<&Lun> {
        self.luns.iter().find(|lun| lun.number == number)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    System,
    Sessions,
    Luns,
    Accounts,
    Acl,
}

/// All targets of a listing, or what in it cannot be understood.
pub fn parse(text: &str) -> Result<Vec<Target>, String> {
    let mut targets: Vec<Target> = Vec::new();
    let mut section = Section::System;
    for line in text.lines() {
        let strange = || format!("cannot understand the listing of tgtd: '{line}'");
        let content = line.trim_start_matches(' ');
        let depth = line.len() - content.len();
        if content.is_empty() {
            continue;
        }
        if depth == 0 {
            let (id, name) =
                content.strip_prefix("Target ").and_then(|rest| rest.split_once(": ")).ok_or_else(strange)?;
            let id = id.parse().map_err(|_| strange())?;
            targets.push(Target { id, name: name.to_owned(), ..Target::default() });
            section = Section::System;
            continue;
        }
        let target = targets.last_mut().ok_or_else(strange)?;
        if depth == 4 {
            section = match content {
                "System information:" => Section::System,
                "I_T nexus information:" => Section::Sessions,
                "LUN information:" => Section::Luns,
                "Account information:" => Section::Accounts,
                "ACL information:" => Section::Acl,
                _ => return Err(strange()),
            };
            continue;
        }
        let (name, value) =
            content.split_once(':').map_or((content, ""), |(name, value)| (name, value.trim()));
        match section {
            Section::System if name == "State" => value.clone_into(&mut target.state),
            Section::Sessions => session(target, name, value).ok_or_else(strange)?,
            Section::Luns => lun(target, name, value).ok_or_else(strange)?,
            // One that the target itself logs in with is not what initiators must know.
            Section::Accounts if !content.ends_with(" (outgoing)") => {
                target.accounts.push(content.to_owned());
            }
            Section::System | Section::Accounts => {}
            Section::Acl => target.acl.push(content.to_owned()),
        }
    }
    Ok(targets)
}

fn session(target: &mut Target, name: &str, value: &str) -> Option<()> {
    match name {
        "I_T nexus" => target.sessions.push(Session { id: value.parse().ok()?, ..Session::default() }),
        "Connection" => target.sessions.last_mut()?.connections.push(value.parse().ok()?),
        "Initiator" => {
            let name = value.split_once(" alias:").map_or(value, |(name, _)| name);
            name.clone_into(&mut target.sessions.last_mut()?.initiator);
        }
        _ => {}
    }
    Some(())
}

fn lun(target: &mut Target, name: &str, value: &str) -> Option<()> {
    if name == "LUN" {
        target.luns.push(Lun { number: value.parse().ok()?, ..Lun::default() });
        return Some(());
    }
    let lun = target.luns.last_mut()?;
    match name {
        "SCSI ID" => value.clone_into(&mut lun.scsi_id),
        "SCSI SN" => value.clone_into(&mut lun.scsi_sn),
        "Online" => lun.online = value == "Yes",
        "Size" => {
            let digits = value.split_once(" MB").map_or("", |(digits, _)| digits);
            lun.megabytes = digits.parse().unwrap_or(0);
        }
        "Backing store type" => value.clone_into(&mut lun.store),
        "Backing store path" => lun.path = (value != "None").then(|| value.to_owned()),
        _ => {}
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! recording {
        ($name:literal) => {
            parse(include_str!(concat!("../../../../tests/fixtures/tgt/", $name))).unwrap()
        };
    }

    #[test]
    fn a_target_with_one_lun() {
        let targets = recording!("target-show-one-lun-no-sessions.txt");
        let [target] = targets.as_slice() else { panic!("{targets:?}") };
        assert_eq!(
            (target.id, target.name.as_str(), target.state.as_str()),
            (1, "iqn.2026-01.lab:tgt0", "ready")
        );
        let lun = target.lun(1).unwrap();
        assert_eq!((lun.scsi_id.as_str(), lun.scsi_sn.as_str(), lun.online), ("labscsi0001", "SN0001", true));
        assert_eq!(lun.path.as_deref(), Some("$LAB/tgt0.img"));
        assert_eq!((lun.megabytes, lun.store.as_str()), (268, "rdwr"));
        assert_eq!(target.lun(0).unwrap().path, None);
        assert_eq!((target.sessions.len(), target.acl.as_slice()), (0, &["ALL".to_owned()][..]));
        assert!(target.lun(2).is_none());
    }

    #[test]
    fn sessions_and_their_connections() {
        let target = recording!("target-show-two-sessions-open-iscsi.txt").remove(0);
        let seen: Vec<_> = target
            .sessions
            .iter()
            .map(|session| (session.id, session.initiator.as_str(), session.connections.as_slice()))
            .collect();
        assert_eq!(seen, [(7, "iqn.2026-01.lab:n1", &[0u32][..]), (8, "iqn.2026-01.lab:n2", &[0u32][..])]);
        let one = recording!("target-show-one-session-libiscsi.txt").remove(0);
        assert_eq!(one.sessions[0].initiator, "iqn.2026-01.lab:hold1");
    }

    #[test]
    fn several_targets_accounts_and_rules() {
        let targets = recording!("target-show-two-targets-acl-account.txt");
        let [one, two] = targets.as_slice() else { panic!("{targets:?}") };
        assert_eq!((one.acl.len(), one.accounts.len(), two.state.as_str()), (1, 0, "offline"));
        assert_eq!(two.acl, ["10.0.0.0/24", "192.0.2.7", "iqn.2026-01.lab:n1"]);
        assert_eq!(two.accounts, ["u1"]);
        assert_eq!(two.luns.iter().map(|lun| lun.number).collect::<Vec<_>>(), [0, 1, 7]);
    }

    #[test]
    fn an_outgoing_account_is_not_asked_of_initiators() {
        let text = "Target 1: t\n    Account information:\n        u1\n        u2 (outgoing)\n";
        assert_eq!(parse(text).unwrap()[0].accounts, ["u1"]);
    }

    #[test]
    fn nothing_is_no_target_and_nonsense_is_an_error() {
        assert_eq!(parse(""), Ok(Vec::new()));
        for text in ["x", "Target a: b", "    System information:", "Target 1: t\n    Something else:\n"] {
            assert!(parse(text).unwrap_err().contains("cannot understand"), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_makes_it_panic(text in "(Target 1: t\n|    LUN information:\n|        LUN: [0-9]?\n|[ -~]*\n)*") {
            let _ = parse(&text);
        }
    }
}
