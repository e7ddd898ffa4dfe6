//! What of upstream's suites is not done here, and why: `skips.txt`. A skip is a line that a person can read, and no
//! test that passes.

/// `SUITE | CASE | REASON`.
const SKIPS: &str = include_str!("skips.txt");

#[test]
fn every_skip_says_why() {
    let mut count = 0;
    for line in SKIPS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let parts: Vec<&str> = line.split('|').map(str::trim).collect();
        let [suite, case, reason] = parts.as_slice() else { panic!("not SUITE | CASE | REASON: {line}") };
        assert!(["cts-exec", "cts-fencing", "fence-agents", "ocft"].contains(suite), "{line}");
        assert!(!case.is_empty() && reason.len() > 20, "{line}");
        count += 1;
    }
    assert!(count > 0);
}
