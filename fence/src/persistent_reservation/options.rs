//! Keys and devices as the agents' options have them.

use super::key::Key;
use ocf_lib::fence::{FromText, Kind};
use std::collections::BTreeSet;

/// Words between commas and blanks, as upstream's `devices` has them.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty())
}

impl FromText for Key {
    const KIND: Kind = Kind::Text;

    fn from_text(text: &[u8]) -> Result<Self, String> {
        Self::parse(&String::from_utf8_lossy(text))
    }
}

/// Keys between commas and blanks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyList(pub BTreeSet<Key>);

impl FromText for KeyList {
    const KIND: Kind = Kind::Text;

    fn from_text(text: &[u8]) -> Result<Self, String> {
        words(&String::from_utf8_lossy(text)).map(Key::parse).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_split_at_commas_and_blanks() {
        assert_eq!(words(" /dev/a, /dev/b\t/dev/c,,").collect::<Vec<_>>(), ["/dev/a", "/dev/b", "/dev/c"]);
        let keys: BTreeSet<Key> = [1, 0xab].into_iter().filter_map(Key::new).collect();
        assert_eq!(KeyList::from_text(b"0x1, AB 1"), Ok(KeyList(keys)));
        assert_eq!(KeyList::from_text(b""), Ok(KeyList::default()));
        assert!(KeyList::from_text(b"1, x").is_err());
    }
}
