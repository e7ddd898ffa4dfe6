//! The tiny guest's configuration.

use super::super::failure::LabError;
use super::super::guest::Guest;
use super::super::recipe;

/// A tiny guest: a kernel and a heart that beats on its console. It shuts down and reboots when it is asked to.
#[derive(Clone, Debug)]
pub struct Domain {
    name: String,
    words: Vec<String>,
    lines: Vec<String>,
}

impl Domain {
    /// A guest of this name, and of a UUID made of it: wherever it runs, it is the same.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), words: Vec::new(), lines: Vec::new() }
    }

    /// With a word for its first program: `deaf=1` (it ignores requests to shut down), `load=1` (it writes memory all the time),
    /// `crash=N` and `off=N` (at the Nth beat, four a second), `disk=1` (each beat is written to `xvda`, too).
    #[must_use]
    pub fn word(mut self, word: &str) -> Self {
        self.words.push(format!("lab.{word}"));
        self
    }

    /// With a line more in its configuration: `on_crash = "preserve"`.
    #[must_use]
    pub fn line(mut self, line: &str) -> Self {
        self.lines.push(line.to_owned());
        self
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where [`Self::put`] writes its configuration.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/etc/xen/{}.cfg", self.name)
    }

    /// 32 hexadecimal digits.
    #[must_use]
    pub fn uuid(&self) -> String {
        let digits: String = ["1", "2", "3"].map(|part| recipe::digest(&[&self.name, part])).concat();
        digits.chars().take(32).collect()
    }

    /// Its configuration, in the words of `xl.cfg(5)`.
    #[must_use]
    pub fn config(&self) -> String {
        let uuid = self.uuid();
        let mut parts = Vec::new();
        let mut rest = uuid.as_str();
        for length in [8, 4, 4, 4, 12] {
            let (part, more) = rest.split_at(length.min(rest.len()));
            parts.push(part);
            rest = more;
        }
        let mut text = format!(
            "name = \"{}\"\nuuid = \"{}\"\ntype = \"pv\"\nkernel = \"/usr/lib/lab/xen/kernel\"\n\
             ramdisk = \"/var/lib/lab/xen-guest\"\nmemory = 112\nextra = \"console=hvc0 quiet {}\"\n",
            self.name,
            parts.join("-"),
            self.words.join(" ")
        );
        for line in &self.lines {
            text.extend([line, "\n"]);
        }
        text
    }

    /// Writes the configuration where an administrator has it: `/etc/xen/NAME.cfg`.
    ///
    /// # Errors
    /// As of [`Guest::put`].
    pub fn put(&self, host: &Guest) -> Result<(), LabError> {
        host.put(&self.path(), &self.config())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_guest_everywhere() {
        let one = Domain::named("vm").word("deaf=1").line("on_crash = \"preserve\"");
        assert_eq!(one.uuid(), Domain::named("vm").uuid());
        assert_ne!(one.uuid(), Domain::named("other").uuid());
        assert_eq!(one.uuid().len(), 32);
        let text = one.config();
        assert!(text.contains("quiet lab.deaf=1\"\non_crash = \"preserve\"\n"), "{text}");
        let uuid = text.lines().find_map(|line| line.strip_prefix("uuid = ")).unwrap();
        assert_eq!(uuid.trim_matches('"').replace('-', ""), one.uuid());
    }
}
