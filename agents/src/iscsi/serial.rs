//! What a logical unit calls itself when nobody says: derived from the resource's name as upstream derives it, so that
//! it is the same on every node, and the same disk to multipath after a change from upstream's agent to this one.

use md5::{Digest, Md5};
use std::fmt::Write;

/// Characters of the name that make the SCSI ID.
const ID_LENGTH: usize = 16;

/// The first 8 hexadecimal digits of the MD5 of the resource's name.
pub fn number(resource: &str) -> String {
    digest(resource, 4)
}

/// The first 16 characters of the resource's name.
pub fn id(resource: &str) -> String {
    resource.chars().take(ID_LENGTH).collect()
}

/// The name of a link in configfs. targetcli takes 10 random digits; ours are the same at every start.
pub fn link(resource: &str) -> String {
    digest(resource, 5)
}

/// A name of a file for any text.
pub fn mark(text: &str) -> String {
    digest(text, 16)
}

fn digest(resource: &str, bytes: usize) -> String {
    Md5::digest(resource.as_bytes()).iter().take(bytes).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_of_upstream() {
        // `echo -n default | md5sum`, and what upstream's agent passed on as wwn for a resource named lu1.
        assert_eq!(number("default"), "c21f969b");
        assert_eq!(number("lu1"), "b56fbecf");
        assert_eq!(id("a-resource-with-a-long-name"), "a-resource-with-");
        assert_eq!(id("lu1"), "lu1");
        assert_eq!(link("lu1").len(), 10);
    }
}
