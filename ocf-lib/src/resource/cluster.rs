//! What an agent tells and asks the cluster: promotion scores, node attributes, notifications.
//!
//! Every call is a child with a deadline of its own, shorter than the action's: a busy attribute
//! daemon must not turn a monitor into a timeout.

mod history;

pub use history::absent_since;

use crate::cmd::Cmd;
use crate::deadline::Deadline;
use crate::resource::agent::Verb;
use crate::resource::code::Fault;
use crate::resource::context::Cx;
use crate::resource::runfile::RunFile;
use std::time::Duration;

/// At most this long for one call to the cluster, and at most half of what is left of the action.
const CALL_LIMIT: Duration = Duration::from_secs(5);
/// The same for an action that has changed something: nobody tells it again soon, and a score that a stop could not take away
/// stays. Seen on a host so busy that `crm_attribute` needed more than 5 s.
const CALL_LIMIT_OF_A_CHANGE: Duration = Duration::from_secs(30);

fn limit(cx: &Cx) -> Duration {
    let changes = matches!(cx.verb(), Verb::Start | Verb::Stop | Verb::Promote | Verb::Demote);
    let most = if changes { CALL_LIMIT_OF_A_CHANGE } else { CALL_LIMIT };
    (cx.left_or(most * 2) / 2).min(most)
}

fn bounded(cx: &Cx, cmd: &Cmd) -> Result<String, Fault> {
    let limit = limit(cx);
    cx.run_checked_until(cmd, Deadline::after(limit)).map(|output| output.stdout_text())
}

/// The node whose attributes an action is about: the host when the resource's container asks for that
/// (`container-attribute-target=host`), else the node the action is meant for, else this machine.
pub fn node_name(cx: &Cx) -> String {
    let host =
        (cx.meta("container_attribute_target") == Some("host")).then(|| cx.meta("physical_host")).flatten();
    host.or_else(|| cx.meta("on_node")).map_or_else(
        || nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default(),
        str::to_owned,
    )
}

/// How fit an instance is to be promoted, as [`crate::resource::agent::Agent::promotion_score`] answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Score {
    /// What the cluster knows stays as it is.
    Keep,
    /// Must not be promoted: the score is taken away. (A negative one makes Pacemaker move the instance about.)
    Never,
    /// Higher is likelier.
    Of(i32),
}

/// A score that has not changed is not told again for this long. Not for ever: an administrator, or a restart of the
/// attribute daemon, can have taken it away.
const TOLD_AGAIN: Duration = Duration::from_secs(300);

/// Tells the cluster the promotion score of this instance on this node (`crm_attribute --promotion`), until the
/// node's next reboot. `surely`: also if it was told a moment ago.
pub(crate) fn tell_score(cx: &Cx, score: Score, surely: bool) -> Result<(), Fault> {
    let (told, words) = match score {
        Score::Keep => return Ok(()),
        Score::Never => ("none".to_owned(), vec!["-D".to_owned()]),
        Score::Of(score) => (score.to_string(), vec!["-v".to_owned(), score.to_string()]),
    };
    let memory = memory(cx);
    if !surely && memory.age().is_some_and(|age| age < TOLD_AGAIN) && memory.read()?.as_deref() == Some(&told)
    {
        return Ok(());
    }
    bounded(cx, &promotion(cx).args(&words))?;
    // Without it the score is told more often than needed, no more.
    let _ = memory.write(&told);
    Ok(())
}

/// Takes the score of a stopped instance away. Unless `surely`, only one that was told: a look at what does not run, which is
/// what most looks are on most nodes, runs no program.
pub(crate) fn forget_score(cx: &Cx, surely: bool) -> Result<(), Fault> {
    let memory = memory(cx);
    if !surely && memory.age().is_none() {
        return Ok(());
    }
    bounded(cx, &promotion(cx).arg("-D"))?;
    let _ = memory.remove();
    Ok(())
}

/// What was told last.
fn memory(cx: &Cx) -> RunFile {
    RunFile::new(cx.run_dir().join(format!("{}-{}.score", cx.type_name, cx.instance())))
}

fn promotion(cx: &Cx) -> Cmd {
    let attribute = format!("master-{}", cx.instance().split(':').next().unwrap_or_default());
    Cmd::new("crm_attribute").args(["-N", &node_name(cx), "-n", &attribute, "-l", "reboot", "-Q"])
}

/// A node that the cluster knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub name: String,
    /// In the partition of this one at this moment. One that has been lost was fenced before Pacemaker starts anything
    /// in its place.
    pub member: bool,
}

/// The nodes that the cluster knows, past and present (`crm_node -l`). Hosts that it does not know may be alive.
pub fn nodes(cx: &Cx) -> Result<Vec<Node>, Fault> {
    let said = bounded(cx, &Cmd::new("crm_node").arg("-l"))?;
    // `1 n1 member`, `2 n2 lost`; before Pacemaker 1.1.19 without the last word, when all that are listed are members.
    let node = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        let name = words.next()?.to_owned();
        Some(Node { name, member: words.next().is_none_or(|state| state == "member") })
    };
    Ok(said.lines().filter_map(node).collect())
}

/// A transient node attribute through `attrd_updater`; `dampen` delays and joins the writes.
pub fn set_node_attribute(cx: &Cx, name: &str, value: &str, dampen: Option<Duration>) -> Result<(), Fault> {
    let mut cmd = Cmd::new("attrd_updater").args(["-n", name, "-N", &node_name(cx), "-U", value]);
    if let Some(dampen) = dampen {
        cmd = cmd.args(["-d", &format!("{}s", dampen.as_secs())]);
    }
    bounded(cx, &cmd).map(drop)
}

pub fn delete_node_attribute(cx: &Cx, name: &str) -> Result<(), Fault> {
    bounded(cx, &Cmd::new("attrd_updater").args(["-n", name, "-N", &node_name(cx), "-D"])).map(drop)
}

/// Before or after the operation that a notification is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    Pre,
    Post,
}

/// A clone notification, as Pacemaker exports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    pub when: When,
    /// `start`, `stop`, `promote` or `demote`.
    pub operation: String,
    pub start: Vec<Member>,
    pub stop: Vec<Member>,
    pub active: Vec<Member>,
    pub promote: Vec<Member>,
    pub demote: Vec<Member>,
    pub promoted: Vec<Member>,
    pub unpromoted: Vec<Member>,
    /// Instances that run nowhere.
    pub inactive: Vec<String>,
    /// Nodes where instances may run.
    pub available: Vec<String>,
}

/// A clone instance and its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub resource: String,
    pub node: String,
}

impl Notification {
    /// The notification of this call; `None` when it is none (probes get none).
    pub fn from_cx(cx: &Cx) -> Option<Self> {
        let when = match cx.meta("notify_type")? {
            "pre" => When::Pre,
            "post" => When::Post,
            _ => return None,
        };
        // Old and new role names are both exported, by version: either will do.
        let members = |names: &[&str]| {
            names
                .iter()
                .map(|name| {
                    words(cx, &format!("notify_{name}_resource"))
                        .into_iter()
                        .zip(words(cx, &format!("notify_{name}_uname")))
                        .map(|(resource, node)| Member { resource, node })
                        .collect::<Vec<_>>()
                })
                .find(|list| !list.is_empty())
                .unwrap_or_default()
        };
        Some(Self {
            when,
            operation: cx.meta("notify_operation")?.to_owned(),
            start: members(&["start"]),
            stop: members(&["stop"]),
            active: members(&["active"]),
            promote: members(&["promote"]),
            demote: members(&["demote"]),
            promoted: members(&["promoted", "master"]),
            unpromoted: members(&["unpromoted", "slave"]),
            inactive: words(cx, "notify_inactive_resource"),
            available: words(cx, "notify_available_uname"),
        })
    }
}

/// A list may be unset, empty or a single blank.
fn words(cx: &Cx, name: &str) -> Vec<String> {
    cx.meta(name).unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::testkit::Bench;

    #[test]
    fn what_has_changed_something_has_more_time_to_tell_and_never_more_than_half() {
        let of = |verb, milliseconds| limit(&Bench::new("Stateful", verb).timeout_ms(milliseconds).into_cx());
        for verb in [Verb::Start, Verb::Stop, Verb::Promote, Verb::Demote] {
            assert_eq!(of(verb, 100_000), CALL_LIMIT_OF_A_CHANGE);
            assert!(of(verb, 20_000) <= Duration::from_secs(10));
        }
        assert_eq!([of(Verb::Monitor, 100_000), of(Verb::Notify, 100_000)], [CALL_LIMIT; 2]);
        assert!(of(Verb::Monitor, 6_000) <= Duration::from_secs(3));
    }

    #[test]
    fn the_score_goes_to_the_instance_without_its_number_on_the_right_node() {
        let dir = tempfile::tempdir().unwrap();
        let bench = Bench::new("Stateful", Verb::Start)
            .set("HA_RSCTMP", dir.path().to_str().unwrap())
            .set("OCF_RESOURCE_INSTANCE", "p1:2")
            .set("OCF_RESKEY_CRM_meta_on_node", "n1")
            .answer("crm_attribute", 0, "", "");
        let commands = bench.commands();
        let cx = bench.into_cx();
        tell_score(&cx, Score::Of(10), true).unwrap();
        assert_eq!(commands.borrow()[0], "crm_attribute -N n1 -n master-p1 -l reboot -Q -v 10");
    }

    #[test]
    fn a_score_is_told_when_it_changes_when_asked_for_and_after_a_while() {
        let dir = tempfile::tempdir().unwrap();
        let bench = Bench::new("Stateful", Verb::Monitor).set("HA_RSCTMP", dir.path().to_str().unwrap());
        let bench = (0..6).fold(bench, |bench, _| bench.answer("crm_attribute", 0, "", ""));
        let commands = bench.commands();
        let cx = bench.into_cx();
        let mut asked = 0;
        let mut tells = |score, surely| {
            tell_score(&cx, score, surely).unwrap();
            let more = commands.borrow().len() - asked;
            asked = commands.borrow().len();
            more
        };
        assert_eq!([tells(Score::Of(5), false), tells(Score::Of(5), false)], [1, 0]);
        assert_eq!([tells(Score::Of(5), true), tells(Score::Keep, true)], [1, 0]);
        assert_eq!(
            [tells(Score::Never, false), tells(Score::Never, false), tells(Score::Of(5), false)],
            [1, 0, 1]
        );
        let memory = std::fs::File::options().write(true).open(memory(&cx).path()).unwrap();
        memory.set_modified(std::time::SystemTime::now() - TOLD_AGAIN).unwrap();
        assert_eq!(tells(Score::Of(5), false), 1);
        forget_score(&cx, false).unwrap();
        assert_eq!(commands.borrow().last().map(|command| command.ends_with("-D")), Some(true));
        let asked = commands.borrow().len();
        forget_score(&cx, false).unwrap();
        assert_eq!(commands.borrow().len(), asked, "nothing was told since");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_bundle_that_says_host_gets_its_hosts_attributes() {
        let cx = Bench::new("Stateful", Verb::Start)
            .set("OCF_RESKEY_CRM_meta_on_node", "guest")
            .set("OCF_RESKEY_CRM_meta_physical_host", "metal")
            .set("OCF_RESKEY_CRM_meta_container_attribute_target", "host")
            .into_cx();
        assert_eq!(node_name(&cx), "metal");
    }

    #[test]
    fn nodes_are_members_or_lost() {
        let cx = Bench::new("x", Verb::Start)
            .answer("crm_node", 0, "1 n1 member\n2 n2 lost\n3 n3\n", "")
            .into_cx();
        let nodes: Vec<_> = nodes(&cx).unwrap().into_iter().map(|node| (node.name, node.member)).collect();
        assert_eq!(nodes, [("n1".into(), true), ("n2".into(), false), ("n3".into(), true)]);
    }

    #[test]
    fn a_failing_call_quotes_the_tool() {
        let cx = Bench::new("Stateful", Verb::Start)
            .answer("crm_attribute", 102, "", "Error performing operation: Not connected\n")
            .into_cx();
        let fault = forget_score(&cx, true).unwrap_err();
        assert_eq!(fault.reason(), "crm_attribute exited 102: Error performing operation: Not connected");
    }

    #[test]
    fn notifications_take_old_and_new_role_names_and_blank_lists() {
        let cx = Bench::new("Stateful", Verb::Notify)
            .set("OCF_RESKEY_CRM_meta_notify_type", "post")
            .set("OCF_RESKEY_CRM_meta_notify_operation", "promote")
            .set("OCF_RESKEY_CRM_meta_notify_master_resource", "p:0")
            .set("OCF_RESKEY_CRM_meta_notify_master_uname", "n1")
            .set("OCF_RESKEY_CRM_meta_notify_stop_resource", " ")
            .set("OCF_RESKEY_CRM_meta_notify_stop_uname", " ")
            .into_cx();
        let note = Notification::from_cx(&cx).unwrap();
        assert_eq!((note.when, note.operation.as_str()), (When::Post, "promote"));
        assert_eq!(note.promoted, [Member { resource: "p:0".into(), node: "n1".into() }]);
        assert!(note.stop.is_empty() && note.start.is_empty());
    }

    #[test]
    fn a_probe_has_no_notification() {
        assert!(Notification::from_cx(&Bench::new("Stateful", Verb::Monitor).into_cx()).is_none());
    }
}
