//! Reservation keys: numbers, however they are written.

use std::fmt;
use std::num::NonZeroU64;

/// A reservation key. Two spellings of one number are one key; 0 means "no key" in the standards and is none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(NonZeroU64);

impl Key {
    /// The key with that number; `None` for 0.
    pub fn new(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self)
    }

    /// Up to 16 hexadecimal digits in any case, with or without `0x`, zeros in front or blanks around.
    ///
    /// # Errors
    /// A phrase that says what a key is.
    pub fn parse(text: &str) -> Result<Self, String> {
        let word = text.trim();
        let digits = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")).unwrap_or(word);
        let number = digits
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit())
            .then(|| u64::from_str_radix(digits, 16).ok())
            .flatten()
            .ok_or_else(|| "a key is up to 16 hexadecimal digits".to_owned())?;
        Self::new(number).ok_or_else(|| "0 is no key: it means that there is none".to_owned())
    }

    pub const fn number(self) -> u64 {
        self.0.get()
    }
}

/// As `sg_persist` prints it, without `0x`: lower case, no zeros in front.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn upper_case_and_0x_are_the_same_key() {
        let key = Key::new(0xdead_beef).unwrap();
        for text in ["deadbeef", "DEADBEEF", "0xdeadbeef", "0XDeadBeef", "00deadbeef", " deadbeef\n"] {
            assert_eq!(Key::parse(text), Ok(key), "{text:?}");
        }
        assert_eq!(key.to_string(), "deadbeef");
    }

    #[test]
    fn what_is_no_key() {
        for text in ["", "0", "0x", "0x0", "-1", "+1", "12g", "1 2", "10000000000000000"] {
            assert!(Key::parse(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn every_key_comes_back(number in 1_u64..) {
            let key = Key::new(number).unwrap();
            prop_assert_eq!(Key::parse(&key.to_string()), Ok(key));
            prop_assert_eq!(Key::parse(&format!("{number:#018X}")), Ok(key));
        }
    }
}
