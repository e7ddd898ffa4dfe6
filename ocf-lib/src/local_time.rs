//! Local wall-clock time as text, with a strftime(3) format: `HA_DATEFMT` is one.

use std::ffi::CString;

/// Now, formatted with `format` (strftime(3)); the empty string when the format has a NUL or its
/// result is longer than 255 bytes.
pub fn format(format: &str) -> String {
    let Ok(format) = CString::new(format) else {
        return String::new();
    };
    let mut buffer = [0u8; 256];
    // SAFETY: `time` accepts a null pointer; `localtime_r` writes only into `parts`, which is a plain
    // C struct for which all zero bytes are valid; `strftime` writes at most `buffer.len()` bytes,
    // reads `format` up to its NUL, and answers how many it wrote.
    let written = unsafe {
        let now = libc::time(std::ptr::null_mut());
        let mut parts: libc::tm = std::mem::zeroed();
        if libc::localtime_r(&raw const now, &raw mut parts).is_null() {
            return String::new();
        }
        libc::strftime(buffer.as_mut_ptr().cast(), buffer.len(), format.as_ptr(), &raw const parts)
    };
    String::from_utf8_lossy(buffer.get(..written).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn formats_and_refuses_nul() {
        assert_eq!(super::format("%Y").len(), 4);
        assert_eq!(super::format("%%"), "%");
        assert_eq!(super::format("a\0b"), "");
    }
}
