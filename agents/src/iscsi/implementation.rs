//! Which target software a resource means: the parameter `implementation`, or what is installed.

use ocf_lib::cmd::which;
use ocf_lib::resource::code::Fault;
use ocf_lib::resource::param::{Content, FromParam};
use std::ffi::OsStr;

/// Every word that upstream's agents take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    Iet,
    Tgt,
    Lio,
    LioT,
    Scst,
}

/// What Ringfence can drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Implementation {
    Tgt,
    Lio,
}

/// In the order in which upstream looks for them, with the tool that it looks for.
const KNOWN: [(Word, &str, &str); 5] = [
    (Word::Iet, "iet", "ietadm"),
    (Word::Tgt, "tgt", "tgtadm"),
    (Word::Lio, "lio", "lio_node"),
    (Word::LioT, "lio-t", "targetcli"),
    (Word::Scst, "scst", "scstadmin"),
];

const SUPPORTED: &str = "supported are tgt and lio-t";

impl Word {
    fn text(self) -> &'static str {
        KNOWN.iter().find(|(word, ..)| *word == self).map_or("", |(_, text, _)| text)
    }

    fn supported(self) -> Option<Implementation> {
        match self {
            Self::Tgt => Some(Implementation::Tgt),
            Self::LioT => Some(Implementation::Lio),
            Self::Iet | Self::Lio | Self::Scst => None,
        }
    }
}

impl FromParam for Word {
    const CONTENT: Content = Content::String;

    fn from_param(text: &str) -> Result<Self, String> {
        KNOWN
            .iter()
            .find(|(_, word, _)| *word == text)
            .map(|(word, ..)| *word)
            .ok_or_else(|| format!("'{text}' is not an implementation of iSCSI targets; {SUPPORTED}"))
    }
}

/// For `validate-all` and start, without a look at the host: a word that cannot work anywhere (code 6).
pub fn check(word: Option<Word>) -> Result<(), Fault> {
    match word {
        Some(word) if word.supported().is_none() => Err(Fault::configured(format!(
            "parameter implementation: '{}' is not supported by this agent; {SUPPORTED}",
            word.text()
        ))),
        Some(_) | None => Ok(()),
    }
}

/// What start uses: the word, or the first that is installed (code 5: none, or one that is not supported).
pub fn choose(word: Option<Word>) -> Result<Implementation, Fault> {
    choose_among(word, &|tool| which(OsStr::new(tool)).is_some())
}

fn choose_among(word: Option<Word>, is_there: &dyn Fn(&str) -> bool) -> Result<Implementation, Fault> {
    check(word)?;
    if let Some(supported) = word.and_then(Word::supported) {
        return Ok(supported);
    }
    match KNOWN.iter().find(|(.., tool)| is_there(tool)) {
        None => Err(Fault::installed(
            "no software for iSCSI targets is installed (looked for ietadm, tgtadm, lio_node, targetcli, scstadmin): \
             install tgt or targetcli, or set implementation=lio-t, which needs the kernel's modules alone",
        )),
        Some((word, text, tool)) => word.supported().ok_or_else(|| {
            Fault::installed(format!(
                "the first software for iSCSI targets found here is {tool} ({text}), which this agent does not support: set \
                 implementation to tgt or lio-t"
            ))
        }),
    }
}

/// Where `stop` and probes look: never a fault. Without a word that says it, everywhere.
pub fn places(word: Option<Word>) -> Vec<Implementation> {
    match word.and_then(Word::supported).map_or_else(|| choose(None), Ok) {
        Ok(one) => vec![one],
        Err(_) => vec![Implementation::Tgt, Implementation::Lio],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(word: Option<Word>, tools: &[&str]) -> Result<Implementation, (u8, String)> {
        choose_among(word, &|tool| tools.contains(&tool))
            .map_err(|fault| (fault.code().number(), fault.reason().to_owned()))
    }

    #[test]
    fn the_default_is_what_upstream_would_find_first() {
        assert_eq!(chosen(None, &["targetcli", "tgtadm"]), Ok(Implementation::Tgt));
        assert_eq!(chosen(None, &["targetcli", "scstadmin"]), Ok(Implementation::Lio));
        assert_eq!(chosen(None, &[]).unwrap_err().0, 5);
        let (code, reason) = chosen(None, &["tgtadm", "ietadm"]).unwrap_err();
        assert_eq!(code, 5);
        assert!(reason.contains("ietadm (iet)") && reason.contains("tgt or lio-t"), "{reason}");
    }

    #[test]
    fn a_word_needs_no_tool_and_one_that_is_not_supported_is_6_for_start_only() {
        assert_eq!(chosen(Some(Word::LioT), &[]), Ok(Implementation::Lio));
        let (code, reason) = chosen(Some(Word::Scst), &["scstadmin"]).unwrap_err();
        assert_eq!(code, 6);
        assert!(reason.contains("supported are tgt and lio-t"), "{reason}");
        assert!(!places(Some(Word::Scst)).is_empty());
        assert!(Word::from_param("lio_t").unwrap_err().contains("supported are"));
    }
}
