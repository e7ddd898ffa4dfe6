//! Private keys in files.

use super::error::Error;
use ocf_lib::secret::Secret;
use russh::keys::{Algorithm, PrivateKey};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A private key that was read, and the file it came from.
pub struct Identity {
    key: Arc<PrivateKey>,
    file: String,
}

impl Identity {
    /// Reads the key in `file`. The pass phrase is used when the key is encrypted.
    pub fn read(file: &Path, phrase: Option<&Secret>) -> Result<Self, Error> {
        let name = file.display();
        let wrong = |why: String| Error::Settings(format!("identity file {name}: {why}"));
        let metadata = std::fs::metadata(file).map_err(|e| wrong(crate::tcp::plain(&e)))?;
        // As ssh(1): a key that others can read is nobody's identity.
        if metadata.mode() & 0o077 != 0 {
            return Err(wrong(format!(
                "mode {:04o} lets others read it: chmod 600",
                metadata.mode() & 0o7777
            )));
        }
        let phrase =
            phrase.map(|p| String::from_utf8_lossy(p.expose()).into_owned()).map(zeroize::Zeroizing::new);
        let plain = russh::keys::load_secret_key(file, None);
        let key = match (plain, phrase) {
            (Ok(key), _) => Ok(key),
            (Err(russh::keys::Error::KeyIsEncrypted), Some(phrase)) => {
                russh::keys::load_secret_key(file, Some(&phrase))
                    .map_err(|_| "the pass phrase does not open it".to_owned())
            }
            (Err(russh::keys::Error::KeyIsEncrypted), None) => {
                Err("it needs a pass phrase (password, password_script)".to_owned())
            }
            (Err(error), _) => Err(format!("no private key that can be used: {error}").to_lowercase()),
        }
        .map_err(wrong)?;
        #[allow(clippy::wildcard_enum_match_arm, reason = "the crate's list of algorithms is open")]
        match key.algorithm() {
            Algorithm::Ed25519 | Algorithm::Ecdsa { .. } => {}
            other => {
                return Err(wrong(format!("keys of the kind {other} are not used: take ed25519 or ecdsa")));
            }
        }
        Ok(Self { key: Arc::new(key), file: file.display().to_string() })
    }

    pub(super) fn key(&self) -> &Arc<PrivateKey> {
        &self.key
    }

    pub(super) fn name(&self) -> &str {
        &self.file
    }
}

/// `.ssh` in the home of the user we run as, from the user database: a cluster manager sets no HOME.
pub fn own_folder() -> Option<PathBuf> {
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok()??;
    Some(user.dir.join(".ssh"))
}

/// The keys that `ssh` would try, as far as they are there.
pub fn usual_identities() -> Vec<PathBuf> {
    let Some(folder) = own_folder() else { return Vec::new() };
    ["id_ed25519", "id_ecdsa"].iter().map(|name| folder.join(name)).filter(|file| file.is_file()).collect()
}
