//! The whole environments of managers other than Pacemaker, as they were recorded.

use super::resource_ways::{must, need, required, started};
use crate::call::{Call, PATH};
use crate::case::{Case, Parameters, Stop, Trial};
use crate::document::{self, Node};
use crate::host::OWN;
use crate::subject::Family;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

pub fn cases() -> Vec<Case> {
    let case = |id, about, judge| Case::contract(id, Family::Resource, &["managers"], about, judge);
    vec![
        case(
            "resource/halo",
            "LANL's HALO sets OCF_ROOT and the parameters and nothing else of OCF: no instance, no version, no interval, no timeout. It \
             knows 0 and 7.",
            halo,
        ),
        case(
            "resource/rgmanager",
            "rgmanager calls start, status, stop and recover with an environment of its own and nothing else, not even a PATH. \
             Concerns agents that describe themselves to rgmanager.",
            rgmanager,
        ),
        case(
            "resource/rgmanager-metadata",
            "Metadata for rgmanager has actions (the manager crashes without), a parameter that is primary or required (it never \
             returns without), one primary at most and without inherit, and status, the only check that it ever calls.",
            rgmanager_metadata,
        ),
    ]
}

fn halo(trial: &mut Trial<'_>) -> Result<(), Stop> {
    for way in trial.ways {
        let with = |action: &str| {
            Call::new(&trial.subject.path)
                .arg(action)
                .env("PATH", PATH)
                .env("HOME", "/root")
                .env("OCF_ROOT", "/usr/lib/ocf")
                .env("HALO_TEST_ID", "4711")
                .patience(std::time::Duration::from_secs(10))
                .params(way)
        };
        let (start, stop, monitor) = (with("start"), with("stop"), with("monitor"));
        started(trial, way)?;
        need(trial, &super::resource_ways::call(trial, "stop", way), &[0], "stop of what runs")?;
        need(trial, &monitor, &[7], "monitor as HALO calls it, of what is stopped")?;
        for _ in 0..2 {
            need(trial, &start, &[0], "start as HALO calls it")?;
            must(trial, &monitor, &[0], "monitor as HALO calls it, of what runs")?;
            need(trial, &stop, &[0], "stop as HALO calls it")?;
            must(trial, &monitor, &[7], "monitor as HALO calls it, of what was stopped")?;
        }
    }
    Ok(())
}

/// The agent as rgmanager finds it, and its metadata there; an agent that has nothing to say to rgmanager is not concerned.
fn for_rgmanager(trial: &Trial<'_>) -> Result<(PathBuf, Node), Stop> {
    let folder = Path::new(OWN).join("share/cluster");
    std::fs::create_dir_all(&folder).map_err(|why| format!("{}: {why}", folder.display()))?;
    let link = folder.join(format!("{}.sh", trial.subject.name.trim_end_matches(".sh")));
    let _ = std::fs::remove_file(&link);
    symlink(&trial.subject.path, &link).map_err(|why| format!("{}: {why}", link.display()))?;
    let answer = trial.run(&Call::new(&link).arg("meta-data").env("PATH", PATH).closing("0<&- 2>&-"))?;
    match document::parse(&answer.out) {
        Ok(root) if root.attribute("version").is_some_and(|version| version.starts_with("rgmanager")) => {
            Ok((link, root))
        }
        _ => Err(Stop::DoesNotApply("its metadata is not rgmanager's".to_owned())),
    }
}

/// As rgmanager reads a flag: a number other than 0, or a word with y.
fn flag(node: &Node, name: &str) -> bool {
    node.attribute(name)
        .is_some_and(|value| value.starts_with('y') || value.parse::<i64>().is_ok_and(|n| n != 0))
}

fn rgmanager(trial: &mut Trial<'_>) -> Result<(), Stop> {
    let (link, root) = for_rgmanager(trial)?;
    let parameters = root.parameters();
    let primary = parameters.iter().find(|parameter| flag(parameter, "primary"));
    let Some(primary) = primary.and_then(|parameter| parameter.attribute("name")) else {
        return Err(Stop::DoesNotApply("no parameter is primary".to_owned()));
    };
    let kind = root.attribute("name").unwrap_or_default();
    for way in trial.ways {
        // What cannot be started here at all says nothing about the manager.
        started(trial, way)?;
        need(trial, &super::resource_ways::call(trial, "stop", way), &[0], "stop of what runs")?;
        let (key, given) = attributes(trial, &parameters, primary, way)?;
        let with = |action: &str| {
            Call::new(&link)
                .arg(action)
                .env("OCF_RA_VERSION_MAJOR", "1")
                .env("OCF_RA_VERSION_MINOR", "0")
                .env("OCF_ROOT", "/usr/share/cluster")
                .env("OCF_RESOURCE_INSTANCE", format!("{kind}:{key}"))
                .env("OCF_RESOURCE_TYPE", kind)
                .env("OCF_CHECK_LEVEL", "0")
                .params(&given)
                .param("RGMANAGER_meta_refcnt", "0")
                .param("RGMANAGER_meta_timeout", "10")
                .patience(std::time::Duration::from_secs(12))
        };
        let [start, stop, status, recover] = ["start", "stop", "status", "recover"].map(with);
        // A resource that is new is stopped first.
        need(trial, &stop, &[0], "stop as rgmanager calls it, of what was never started")?;
        need(trial, &status, &[7, 1], "status as rgmanager calls it, of what is stopped")?;
        for _ in 0..2 {
            need(trial, &start, &[0], "start as rgmanager calls it")?;
            must(trial, &status, &[0], "status as rgmanager calls it, of what runs")?;
            if root.actions().iter().any(|action| action.attribute("name") == Some("recover")) {
                must(trial, &recover, &[0], "recover as rgmanager calls it")?;
                must(trial, &status, &[0], "status as rgmanager calls it, after recover")?;
            }
            need(trial, &stop, &[0], "stop as rgmanager calls it")?;
            must(trial, &status, &[7, 1], "status as rgmanager calls it, of what was stopped")?;
        }
    }
    Ok(())
}

/// The primary value, and all that rgmanager would export: what has a default, and what the way gives.
fn attributes(
    trial: &Trial<'_>,
    parameters: &[&Node],
    primary: &str,
    way: &Parameters,
) -> Result<(String, Parameters), Stop> {
    let value = |name: &str| way.iter().find(|(own, _)| own == name).map(|(_, value)| value.clone());
    // The same thing may have another name for rgmanager: the one that must be given is the one that names it.
    let key = value(primary).or_else(|| match required(&trial.subject.metadata).as_slice() {
        [] => Some("r1".to_owned()),
        [only] => value(only),
        // rgmanager's own: what a service calls the resource.
        _ if primary == "name" => Some("r1".to_owned()),
        _ => None,
    });
    let key = key.ok_or_else(|| Stop::CannotJudge(format!("give rgmanager's {primary} with --param")))?;
    let mut given = vec![(primary.to_owned(), key.clone())];
    for parameter in parameters {
        let Some(name) = parameter.attribute("name").filter(|name| *name != primary) else { continue };
        let default = parameter.first("content").and_then(|content| content.attribute("default"));
        if let Some(value) = value(name).or_else(|| default.map(str::to_owned)) {
            given.push((name.to_owned(), value));
        }
    }
    Ok((key, given))
}

fn rgmanager_metadata(trial: &mut Trial<'_>) -> Result<(), Stop> {
    let (_, root) = for_rgmanager(trial)?;
    let parameters = root.parameters();
    if root.actions().is_empty() {
        trial.find("no action is declared: rgmanager crashes", None);
    }
    if !root.actions().iter().any(|action| action.attribute("name") == Some("status")) {
        trial.find("status is not declared: rgmanager takes the resource for healthy, always", None);
    }
    let default =
        |node: &Node| node.first("content").is_some_and(|content| content.attribute("default").is_some());
    let named = parameters.iter().any(|node| flag(node, "primary") || flag(node, "required"));
    if !named && parameters.iter().any(|node| default(node)) {
        trial.find("defaults, and no parameter that is primary or required: rgmanager never returns", None);
    }
    if parameters.iter().filter(|node| flag(node, "primary")).count() > 1 {
        trial.find("two parameters are primary: rgmanager refuses the agent", None);
    }
    for node in &parameters {
        let fixed = ["primary", "unique", "required"].iter().any(|name| flag(node, name));
        if fixed && node.attribute("inherit").is_some() {
            let name = node.attribute("name").unwrap_or_default();
            trial.find(
                format!("parameter {name} is inherited and primary, unique or required: refused"),
                None,
            );
        }
    }
    Ok(())
}
