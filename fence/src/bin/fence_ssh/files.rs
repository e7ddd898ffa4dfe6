//! What is read from files before anything is sent: known hosts and keys.

use super::Options;
use ocf_lib::fence::prelude::*;
use ringfence_fence::ssh::{Account, Identity, KnownHosts, own_folder, usual_identities};
use ringfence_fence::tcp;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The file of the option, or the usual ones as far as they are there.
pub fn known_hosts(options: &Options) -> Result<KnownHosts, FenceError> {
    let mut known = KnownHosts::default();
    if let Some(file) = &options.known_hosts {
        let bytes = std::fs::read(file)
            .map_err(|e| FenceError::usage(format!("known hosts {file}: {}", tcp::plain(&e))))?;
        known.add(file, &String::from_utf8_lossy(&bytes));
        return Ok(known);
    }
    let own = own_folder().map(|folder| folder.join("known_hosts"));
    for file in own.into_iter().chain([PathBuf::from("/etc/ssh/ssh_known_hosts")]) {
        if let Ok(bytes) = std::fs::read(&file) {
            known.add(&file.display().to_string(), &String::from_utf8_lossy(&bytes));
        }
    }
    Ok(known)
}

/// User, keys and password.
pub fn account(call: &Call) -> Result<Account, FenceError> {
    let phrase = call.password();
    let identities = if let Some(file) = call.text("identity_file") {
        vec![Identity::read(Path::new(&file), phrase)?]
    } else {
        // The usual keys are a guess: one that cannot be used is only mentioned.
        let read = |file: &PathBuf| match Identity::read(file, phrase) {
            Ok(identity) => Some(identity),
            Err(error) => {
                call.log().debug(error.to_string());
                None
            }
        };
        usual_identities().iter().filter_map(read).collect()
    };
    if identities.is_empty() && phrase.is_none() {
        return Err(FenceError::usage("nothing to log in with: set identity_file or password"));
    }
    let user = call.login().unwrap_or_else(|| "root".to_owned());
    // With an identity file the password is its pass phrase, and no business of the node's.
    let text = |secret: &Secret| Zeroizing::new(String::from_utf8_lossy(secret.expose()).into_owned());
    let password = phrase.filter(|_| call.text("identity_file").is_none());
    Ok(Account { user, identities, password: password.map(text) })
}
