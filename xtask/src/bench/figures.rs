//! The figures of one program on one piece of work, from its samples.

use super::call::Sample;
use super::processes::Processes;
use serde_json::{Value, json};
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Figures {
    pub runs: usize,
    pub wall_min: Duration,
    pub wall_median: Duration,
    pub cpu_min: Duration,
    pub cpu_median: Duration,
    pub processes: Processes,
    /// Datagrams over loopback in one call; only of fence agents.
    pub datagrams: Option<u64>,
}

impl Figures {
    /// `None` without samples.
    pub fn of(samples: &[Sample], processes: Processes, datagrams: Option<u64>) -> Option<Self> {
        let mut wall: Vec<Duration> = samples.iter().map(|sample| sample.wall).collect();
        let mut cpu: Vec<Duration> = samples.iter().map(|sample| sample.cpu).collect();
        wall.sort();
        cpu.sort();
        Some(Self {
            runs: samples.len(),
            wall_min: *wall.first()?,
            wall_median: *wall.get(wall.len() / 2)?,
            cpu_min: *cpu.first()?,
            cpu_median: *cpu.get(cpu.len() / 2)?,
            processes,
            datagrams,
        })
    }

    pub fn json(&self) -> Value {
        json!({
            "runs": self.runs,
            "wall_min_ms": ms(self.wall_min),
            "wall_median_ms": ms(self.wall_median),
            "cpu_min_ms": ms(self.cpu_min),
            "cpu_median_ms": ms(self.cpu_median),
            "forks": self.processes.forks,
            "execs": self.processes.execs,
            "peak_rss_kib": self.processes.peak_kib,
            "datagrams": self.datagrams,
        })
    }
}

pub fn ms(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}

/// `a` as a part of `b`; infinite when there is no `b`.
pub fn ratio(a: Duration, b: Duration) -> f64 {
    if b.is_zero() { f64::INFINITY } else { a.as_secs_f64() / b.as_secs_f64() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minimum_and_median() {
        let samples: Vec<Sample> = [5, 1, 9, 3, 7]
            .map(|n| Sample { wall: Duration::from_millis(n), cpu: Duration::from_millis(n * 2), code: 0 })
            .to_vec();
        let figures = Figures::of(&samples, Processes::default(), None).unwrap();
        let found = [figures.wall_min, figures.wall_median, figures.cpu_min, figures.cpu_median];
        assert_eq!(found.map(|span| span.as_millis()), [1, 5, 2, 10]);
        assert!(Figures::of(&[], Processes::default(), None).is_none());
    }

    #[test]
    fn a_ratio_to_nothing_is_no_success() {
        assert!(ratio(Duration::from_millis(1), Duration::ZERO) > 1e9);
    }
}
