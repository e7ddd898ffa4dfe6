//! What an agent can do beyond start, monitor and stop: held to it as soon as its metadata promises it.

use super::resource_ways::{call, must, need, started};
use crate::call::Call;
use crate::case::{Case, Parameters, Stop, Trial};
use crate::subject::Family;

pub fn cases() -> Vec<Case> {
    let case = |id, about, judge| Case::contract(id, Family::Resource, &["roles"], about, judge);
    vec![
        case(
            "resource/promote-and-demote",
            "promote and demote are idempotent and refuse what is stopped; monitor is 8 after promote and 0 after demote; a promoted \
             resource can be stopped.",
            promote_and_demote,
        ),
        case(
            "resource/notify",
            "notify, where it is declared, is 0 for each of Pacemaker's eight notifications.",
            notify,
        ),
        case(
            "resource/migrate",
            "After migrate_to Pacemaker runs migrate_from on the target and then stop on the source: that stop is 0 and the \
             resource is gone there; after migrate_from it is here.",
            migrate,
        ),
        case(
            "resource/reload",
            "reload and reload-agent, where declared, are 0 for what runs and leave it running.",
            reload,
        ),
    ]
}

fn declared(trial: &Trial<'_>, action: &str) -> Result<(), Stop> {
    if trial.subject.has_action(action) {
        Ok(())
    } else {
        Err(Stop::DoesNotApply(format!("{action} is not declared")))
    }
}

/// As for an instance of a promotable clone, with the old words and the new ones.
fn clone(trial: &Trial<'_>, action: &str, way: &Parameters) -> Call {
    ["clone_max", "promoted_max", "master_max", "clone_node_max", "promoted_node_max", "master_node_max"]
        .iter()
        .fold(call(trial, action, way), |call, name| call.param(&format!("CRM_meta_{name}"), "1"))
        .param("CRM_meta_promotable", "true")
        .param("CRM_meta_clone", "0")
        .param("CRM_meta_notify", "true")
}

fn promote_and_demote(trial: &mut Trial<'_>) -> Result<(), Stop> {
    declared(trial, "promote")?;
    for way in trial.ways {
        let [start, stop, probe, promote, demote] =
            ["start", "stop", "monitor", "promote", "demote"].map(|action| clone(trial, action, way));
        let early = trial.run(&promote)?;
        trial.expect(!early.is(0), || "promote of what is stopped: exit 0".to_owned(), &early);
        must(trial, &probe, &[7, 5], "probe after a promote of what is stopped")?;
        started(trial, way)?;
        need(trial, &probe, &[0, 190], "probe of what was started")?;
        for again in ["", " of what is promoted"] {
            need(trial, &promote, &[0], &format!("promote{again}"))?;
            must(trial, &probe, &[8, 191], &format!("probe after promote{again}"))?;
        }
        must(trial, &probe.clone().recurring(), &[8, 191], "recurring monitor of what was promoted")?;
        for again in ["", " of what is not promoted"] {
            need(trial, &demote, &[0], &format!("demote{again}"))?;
            must(trial, &probe, &[0, 190], &format!("probe after demote{again}"))?;
        }
        need(trial, &promote, &[0], "second promote")?;
        need(trial, &stop, &[0], "stop of what is promoted")?;
        must(trial, &probe, &[7], "probe after the stop of what was promoted")?;
        must(trial, &start, &[0], "start after all that")?;
        must(trial, &probe, &[0, 190], "probe of what was promoted before its last start")?;
        need(trial, &stop, &[0], "stop of what runs")?;
    }
    Ok(())
}

fn notify(trial: &mut Trial<'_>) -> Result<(), Stop> {
    declared(trial, "notify")?;
    for way in trial.ways {
        started(trial, way)?;
        for moment in ["pre", "post"] {
            for operation in ["start", "stop", "promote", "demote"] {
                let mut call = clone(trial, "notify", way)
                    .param("CRM_meta_notify_type", moment)
                    .param("CRM_meta_notify_operation", operation);
                // Lists may be empty, a single blank, or names.
                for (list, value) in [
                    ("start_resource", " "),
                    ("start_uname", " "),
                    ("stop_resource", ""),
                    ("stop_uname", ""),
                    ("active_resource", "judged"),
                    ("active_uname", "judged"),
                    ("promoted_resource", " "),
                    ("promoted_uname", " "),
                    ("master_resource", " "),
                    ("master_uname", " "),
                    ("available_uname", "judged other"),
                ] {
                    call = call.param(&format!("CRM_meta_notify_{list}"), value);
                }
                must(trial, &call, &[0], &format!("notify {moment} {operation}"))?;
            }
        }
        need(trial, &call(trial, "stop", way), &[0], "stop of what runs")?;
    }
    Ok(())
}

fn migrate(trial: &mut Trial<'_>) -> Result<(), Stop> {
    declared(trial, "migrate_to")?;
    for way in trial.ways {
        let [to, from, stop, probe] = ["migrate_to", "migrate_from", "stop", "monitor"].map(|action| {
            call(trial, action, way)
                .param("CRM_meta_migrate_source", "n1")
                .param("CRM_meta_migrate_target", "n2")
        });
        started(trial, way)?;
        need(trial, &to, &[0], "migrate_to of what runs")?;
        need(trial, &stop, &[0], "stop on the source after migrate_to")?;
        need(trial, &probe, &[7], "probe on the source after the migration")?;
        need(trial, &from, &[0], "migrate_from")?;
        must(trial, &probe, &[0, 190], "probe after migrate_from")?;
        need(trial, &stop, &[0], "stop after migrate_from")?;
        must(trial, &probe, &[7], "probe after that stop")?;
    }
    Ok(())
}

fn reload(trial: &mut Trial<'_>) -> Result<(), Stop> {
    let actions: Vec<&str> =
        ["reload", "reload-agent"].into_iter().filter(|action| trial.subject.has_action(action)).collect();
    if actions.is_empty() {
        return Err(Stop::DoesNotApply("neither reload nor reload-agent is declared".to_owned()));
    }
    for way in trial.ways {
        started(trial, way)?;
        for action in &actions {
            must(trial, &call(trial, action, way), &[0], &format!("{action} of what runs"))?;
            must(trial, &call(trial, "monitor", way), &[0, 190], &format!("probe after {action}"))?;
        }
        need(trial, &call(trial, "stop", way), &[0], "stop of what runs")?;
    }
    Ok(())
}
