//! Metadata against the schemas that are installed with resource-agents and pcs, by xmllint.

use crate::case::{Case, Stop, Trial};
use crate::host::OWN;
use crate::subject::Family;
use crate::tool;
use std::path::Path;

pub fn cases() -> Vec<Case> {
    let case = |id, about, judge| Case::contract(id, Family::Resource, &["metadata", "schema"], about, judge);
    vec![
        case(
            "resource/schema-dtd",
            "Metadata of API version 1.0 is valid by resource-agents' ra-api-1.dtd, which it names itself.",
            by_dtd,
        ),
        case(
            "resource/schema-resource-agents",
            "Metadata is valid by resource-agents' metadata.rng, as ocf-tester asks.",
            |trial| by_rng(trial, "1.0", "/usr/share/resource-agents/metadata.rng", "resource-agents"),
        ),
        case(
            "resource/schema-pcs",
            "Metadata is valid by the schema that pcs has for its API version: pcs refuses any other agent.",
            by_pcs,
        ),
    ]
}

/// The document as a caller of this API version gets it, with the version that it says it has.
fn document(trial: &mut Trial<'_>, minor: &str) -> Result<(String, String), Stop> {
    let answer = trial.run(&trial.subject.call("meta-data").env("OCF_RA_VERSION_MINOR", minor))?;
    let root = crate::document::parse(&answer.out).map_err(Stop::CannotJudge)?;
    let version = root.first("version").map_or("1.0", |version| version.text.trim()).to_owned();
    Ok((answer.out, version))
}

fn by_dtd(trial: &mut Trial<'_>) -> Result<(), Stop> {
    let (xml, version) = document(trial, "0")?;
    if version != "1.0" {
        return Err(Stop::DoesNotApply(format!(
            "its metadata is of API version {version}, which has no DTD"
        )));
    }
    lint(trial, &xml, &["--dtdvalid"], "/usr/share/resource-agents/ra-api-1.dtd", "resource-agents")
}

fn by_rng(trial: &mut Trial<'_>, version: &str, schema: &str, package: &str) -> Result<(), Stop> {
    let (xml, _) = document(trial, if version == "1.0" { "0" } else { "1" })?;
    lint(trial, &xml, &["--relaxng"], schema, package)
}

/// pcs has a schema for each version and goes by what the document says.
fn by_pcs(trial: &mut Trial<'_>) -> Result<(), Stop> {
    let mut judged = Vec::new();
    for minor in ["0", "1"] {
        let (xml, version) = document(trial, minor)?;
        if judged.contains(&version) {
            continue;
        }
        let known = if version == "1.1" { "1.1" } else { "1.0" };
        lint(trial, &xml, &["--relaxng"], &format!("/usr/share/pcs/data/ocf-{known}.rng"), "pcs")?;
        judged.push(version);
    }
    Ok(())
}

fn lint(trial: &mut Trial<'_>, xml: &str, how: &[&str], schema: &str, package: &str) -> Result<(), Stop> {
    if !tool::is_there("xmllint") {
        return Err(Stop::CannotJudge("xmllint is not installed: package libxml2-utils".to_owned()));
    }
    if !Path::new(schema).is_file() {
        return Err(Stop::CannotJudge(format!("{schema} is not installed: package {package}")));
    }
    let file = format!("{OWN}/metadata.xml");
    std::fs::write(&file, xml).map_err(|why| format!("{file}: {why}"))?;
    let args: Vec<&str> =
        ["--noout", "--nonet"].iter().chain(how).copied().chain([schema, file.as_str()]).collect();
    if let Err(why) = tool::output("xmllint", &args) {
        let why = why.replace(&format!("xmllint {}: ", args.join(" ")), "");
        let said: Vec<&str> = why.lines().filter(|line| line.contains("error")).take(4).collect();
        let said = said.join("; ").replace(&file, "metadata");
        trial.find(format!("metadata is not valid by {schema}: {said}"), None);
    }
    Ok(())
}
