//! The counts in a test runner's own summary.

use std::fmt;

/// How many passed, failed and were skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub passed: u64,
    pub failed: u64,
    pub skipped: u64,
}

impl Counts {
    /// One check that has no counts of its own.
    pub const fn check(ok: bool) -> Self {
        Self { passed: ok as u64, failed: !ok as u64, skipped: 0 }
    }

    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    /// A run that ended badly without a failed test (it did not compile, or was ended) is one failure.
    #[must_use]
    pub fn with_exit(mut self, ok: bool) -> Self {
        if !ok && self.failed == 0 {
            self.failed = 1;
        }
        self
    }
}

/// The closing line: `12 passed, 0 failed`, with `, 1 skipped` only when something was.
impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        Ok(())
    }
}

/// Nextest's `Summary [0.1s] 3 tests run: 1 passed (1 slow), 1 failed, 1 timed out, 4 skipped`.
///
/// `None` without such a line. Its skipped are the ignored tests and what a filter left out.
pub fn nextest(text: &str) -> Option<Counts> {
    let text = without_colours(text);
    let line = text.lines().rev().find(|line| line.trim_start().starts_with("Summary ["))?;
    let (_, counts) = line.split_once("run: ")?;
    let mut sum = Counts::default();
    for part in split_outside_brackets(counts) {
        let mut words = part.split_whitespace();
        let count: u64 = words.next()?.parse().ok()?;
        match words.next()? {
            "passed" => sum.passed += count,
            "skipped" => sum.skipped += count,
            // failed, timed out, exec failed: each is a test that did not pass.
            _ => sum.failed += count,
        }
    }
    Some(sum)
}

/// The sum of cargo test's `test result: ok. 3 passed; 0 failed; 1 ignored; ...` lines; `None` without one.
pub fn cargo_test(text: &str) -> Option<Counts> {
    let text = without_colours(text);
    let mut sum: Option<Counts> = None;
    for line in text.lines().filter_map(|line| line.trim_start().strip_prefix("test result: ")) {
        let sum = sum.get_or_insert_default();
        for part in line.split(['.', ';']) {
            let mut words = part.split_whitespace();
            let (Some(count), Some(word)) = (words.next().and_then(|n| n.parse::<u64>().ok()), words.next())
            else {
                continue;
            };
            match word {
                "passed" => sum.passed += count,
                "failed" => sum.failed += count,
                "ignored" => sum.skipped += count,
                _ => {}
            }
        }
    }
    sum
}

/// `1 passed (1 slow, 2 flaky), 3 failed` -> two parts.
fn split_outside_brackets(text: &str) -> Vec<String> {
    let mut depth = 0_u32;
    let mut parts = vec![String::new()];
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => parts.push(String::new()),
            _ if depth == 0 => {
                if let Some(part) = parts.last_mut() {
                    part.push(c);
                }
            }
            _ => {}
        }
    }
    parts
}

fn without_colours(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c == '\x1b' {
            // CSI: up to the letter that ends it.
            for c in chars.by_ref() {
                if c.is_ascii_alphabetic() {
                    break;
                }
            }
        } else {
            plain.push(c);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(passed: u64, failed: u64, skipped: u64) -> Counts {
        Counts { passed, failed, skipped }
    }

    #[test]
    fn nextests_summary() {
        let text =
            "   PASS [   0.003s] a b\n────\n     Summary [   0.005s] 12 tests run: 12 passed, 0 skipped\n";
        assert_eq!(nextest(text), Some(counts(12, 0, 0)));
        let text = "Summary [  61.2s] 9/12 tests run: 4 passed (1 slow, 1 leaky), 2 failed, 2 timed out, 1 exec failed, 3 skipped\n  FAIL x";
        assert_eq!(nextest(text), Some(counts(4, 5, 3)));
        let text = "\x1b[32;1m     Summary\x1b[0m [   0.005s] \x1b[1m1\x1b[0m test run: \x1b[1m1\x1b[0m passed, \x1b[1m0\x1b[0m skipped";
        assert_eq!(nextest(text), Some(counts(1, 0, 0)));
        assert_eq!(nextest("error: could not compile"), None);
    }

    #[test]
    fn cargo_tests_results_are_added_up() {
        let text = "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
                    test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 7 filtered out; finished in 1.20s\n";
        assert_eq!(cargo_test(text), Some(counts(4, 2, 1)));
        assert_eq!(cargo_test("error[E0425]: cannot find"), None);
    }

    #[test]
    fn a_bad_end_is_a_failure_even_without_a_failed_test() {
        assert_eq!(counts(3, 0, 0).with_exit(false), counts(3, 1, 0));
        assert_eq!(counts(3, 2, 0).with_exit(false), counts(3, 2, 0));
        assert_eq!(counts(3, 0, 0).with_exit(true), counts(3, 0, 0));
    }

    #[test]
    fn the_closing_line_is_the_plain_one() {
        assert_eq!(counts(3, 0, 0).to_string(), "3 passed, 0 failed");
        assert_eq!(counts(3, 1, 2).to_string(), "3 passed, 1 failed, 2 skipped");
    }
}
