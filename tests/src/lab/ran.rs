//! What a command in a guest has left.

use super::failure::LabError;

/// The end of a command.
#[derive(Clone, PartialEq, Eq)]
pub struct Ran {
    /// Its exit code; 128 and the number of a signal that ended it; 124 when its time was up.
    pub code: i32,
    /// All it wrote to stdout.
    pub stdout: String,
    /// All it wrote to stderr.
    pub stderr: String,
    /// Guest and command, for messages.
    pub(crate) what: String,
    /// The console's tail of a command that failed, for messages.
    pub(crate) console: String,
}

impl Ran {
    /// Itself, when the code is 0.
    ///
    /// # Errors
    /// Otherwise: the command with its output and the guest's console.
    pub fn ok(self) -> Result<Self, LabError> {
        self.expect(0)
    }

    /// Itself, when it has ended with this code.
    ///
    /// # Errors
    /// Otherwise: as of [`Self::ok`].
    pub fn expect(self, code: i32) -> Result<Self, LabError> {
        if self.code == code {
            return Ok(self);
        }
        Err(LabError::Command(format!("{self:?}\nexpected {code}\n{}", self.console)))
    }

    /// Stdout without the white space around it.
    #[must_use]
    pub fn text(&self) -> &str {
        self.stdout.trim()
    }
}

impl std::fmt::Debug for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\nexit code {}", self.what, self.code)?;
        for (name, text) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !text.trim().is_empty() {
                write!(f, "\n-- {name}\n{}", text.trim_end())?;
            }
        }
        Ok(())
    }
}
