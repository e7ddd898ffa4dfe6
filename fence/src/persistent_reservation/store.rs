//! What a host keeps of itself until it reboots: its own key, its devices, and the keys that it has seen.

use super::key::Key;
use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The files of one agent: `<base>.key`, `<base>.dev` as upstream writes them, `<base>.seen` of our own.
#[derive(Clone, Debug)]
pub struct Store {
    base: PathBuf,
    /// Where Debian's packages of upstream put the same files.
    older: Option<PathBuf>,
}

impl Store {
    pub fn new(base: impl Into<PathBuf>, older: Option<PathBuf>) -> Self {
        Self { base: base.into(), older }
    }

    /// `<base>.<end>`.
    pub fn file(&self, end: &str) -> PathBuf {
        with(&self.base, end)
    }

    /// Our own key.
    ///
    /// # Errors
    /// What is wrong with the file, by name.
    pub fn key(&self) -> Result<Key, String> {
        let (file, text) = self.read("key")?;
        Key::parse(&text).map_err(|why| format!("{}: {why}", file.display()))
    }

    /// The devices that were joined, in order.
    ///
    /// # Errors
    /// As of [`Self::key`].
    pub fn devices(&self) -> Result<Vec<String>, String> {
        let (_, text) = self.read("dev")?;
        Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
    }

    /// Keeps our key and devices. Devices that another call has joined with the same key stay in the list.
    ///
    /// # Errors
    /// Of writing.
    pub fn keep(&self, key: Key, devices: &[String]) -> io::Result<()> {
        let same = self.key() == Ok(key);
        let mut all = if same { self.devices().unwrap_or_default() } else { Vec::new() };
        for device in devices {
            if !all.contains(device) {
                all.push(device.clone());
            }
        }
        write(&self.file("key"), &format!("{key}\n"))?;
        write(&self.file("dev"), &lines(&all))
    }

    /// Keys that this host has seen registered since it booted.
    pub fn seen(&self) -> BTreeSet<Key> {
        fs::read_to_string(self.file("seen"))
            .map(|text| text.lines().filter_map(|line| Key::parse(line).ok()).collect())
            .unwrap_or_default()
    }

    /// Adds to [`Self::seen`].
    ///
    /// # Errors
    /// Of writing.
    pub fn remember(&self, keys: impl IntoIterator<Item = u64>) -> io::Result<()> {
        let old = self.seen();
        let mut all = old.clone();
        all.extend(keys.into_iter().filter_map(Key::new));
        if all == old {
            return Ok(());
        }
        write(&self.file("seen"), &lines(&all.iter().map(Key::to_string).collect::<Vec<_>>()))
    }

    fn read(&self, end: &str) -> Result<(PathBuf, String), String> {
        let file = self.file(end);
        let told = |file: &Path, why: io::Error| format!("cannot read {}: {why}", file.display());
        match (fs::read_to_string(&file), &self.older) {
            (Ok(text), _) => Ok((file, text)),
            (Err(why), Some(older)) if why.kind() == io::ErrorKind::NotFound => {
                let second = with(older, end);
                match fs::read_to_string(&second) {
                    Ok(text) => Ok((second, text)),
                    Err(_) => Err(told(&file, why)),
                }
            }
            (Err(why), _) => Err(told(&file, why)),
        }
    }
}

/// Our keys by device, as upstream's `fence_mpath` keeps them: `<folder>/mpath.devices`, lines of device, tab, key.
///
/// # Errors
/// What is wrong with the file, by name.
pub fn mpath_keys(file: &Path) -> Result<Vec<(String, Key)>, String> {
    let text = fs::read_to_string(file).map_err(|why| format!("cannot read {}: {why}", file.display()))?;
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            let (device, key) = line.trim().split_once('\t').ok_or_else(|| format!("no key in '{line}'"))?;
            Ok((device.to_owned(), Key::parse(key)?))
        })
        .collect::<Result<_, String>>()
        .map_err(|why| format!("{}: {why}", file.display()))
}

/// Keeps `key` as ours on `devices`; other devices stay as they are in the file.
///
/// # Errors
/// Of writing.
pub fn keep_mpath_keys(file: &Path, devices: &[String], key: Key) -> io::Result<()> {
    let mut keys = mpath_keys(file).unwrap_or_default();
    keys.retain(|(device, _)| !devices.contains(device));
    keys.extend(devices.iter().map(|device| (device.clone(), key)));
    let all: Vec<String> = keys.iter().map(|(device, key)| format!("{device}\t{key}")).collect();
    write(file, &lines(&all))
}

fn lines(words: &[String]) -> String {
    words.iter().fold(String::new(), |text, word| text + word + "\n")
}

fn with(base: &Path, end: &str) -> PathBuf {
    let mut name = base.as_os_str().to_owned();
    name.push(".");
    name.push(end);
    name.into()
}

/// Whole or not at all: a host that dies on the way keeps the old file. Never through a link.
fn write(file: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    let fresh = with(file, &format!("{}.new", std::process::id()));
    let _ = fs::remove_file(&fresh);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&fresh)
        .and_then(|mut handle| handle.write_all(text.as_bytes()).and_then(|()| handle.sync_all()));
    written.and_then(|()| fs::rename(&fresh, file)).inspect_err(|_| {
        let _ = fs::remove_file(&fresh);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u64) -> Key {
        Key::new(number).unwrap()
    }

    #[test]
    fn files_are_upstreams() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().join("cluster/fence_scsi"), None);
        assert!(store.key().unwrap_err().contains("fence_scsi.key"));
        store.keep(key(0x6c9d_0000), &["/dev/sda".into(), "/dev/sdb".into()]).unwrap();
        assert_eq!(fs::read_to_string(store.file("key")).unwrap(), "6c9d0000\n");
        assert_eq!(fs::read_to_string(store.file("dev")).unwrap(), "/dev/sda\n/dev/sdb\n");
        fs::write(store.file("key"), "6C9D0001").unwrap();
        assert_eq!(store.key(), Ok(key(0x6c9d_0001)));
        fs::write(store.file("key"), "rubbish").unwrap();
        assert!(store.key().is_err());
        assert_eq!(fs::read_dir(folder.path().join("cluster")).unwrap().count(), 2, "nothing is left over");
    }

    #[test]
    fn debians_older_files_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().join("new/fence_scsi"), Some(folder.path().join("old")));
        fs::write(folder.path().join("old.key"), "abc\n").unwrap();
        assert_eq!(store.key(), Ok(key(0xabc)));
        store.keep(key(0xdef), &[]).unwrap();
        assert_eq!(store.key(), Ok(key(0xdef)));
    }

    #[test]
    fn what_was_seen_is_added_up() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().join("x"), None);
        store.remember([1, 2, 0]).unwrap();
        store.remember([2, 3]).unwrap();
        assert_eq!(store.seen(), BTreeSet::from([key(1), key(2), key(3)]));
    }

    #[test]
    fn multipath_devices_have_keys_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mpath.devices");
        keep_mpath_keys(&file, &["/dev/mapper/a".into(), "/dev/mapper/b".into()], key(0xE)).unwrap();
        keep_mpath_keys(&file, &["/dev/mapper/b".into()], key(0xF)).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "/dev/mapper/a\te\n/dev/mapper/b\tf\n");
        assert_eq!(mpath_keys(&file).unwrap()[1], ("/dev/mapper/b".to_owned(), key(0xF)));
        fs::write(&file, "/dev/mapper/a\n").unwrap();
        assert!(mpath_keys(&file).is_err());
    }
}
