//! Names and lists of a configuration. They become names of configfs directories and words of tgtd's requests, so what
//! could mean something else there is refused here.

use ocf_lib::resource::param::{Content, FromParam};

/// RFC 7143 (4.2.7.1): up to 223 bytes.
const LONGEST_NAME: usize = 223;

/// A name of a target, `iqn.`, `eui.` or `naa.`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetName(pub String);

impl FromParam for TargetName {
    const CONTENT: Content = Content::String;

    fn from_param(text: &str) -> Result<Self, String> {
        if is_name(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("'{text}' is not a name of an iSCSI target"))
        }
    }
}

fn is_name(text: &str) -> bool {
    is_word(text) && text.len() <= LONGEST_NAME && !text.starts_with('.') && !text.contains('/')
}

/// tgtd separates the words of a request by commas.
fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == ',')
}

/// A list of initiators, separated by blanks: names, or for tgt also addresses and networks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Initiators(pub Vec<String>);

impl FromParam for Initiators {
    const CONTENT: Content = Content::String;

    fn from_param(text: &str) -> Result<Self, String> {
        // A slash is part of a network (10.0.0.0/8); no name of a directory is made of such.
        let good = |word: &str| is_word(word) && word.len() <= LONGEST_NAME && !word.starts_with('.');
        let mut words: Vec<String> = Vec::new();
        for word in text.split_ascii_whitespace() {
            if !good(word) {
                return Err(format!("'{word}' is neither an initiator's name nor an address"));
            }
            if !words.iter().any(|known| known == word) {
                words.push(word.to_owned());
            }
        }
        Ok(Self(words))
    }

    fn when_unset() -> Option<Self> {
        Some(Self::default())
    }
}

/// True for a name (RFC 7143), as opposed to an address.
pub fn is_initiator_name(word: &str) -> bool {
    ["iqn.", "eui.", "naa."].iter().any(|prefix| word.starts_with(prefix)) && !word.contains('/')
}

/// `name=value` pairs, separated by blanks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings(pub Vec<(String, String)>);

impl FromParam for Settings {
    const CONTENT: Content = Content::String;

    fn from_param(text: &str) -> Result<Self, String> {
        text.split_ascii_whitespace()
            .map(|word| match word.split_once('=') {
                Some((name, value)) if is_name(name) && is_word(value) => {
                    Ok((name.to_owned(), value.to_owned()))
                }
                _ => Err(format!("'{word}' is not name=value")),
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    fn when_unset() -> Option<Self> {
        Some(Self::default())
    }
}

/// What a unit shows to initiators: a device, a file, or what a backing store takes for one. Both targets separate their
/// words by commas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorePath(pub String);

impl FromParam for StorePath {
    const CONTENT: Content = Content::String;

    fn from_param(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.contains(|c: char| c == ',' || c.is_control()) {
            Err(format!("'{text}' has a comma or a line break in it, which neither tgt nor lio-t can take"))
        } else {
            Ok(Self(text.to_owned()))
        }
    }
}

/// Text of a SCSI page: printable ASCII, without what ends a word in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScsiText(pub String);

impl FromParam for ScsiText {
    const CONTENT: Content = Content::String;

    fn from_param(text: &str) -> Result<Self, String> {
        let good = |c: char| (c.is_ascii_graphic() || c == ' ') && c != ',';
        if !text.is_empty() && text.chars().all(good) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("'{text}' is not text that a SCSI device can have (printable ASCII without commas)"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_directory_or_its_word() {
        for bad in ["", "../core", "iqn.a/b", ".", "iqn a", "iqn.a,b", "iqn\n", &"i".repeat(224)] {
            assert!(TargetName::from_param(bad).is_err(), "{bad:?}");
        }
        assert!(TargetName::from_param("iqn.2026-01.lab:t").is_ok());
    }

    #[test]
    fn lists() {
        assert_eq!(Initiators::from_param(" a  b a\tc ").unwrap().0, ["a", "b", "c"]);
        assert!(Initiators::from_param("a,b").is_err());
        assert_eq!(Initiators::from_param("").unwrap().0, Vec::<String>::new());
        assert_eq!(
            Settings::from_param("A=1 B=x=y").unwrap().0,
            [("A".to_owned(), "1".to_owned()), ("B".to_owned(), "x=y".to_owned())]
        );
        assert!(Settings::from_param("A").is_err() && Settings::from_param("../x=1").is_err());
        assert!(StorePath::from_param("/dev/a b").is_ok() && StorePath::from_param("/a,readonly=1").is_err());
        assert!(ScsiText::from_param("a b").is_ok() && ScsiText::from_param("a,b").is_err());
    }
}
