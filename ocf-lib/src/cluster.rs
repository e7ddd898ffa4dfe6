//! What an agent tells and asks the cluster: promotion scores, node attributes, notifications.
//!
//! Every call is a child with a deadline of its own, shorter than the action's: a busy attribute
//! daemon must not turn a monitor into a timeout.

use crate::cmd::Cmd;
use crate::code::Fault;
use crate::context::Cx;
use crate::deadline::Deadline;
use std::time::Duration;

/// At most this long for one call to the cluster, and at most half of what is left of the action.
const CALL_LIMIT: Duration = Duration::from_secs(5);

fn bounded(cx: &Cx, cmd: &Cmd) -> Result<String, Fault> {
    let limit = (cx.left_or(CALL_LIMIT * 2) / 2).min(CALL_LIMIT);
    let output = cx.run_until(cmd, Deadline::after(limit))?;
    if output.success() {
        return Ok(output.stdout_text());
    }
    let name = cmd.program().to_string_lossy();
    Err(Fault::generic(format!("{name} {}: {}", output.how_it_ended(), output.complaint())))
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

/// The cluster's promotion score of this instance on this node (`crm_attribute --promotion`), for its
/// next reboot only. Higher is likelier to be promoted; none at all never is.
pub fn set_promotion_score(cx: &Cx, score: i32) -> Result<(), Fault> {
    bounded(cx, &promotion(cx).args(["-v", &score.to_string()])).map(drop)
}

/// Takes the score away: this node is not to be promoted. To be called when stopped.
pub fn delete_promotion_score(cx: &Cx) -> Result<(), Fault> {
    bounded(cx, &promotion(cx).arg("-D")).map(drop)
}

fn promotion(cx: &Cx) -> Cmd {
    let attribute = format!("master-{}", cx.instance().split(':').next().unwrap_or_default());
    Cmd::new("crm_attribute").args(["-N", &node_name(cx), "-n", &attribute, "-l", "reboot", "-Q"])
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
    use crate::agent::Verb;
    use crate::testkit::Bench;

    #[test]
    fn the_score_goes_to_the_instance_without_its_number_on_the_right_node() {
        let bench = Bench::new("Stateful", Verb::Start)
            .set("OCF_RESOURCE_INSTANCE", "p1:2")
            .set("OCF_RESKEY_CRM_meta_on_node", "n1")
            .answer("crm_attribute", 0, "", "");
        let commands = bench.commands();
        let cx = bench.into_cx();
        set_promotion_score(&cx, 10).unwrap();
        assert_eq!(commands.borrow()[0], "crm_attribute -N n1 -n master-p1 -l reboot -Q -v 10");
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
    fn a_failing_call_quotes_the_tool() {
        let cx = Bench::new("Stateful", Verb::Start)
            .answer("crm_attribute", 102, "", "Error performing operation: Not connected\n")
            .into_cx();
        let fault = delete_promotion_score(&cx).unwrap_err();
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
