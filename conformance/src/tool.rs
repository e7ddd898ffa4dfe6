//! Programs that the judge itself asks: to make a trial's host, and as independent observers.

use std::process::{Command, Stdio};

/// Standard output of a program that succeeded; else why not.
pub fn output(program: &str, args: &[&str]) -> Result<String, String> {
    #[allow(
        clippy::disallowed_methods,
        reason = "the judge is its own program: it shares nothing with ocf-lib"
    )]
    let output = Command::new(program)
        .args(args)
        .env("LC_ALL", "C")
        .env("PATH", crate::call::PATH)
        .stdin(Stdio::null())
        .output()
        .map_err(|why| format!("{program}: {why}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{program} {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}

/// Whether a program can be found.
pub fn is_there(program: &str) -> bool {
    crate::call::PATH.split(':').any(|dir| std::path::Path::new(dir).join(program).is_file())
}
