//! Which initiator sees a unit: a directory `acls/<initiator>/lun_<n>` with a link to the target's `lun/lun_<n>`.

use super::Lio;
use crate::iscsi::serial;
use ocf_lib::resource::code::Fault;
use ocf_lib::resource::context::Cx;
use ocf_lib::resource::runfile::RunFile;
use std::path::{Path, PathBuf};

/// Says that a rule was made for units alone and goes with the last of them; one of the target itself has no mark.
pub struct AclMark(RunFile);

impl AclMark {
    pub fn of(target: &str, initiator: &str, cx: &Cx) -> Self {
        // Both are names, without blanks.
        let name = format!("iSCSILogicalUnit-acl-{}", serial::mark(&format!("{target} {initiator}")));
        Self(RunFile::new(cx.run_dir().join(name)))
    }

    pub fn remove(&self) -> Result<(), Fault> {
        self.0.remove()
    }
}

/// The unit `number` of a target's group.
pub struct Mapping<'a> {
    pub lio: &'a Lio,
    pub group: &'a Path,
    pub target: &'a str,
    pub number: u64,
}

impl Mapping<'_> {
    fn unit(&self) -> String {
        format!("lun_{}", self.number)
    }

    fn directory(&self, initiator: &str) -> PathBuf {
        self.group.join("acls").join(initiator).join(self.unit())
    }

    /// True if a mapped unit's link points to ours.
    fn is_ours(&self, to: &str) -> bool {
        to.ends_with(&format!("/lun/{}", self.unit()))
    }

    /// Rules of the target.
    pub fn initiators(&self) -> Result<Vec<String>, Fault> {
        self.lio.objects().list(&self.group.join("acls"))
    }

    /// What keeps a wanted initiator from seeing the unit, or is not finished.
    pub fn missing(&self, wanted: &[String]) -> Result<Option<String>, Fault> {
        let objects = self.lio.objects();
        for initiator in wanted {
            if !objects.links(&self.directory(initiator))?.iter().any(|(_, to)| self.is_ours(to)) {
                return Ok(Some(format!("initiator {initiator} does not see it")));
            }
        }
        for initiator in self.initiators()? {
            let directory = self.directory(&initiator);
            if objects.exists(&directory)? && objects.links(&directory)?.is_empty() {
                return Ok(Some(format!("initiator {initiator} does not see it yet")));
            }
        }
        Ok(None)
    }

    /// Before the unit is there: rules and empty directories, so that one who looks later knows what was to follow.
    pub fn announce(&self, initiators: &[String], cx: &Cx) -> Result<(), Fault> {
        let objects = self.lio.objects();
        for initiator in initiators {
            let acl = self.group.join("acls").join(initiator);
            if !objects.exists(&acl)? {
                AclMark::of(self.target, initiator, cx).0.write("")?;
                objects.mkdir(&acl)?;
            }
            let directory = self.directory(initiator);
            if let Some((_, other)) = objects.links(&directory)?.into_iter().find(|(_, to)| !self.is_ours(to))
            {
                return Err(Fault::generic(format!(
                    "initiator {initiator} sees another unit as lun {}: {other}",
                    self.number
                )));
            }
            objects.mkdir(&directory)?;
        }
        Ok(())
    }

    /// When the unit is there.
    pub fn join(&self, initiators: &[String], link: &str) -> Result<(), Fault> {
        let objects = self.lio.objects();
        let unit = self.group.join("lun").join(self.unit());
        for initiator in initiators {
            let directory = self.directory(initiator);
            if objects.links(&directory)?.is_empty() {
                objects.link(&unit, &directory.join(link))?;
                // The group's rule for guests does not hold for one that is named.
                objects.write(&directory.join("write_protect"), "0")?;
            }
        }
        Ok(())
    }

    /// Takes every initiator's view of the unit away, and rules that were made for it.
    pub fn remove(&self, cx: &Cx) -> Result<(), Fault> {
        let objects = self.lio.objects();
        for initiator in self.initiators()? {
            let acl = self.group.join("acls").join(&initiator);
            for name in objects.list(&acl)?.iter().filter(|name| name.starts_with("lun_")) {
                let directory = acl.join(name);
                let links = objects.links(&directory)?;
                let unfinished = links.is_empty() && *name == self.unit();
                if unfinished || links.iter().any(|(_, to)| self.is_ours(to)) {
                    objects.take_apart(&directory)?;
                }
            }
            let mark = AclMark::of(self.target, &initiator, cx);
            if mark.0.exists()? && !objects.list(&acl)?.iter().any(|name| name.starts_with("lun_")) {
                objects.rmdir(&acl)?;
                mark.remove()?;
            }
        }
        Ok(())
    }
}
