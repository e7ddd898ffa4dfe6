//! A target of LIO: made, looked at, taken away.

use super::Lio;
use super::mapping::AclMark;
use crate::iscsi::portal;
use ocf_lib::resource::agent::State;
use ocf_lib::resource::code::Fault;
use ocf_lib::resource::context::Cx;
use ocf_lib::secret::Secret;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// Time between two attempts to take away what is still in use.
const PAUSE: Duration = Duration::from_millis(100);

/// What the configuration wants.
pub struct Plan<'a> {
    pub name: &'a str,
    pub portals: &'a [SocketAddr],
    pub iser: &'a [SocketAddr],
    /// Empty: everybody.
    pub initiators: &'a [String],
    pub account: Option<(&'a str, &'a Secret)>,
    pub settings: &'a [(String, String)],
}

impl Plan<'_> {
    /// Names of initiators become directories.
    pub fn check(&self) -> Result<(), Fault> {
        match self.initiators.iter().find(|name| name.contains('/')) {
            Some(name) => Err(Fault::configured(format!(
                "parameter allowed_initiators: '{name}' is not an initiator's name; lio-t knows no networks"
            ))),
            None => Ok(()),
        }
    }

    /// Looks, at files alone.
    pub fn probe(&self, lio: &Lio) -> Result<State, Fault> {
        if !lio.objects().exists(&lio.root.join("iscsi").join(self.name))? {
            return Ok(State::Stopped);
        }
        let missing = self.missing(lio)?;
        Ok(missing.map_or(State::Running, |what| {
            State::Failed(format!("target {} is half configured: {what}", self.name))
        }))
    }

    fn missing(&self, lio: &Lio) -> Result<Option<String>, Fault> {
        let objects = lio.objects();
        let group = lio.group(self.name);
        // It is enabled last.
        if objects.read(&group.join("enable"))? != "1" {
            return Ok(Some("it is not enabled".into()));
        }
        let there = portals(lio, &group)?;
        if let Some(portal) = self.portals.iter().find(|wanted| !covered(&there, **wanted)) {
            return Ok(Some(format!("it has no portal {portal}")));
        }
        for initiator in self.initiators {
            if !objects.exists(&group.join("acls").join(initiator))? {
                return Ok(Some(format!("it does not know initiator {initiator}")));
            }
        }
        Ok(None)
    }

    /// Makes it, or completes what is there.
    pub fn start(&self, lio: &Lio, cx: &Cx) -> Result<(), Fault> {
        lio.load(cx)?;
        let objects = lio.objects();
        let group = lio.group(self.name);
        objects.mkdir(&lio.root.join("iscsi").join(self.name))?;
        objects.mkdir(&group)?;
        for (name, value) in self.settings {
            // As upstream: what the kernel does not know is no reason to export nothing.
            if let Err(fault) = objects.write(&group.join("param").join(name), value) {
                cx.warn(format!("parameter {name} is not in force: {fault}"));
            }
        }
        self.open_portals(lio, &group, cx)?;
        self.let_in(lio, &group, cx)?;
        if objects.read(&group.join("enable"))? != "1" {
            objects.write(&group.join("enable"), "1")?;
        }
        Ok(())
    }

    fn open_portals(&self, lio: &Lio, group: &Path, cx: &Cx) -> Result<(), Fault> {
        let objects = lio.objects();
        let there = portals(lio, group)?;
        for portal in self.portals.iter().filter(|wanted| !covered(&there, **wanted)) {
            objects
                .mkdir(&group.join("np").join(portal::directory(*portal)))
                .map_err(|fault| match portal::refused(*portal) {
                    Some(why) => Fault::generic(format!("{fault}; {why}")),
                    None => fault,
                })
                .map_err(|fault| fault.context(format_args!("cannot listen on {portal}")))?;
        }
        for portal in self.iser {
            let switch = group.join("np").join(portal::directory(*portal)).join("iser");
            if let Err(fault) = objects.write(&switch, "1") {
                cx.warn(format!("no iSER on portal {portal}: {fault}"));
            }
        }
        Ok(())
    }

    fn let_in(&self, lio: &Lio, group: &Path, cx: &Cx) -> Result<(), Fault> {
        let objects = lio.objects();
        let attribute = |name: &str, on: bool| {
            objects.write(&group.join("attrib").join(name), if on { "1" } else { "0" })
        };
        let everybody = self.initiators.is_empty();
        attribute("authentication", self.account.is_some())?;
        if everybody {
            self.set_account(lio, &group.join("auth"))?;
            attribute("demo_mode_write_protect", false)?;
        }
        for initiator in self.initiators {
            let acl = group.join("acls").join(initiator);
            // From now on it is the target's, whoever made it.
            AclMark::of(self.name, initiator, cx).remove()?;
            objects.mkdir(&acl)?;
            self.set_account(lio, &acl.join("auth"))?;
        }
        attribute("cache_dynamic_acls", everybody)?;
        attribute("generate_node_acls", everybody)
    }

    /// A file of configfs that only root can read takes the password: no list of processes ever shows it.
    fn set_account(&self, lio: &Lio, auth: &Path) -> Result<(), Fault> {
        let Some((user, password)) = self.account else { return Ok(()) };
        lio.objects().write(&auth.join("userid"), user)?;
        lio.objects().write_secret(&auth.join("password"), password.expose())
    }
}

fn portals(lio: &Lio, group: &Path) -> Result<Vec<SocketAddr>, Fault> {
    Ok(lio
        .objects()
        .list(&group.join("np"))?
        .iter()
        .filter_map(|name| portal::from_directory(name))
        .collect())
}

fn covered(there: &[SocketAddr], wanted: SocketAddr) -> bool {
    there.iter().any(|there| portal::covers(*there, wanted))
}

/// Takes a target away with all that hangs on it: sessions, rules, links of its units. What they export stays.
pub fn stop(lio: &Lio, name: &str, cx: &Cx) -> Result<(), Fault> {
    loop {
        match take_apart(lio, name) {
            Ok(()) => return Ok(()),
            Err(fault) if cx.expired() => return Err(fault),
            // A session that is being closed keeps its objects for a moment.
            Err(fault) => {
                cx.debug(fault.reason());
                cx.sleep(PAUSE);
            }
        }
    }
}

fn take_apart(lio: &Lio, name: &str) -> Result<(), Fault> {
    let objects = lio.objects();
    let target = lio.root.join("iscsi").join(name);
    if !objects.exists(&target)? {
        return Ok(());
    }
    for group in objects.list(&target)?.iter().filter(|name| name.starts_with("tpgt_")) {
        let group = target.join(group);
        // Closes the sessions, and lets nobody in any more. The kernel refuses to do it twice.
        if objects.read(&group.join("enable"))? == "1" {
            objects.write(&group.join("enable"), "0")?;
        }
        for acl in objects.list(&group.join("acls"))? {
            let acl = group.join("acls").join(acl);
            for unit in objects.list(&acl)?.iter().filter(|name| name.starts_with("lun_")) {
                objects.take_apart(&acl.join(unit))?;
            }
            objects.rmdir(&acl)?;
        }
        for unit in objects.list(&group.join("lun"))? {
            objects.take_apart(&group.join("lun").join(unit))?;
        }
        for portal in objects.list(&group.join("np"))? {
            objects.rmdir(&group.join("np").join(portal))?;
        }
        objects.rmdir(&group)?;
    }
    objects.rmdir(&target)
}
