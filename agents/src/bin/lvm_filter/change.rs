//! A change of LVM's configuration: made, found again, and taken back.

use super::conf::{Conf, Malformed, render, without_prefix};
use super::devices::{Entry, entries, is_ours, without_ours};
use super::replace::{remove_leftovers, replace, text_of};
use ocf_lib::resource::code::Fault;
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Above a setting that was not there before.
const COMMENT: &str = "put here by the cluster (LVM-filter), which takes it away when it stops";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// Rules in front of those of a setting.
    Filter {
        file: PathBuf,
        setting: String,
        rules: Vec<String>,
        /// The file's text before; `None`: it was not there.
        before: Option<String>,
    },
    /// Entries of the devices file, by names of devices.
    Devices {
        added: Vec<String>,
        removed: Vec<String>,
        /// The file's text before.
        before: String,
    },
}

/// Where LVM keeps the list of devices that it may use (`devices/devicesfile`).
pub fn devices_file(folder: &Path) -> PathBuf {
    folder.join("devices/system.devices")
}

fn malformed(file: &Path) -> impl Fn(Malformed) -> Fault + '_ {
    move |why| Fault::args(format!("{} is not edited, as it is not understood: {why}", file.display()))
}

/// `text` with `rules` in front of what the setting says.
fn with_rules(file: &Path, text: &str, path: &str, rules: &[String]) -> Result<String, Fault> {
    let told = malformed(file);
    let conf = Conf::parse(text).map_err(&told)?;
    let old = conf.setting(path).map_err(&told)?.map(|setting| setting.values.clone()).unwrap_or_default();
    conf.with(text, path, &[rules, &old].concat(), COMMENT).map_err(told)
}

impl Change {
    /// Rules go where the setting is; else to `lvmlocal.conf`, which is this host's own, else to `lvm.conf`.
    pub fn of_filter(folder: &Path, setting: &str, rules: Vec<String>) -> Result<Self, Fault> {
        let setting = format!("devices/{setting}");
        let mut there = Vec::new();
        // The local file holds over the other one.
        for name in ["lvmlocal.conf", "lvm.conf"] {
            let file = folder.join(name);
            if let Some(text) = text_of(&file)? {
                let conf = Conf::parse(&text).map_err(malformed(&file))?;
                let set = conf.setting(&setting).map_err(malformed(&file))?.is_some();
                there.push((set, file, text));
            }
        }
        let index = there.iter().position(|(set, _, _)| *set).unwrap_or(0);
        if there.is_empty() {
            return Err(Fault::installed(format!("there is no lvm.conf in {}", folder.display())));
        }
        let (_, file, text) = there.swap_remove(index);
        Ok(Self::Filter { file, setting, rules, before: Some(text) })
    }

    /// Entries that are not there yet, or not there any more, are no part of the change: stop would get them wrong.
    pub fn of_devices(folder: &Path, accept: &[String], reject: &[String]) -> Result<Self, Fault> {
        let file = devices_file(folder);
        let Some(before) = text_of(&file)? else {
            // One that is made for a single device hides all others.
            return Err(Fault::args(format!(
                "there is no {}: make it first (vgimportdevices --all), or use method=filter",
                file.display()
            )));
        };
        let has = |path: &&String| entry_of(&before, path).is_some();
        let added = accept.iter().filter(|path| !has(path)).cloned().collect();
        let removed = reject.iter().filter(has).cloned().collect();
        Ok(Self::Devices { added, removed, before })
    }

    pub fn path(&self) -> String {
        match self {
            Self::Filter { setting, .. } => setting.clone(),
            Self::Devices { .. } => "devices/devicesfile".to_owned(),
        }
    }

    pub fn rules(&self) -> Option<&[String]> {
        match self {
            Self::Filter { rules, .. } => Some(rules),
            Self::Devices { .. } => None,
        }
    }

    /// For `pvs`: LVM as it would be, or `None` when that cannot be told.
    pub fn preview(&self) -> Option<[String; 2]> {
        match self {
            Self::Filter { file, setting, rules, before } => {
                let text = with_rules(file, before.as_deref().unwrap_or_default(), setting, rules).ok()?;
                let conf = Conf::parse(&text).ok()?;
                let values = conf.setting(setting).ok()??.values.clone();
                Some(["--config".to_owned(), format!("{setting}={}", render(&values))])
            }
            Self::Devices { added, removed, before } => {
                let kept = entries(before).filter(|entry| !removed.iter().any(|path| entry.is_of(path)));
                let kept = kept.filter_map(|entry| entry.name().map(str::to_owned));
                // A device that is not there yet is an error for LVM.
                let there = added.iter().filter(|path| Path::new(path).exists()).cloned();
                let list: Vec<String> = kept.chain(there).collect();
                // An empty list would mean the file.
                (!list.is_empty()).then(|| ["--devices".to_owned(), list.join(",")])
            }
        }
    }

    /// What is not as this change made it, in words; `None`: it stands as it was made.
    pub fn missing(&self, folder: &Path) -> Result<Option<String>, Fault> {
        match self {
            Self::Filter { file, setting, rules, .. } => {
                let Some(text) = text_of(file)? else {
                    return Ok(Some(format!("{} is gone", file.display())));
                };
                let conf = Conf::parse(&text).map_err(malformed(file))?;
                let now = conf.setting(setting).map_err(malformed(file))?;
                let stands = now.is_some_and(|setting| setting.values.starts_with(rules));
                Ok((!stands)
                    .then(|| format!("the rules are not in front of {setting} in {}", file.display())))
            }
            Self::Devices { added, removed, .. } => {
                let text = text_of(&devices_file(folder))?.unwrap_or_default();
                let lost = added.iter().find(|path| entry_of(&text, path).is_none());
                let back = removed.iter().find(|path| entry_of(&text, path).is_some());
                Ok(lost
                    .map(|path| format!("{path} is not in the devices file"))
                    .or_else(|| back.map(|path| format!("{path} is in the devices file again"))))
            }
        }
    }

    /// Makes it. `lvmdevices` runs LVM's own tool, which knows how a device is identified.
    pub fn apply(&self, lvmdevices: impl Fn(&[&str]) -> Result<(), Fault>) -> Result<(), Fault> {
        match self {
            Self::Filter { file, setting, rules, before } => {
                let text = with_rules(file, before.as_deref().unwrap_or_default(), setting, rules)?;
                replace(file, &text)
            }
            Self::Devices { added, removed, .. } => {
                added.iter().try_for_each(|path| lvmdevices(&["--adddev", path]))?;
                removed.iter().try_for_each(|path| lvmdevices(&["--deldev", path]))
            }
        }
    }

    /// Takes it back. A file that nobody has edited since gets its old text to the letter; else our part alone goes.
    pub fn undo(&self, folder: &Path) -> Result<(), Fault> {
        match self {
            Self::Filter { file, setting, rules, before } => {
                remove_leftovers(file);
                let Some(text) = text_of(file)? else { return Ok(()) };
                let before = before.as_deref().unwrap_or_default();
                if text == before {
                    return Ok(());
                }
                if with_rules(file, before, setting, rules).is_ok_and(|made| made == text) {
                    return replace(file, before);
                }
                let told = malformed(file);
                let conf = match Conf::parse(&text) {
                    Ok(conf) => conf,
                    // Somebody else's mistake: our rules can go all the same where they stand as they were written.
                    Err(why) => {
                        return match without_prefix(&text, rules) {
                            Some(text) => replace(file, &text),
                            None if rules.iter().any(|rule| text.contains(rule.as_str())) => Err(told(why)),
                            None => Ok(()),
                        };
                    }
                };
                let Some(now) = conf.setting(setting).map_err(&told)? else { return Ok(()) };
                let mut ours: Vec<&String> = rules.iter().collect();
                let mut kept = Vec::new();
                // Each rule once: the administrator may have written the same one.
                for value in &now.values {
                    match ours.iter().position(|rule| *rule == value) {
                        Some(at) => drop(ours.remove(at)),
                        None => kept.push(value.clone()),
                    }
                }
                let was_set =
                    Conf::parse(before).is_ok_and(|conf| matches!(conf.setting(setting), Ok(Some(_))));
                let text = if kept.is_empty() && !was_set {
                    conf.without(&text, setting, COMMENT).map_err(told)?
                } else {
                    conf.with(&text, setting, &kept, COMMENT).map_err(told)?
                };
                replace(file, &text)
            }
            Self::Devices { added, removed, before } => {
                let file = devices_file(folder);
                remove_leftovers(&file);
                let Some(text) = text_of(&file)? else { return Ok(()) };
                if text == *before {
                    Ok(())
                } else if is_ours(before, &text, added, removed) {
                    replace(&file, before)
                } else {
                    replace(&file, &without_ours(before, &text, added, removed))
                }
            }
        }
    }

    /// For an administrator: the lines that go and come.
    pub fn describe(&self, folder: &Path, out: &mut dyn Write) -> Result<(), Fault> {
        match self {
            Self::Filter { file, setting, rules, before } => {
                let before = before.as_deref().unwrap_or_default();
                let after = with_rules(file, before, setting, rules)?;
                writeln!(out, "{}", file.display())?;
                for line in before.lines().filter(|line| !after.lines().any(|other| other == *line)) {
                    writeln!(out, "-{line}")?;
                }
                for line in after.lines().filter(|line| !before.lines().any(|other| other == *line)) {
                    writeln!(out, "+{line}")?;
                }
            }
            Self::Devices { added, removed, .. } => {
                writeln!(out, "{}", devices_file(folder).display())?;
                removed.iter().try_for_each(|path| writeln!(out, "-{path}"))?;
                added.iter().try_for_each(|path| writeln!(out, "+{path}"))?;
            }
        }
        Ok(())
    }
}

/// The entry of a device in a devices file's text.
fn entry_of<'a>(text: &'a str, path: &str) -> Option<Entry<'a>> {
    entries(text).find(|entry| entry.is_of(path))
}

/// A change that was made, or was about to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub change: Change,
    /// Devices that LVM saw before and must not see now, volumes or not.
    #[serde(default)]
    pub hidden: Vec<String>,
}

impl Record {
    pub fn read(file: &Path) -> Result<Option<Self>, Fault> {
        let Some(text) = text_of(file)? else { return Ok(None) };
        serde_json::from_str(&text).map(Some).map_err(|why| {
            let what = "cannot be read, so it is not known what was changed: take the rules out by hand, then remove it";
            Fault::generic(format!("{} {what} ({why})", file.display()))
        })
    }

    pub fn write(&self, file: &Path) -> Result<(), Fault> {
        let folder = file.parent().unwrap_or(Path::new("/"));
        std::fs::create_dir_all(folder)
            .map_err(|error| Fault::from(error).context(format_args!("cannot make {}", folder.display())))?;
        let text = serde_json::to_string(self)
            .map_err(|why| Fault::generic(format!("cannot write the record: {why}")))?;
        replace(file, &text)
    }

    pub fn remove(file: &Path) -> Result<(), Fault> {
        remove_leftovers(file);
        std::fs::remove_file(file)
            .map_err(|error| Fault::from(error).context(format_args!("cannot remove {}", file.display())))
    }
}
