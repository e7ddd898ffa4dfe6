//! `ip -batch`: how links and addresses of the test networks are made.

use super::namespace::CLEAN_ENVIRONMENT;
use std::io::{self, Write as _};
use std::process::{Command, Stdio};

/// Runs the lines as one `ip` batch in the network namespace we are in; the error holds `ip`'s own words.
pub(crate) fn batch(lines: &str) -> io::Result<()> {
    let mut child = Command::new("ip")
        .args(["-batch", "-"])
        .env_clear()
        .envs(CLEAN_ENVIRONMENT)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| io::Error::other(format!("cannot run ip: {error}")))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(lines.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("ip: {}", String::from_utf8_lossy(&output.stderr).trim())))
}
