//! The whole environments of managers other than Pacemaker, as they were recorded.

use super::call::Call;
use super::document::parse;
use super::host::{OWN, network};
use super::parameters::ways;
use super::resource::{each, each_way};
use super::with;
use crate::parameters::Parameters;
use ringfence_tests::subjects::Subject;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// The agent as rgmanager finds it.
pub fn rgmanager_link(agent: &Subject, under: &Path) -> PathBuf {
    let folder = under.join("share/cluster");
    std::fs::create_dir_all(&folder).unwrap();
    let link = folder.join(format!("{}.sh", agent.name));
    let _ = std::fs::remove_file(&link);
    symlink(&agent.file, &link).unwrap();
    link
}

/// Nothing but this is set: no PATH, no HOME, no LANG.
fn rgmanager(link: &Path, action: &str, kind: &str, key: &str, attributes: &Parameters) -> Call {
    let call = Call::new(link)
        .arg(action)
        .env("OCF_RA_VERSION_MAJOR", "1")
        .env("OCF_RA_VERSION_MINOR", "0")
        .env("OCF_ROOT", "/usr/share/cluster")
        .env("OCF_RESOURCE_INSTANCE", format!("{kind}:{key}"))
        .env("OCF_RESOURCE_TYPE", kind)
        .env("OCF_CHECK_LEVEL", "0")
        .param("nfslock", "1")
        .param("svcname", "svc")
        .param("RGMANAGER_meta_refcnt", "0")
        .param("RGMANAGER_meta_timeout", "20");
    with(call, attributes)
}

#[test]
fn serves_rgmanager() {
    each("serves_rgmanager", |agent| {
        let link = rgmanager_link(agent, Path::new(OWN));
        let document = parse(&Call::new(&link).arg("meta-data").run().is(0).out);
        let primary =
            document.parameters().into_iter().find(|p| p.attribute("primary") == Some("1")).unwrap();
        let primary = primary.attribute("name").unwrap();
        // What has a default is exported by the manager.
        let mut given: Parameters = document
            .parameters()
            .iter()
            .filter_map(|parameter| {
                let default = parameter.one("content").attribute("default")?;
                Some((parameter.attribute("name")?.to_owned(), default.to_owned()))
            })
            .collect();
        let ours = ways(&format!("rgmanager:{}", agent.name)).remove(0);
        given.retain(|(name, _)| name != primary && !ours.iter().any(|(own, _)| own == name));
        given.extend(if ours.is_empty() { vec![(primary.to_owned(), "r1".to_owned())] } else { ours });
        let key = given.iter().find(|(name, _)| name == primary).expect("the primary parameter").1.clone();
        let kind = document.attribute("name").unwrap();
        let call = |action: &str| rgmanager(&link, action, kind, &key, &given);
        let before = network();
        for _ in 0..2 {
            // A resource that is new is stopped first.
            call("stop").run().is(0);
            call("status").run().is(7);
            call("start").run().is(0);
            call("status").run().is(0);
            call("status").env("OCF_CHECK_LEVEL", "20").run().is(0);
            call("recover").run().is(0);
            call("status").run().is(0);
            // Another service of this node has it too.
            call("stop").param("RGMANAGER_meta_refcnt", "1").run().is(0);
            call("status").run().is(0);
            call("validate-all").run().is(0);
            call("verify-all").run().is(0);
            // A timeout of 0: the manager enforces none.
            call("stop").param("RGMANAGER_meta_timeout", "0").run().is(0);
            call("status").param("RGMANAGER_meta_timeout", "0").run().is(7);
        }
        call("bogus").run().is(3);
        assert_eq!(network(), before);
    });
}

/// HALO knows 0 and 7, and names neither instance nor interval nor version.
#[test]
fn serves_halo() {
    each_way("serves_halo", |agent, way| {
        let call = |action: &str| {
            let call = Call::new(&agent.file).arg(action).env("PATH", super::PATH).env("HOME", "/root");
            with(call.env("OCF_ROOT", "/usr/lib/ocf").env("HALO_TEST_ID", "4711"), way)
        };
        call("monitor").run().is(7);
        for _ in 0..2 {
            call("start").run().is(0);
            let up = call("monitor").run().is(0);
            assert_eq!(up.out, "", "{}", up.told());
            call("stop").run().is(0);
            call("monitor").run().is(7);
        }
        call("stop").run().is(0);
        call("monitor").env("OCF_RESKEY_a b", "x").run().is(7);
    });
}

/// Arguments first, action last; judged by the words.
#[test]
fn serves_heartbeat_and_init() {
    each_way("serves_heartbeat_and_init", |agent, way| {
        let link = |folder: &str| {
            let folder = Path::new(OWN).join(folder);
            std::fs::create_dir_all(&folder).unwrap();
            let link = folder.join(&agent.name);
            let _ = std::fs::remove_file(&link);
            symlink(&agent.file, &link).unwrap();
            link
        };
        let (heartbeat, init) = (link("ha.d/resource.d"), link("init.d"));
        for (program, stopped) in [(heartbeat, 7), (init, 3)] {
            let call =
                |action: &str| with(Call::new(&program).arg(action).env("PATH", super::PATH), way).run();
            let status = call("status").is(stopped);
            assert!(status.out.contains("stopped"), "{}", status.told());
            call("start").is(0);
            let status = call("status").is(0);
            assert!(status.out.contains("running"), "{}", status.told());
            call("stop").is(0);
            call("stop").is(0);
            call("status").is(stopped);
        }
    });
}
