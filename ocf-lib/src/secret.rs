//! Secrets: bytes that cannot be printed and are wiped when dropped.

use zeroize::Zeroizing;

/// A password, key or token.
///
/// It has neither `Debug` nor `Display`, so that a log line or an exit reason cannot contain it, and
/// its memory is overwritten when it is dropped.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes ownership of the bytes. The caller's other copies are the caller's to wipe.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes themselves, for the one call that needs them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
