//! A client of an exported volume who counts: numbered records with checksums, each one on stable storage before the next
//! ([`Writer`]), and what of them is there afterwards ([`Written::verify`]).
//!
//! A record counts as acknowledged when `pwrite` with `O_DIRECT` and the `fdatasync` behind it have returned, which for a SCSI disk
//! with a write cache is a SYNCHRONIZE CACHE that the target has answered.

use super::failure::LabError;
use super::guest::{Guest, Running};
use std::time::{Duration, Instant};

/// What the guest runs; needs `python3` (a dependency of `targetcli-fb`).
const PROGRAM: &str = include_str!("../../lab/record-writer.py");
const PLACE: &str = "/root/record-writer.py";
/// Reading everything back, over an emulated network.
const CHECK: Duration = Duration::from_secs(180);

/// Writes until it is stopped.
#[derive(Debug)]
pub struct Writer<'a> {
    running: Running<'a>,
}

/// What a writer had acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// How many records, counted from the first.
    pub count: u64,
    /// The longest time without an acknowledgement: what a client has noticed of a failover.
    pub longest_pause: Duration,
    /// How often a write was refused and tried again.
    pub retries: u64,
}

impl<'a> Writer<'a> {
    /// Starts writing to a device (or a file that has its size) of the guest, for up to `limit`.
    ///
    /// # Errors
    /// As of [`Guest::run`].
    pub fn start(guest: &'a Guest, device: &str, limit: Duration) -> Result<Self, LabError> {
        guest.put_mode(PLACE, PROGRAM, 0o755)?;
        let running = guest.start_within(limit, &format!("exec {PLACE} write {device}"))?;
        Ok(Self { running })
    }

    /// How many records were acknowledged so far.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        Written::of(&self.running.so_far().stdout).count
    }

    /// Waits until `more` records were acknowledged from now on.
    ///
    /// # Errors
    /// When they are not within `limit`: with what the writer has said last.
    pub fn wait_for(&self, more: u64, limit: Duration) -> Result<u64, LabError> {
        let began = Instant::now();
        let wanted = self.acknowledged() + more;
        loop {
            let count = self.acknowledged();
            if count >= wanted {
                return Ok(count);
            }
            if began.elapsed() >= limit {
                let what = format!("acknowledgement of record {}", wanted.saturating_sub(1));
                let said = self.running.so_far();
                let last = format!("{} {}", said.stdout.lines().last().unwrap_or("nothing"), said.stderr);
                return Err(LabError::Timeout { what, after: limit, last });
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ends it.
    ///
    /// # Errors
    /// When it had ended by itself, or does not end.
    pub fn stop(self) -> Result<Written, LabError> {
        if let Some(ran) = self.running.ended()? {
            return Err(LabError::Command(format!("the writer has ended by itself: {ran:?}")));
        }
        let ran = self.running.stop()?;
        Ok(Written::of(&ran.stdout))
    }
}

impl Written {
    fn of(said: &str) -> Self {
        let (mut written, mut last) = (Self { count: 0, longest_pause: Duration::ZERO, retries: 0 }, None);
        for line in said.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words.as_slice() {
                ["ack", number, at] => {
                    let (Ok(number), Ok(at)) = (number.parse::<u64>(), at.parse::<f64>()) else { continue };
                    let pause = last.map_or(Duration::ZERO, |last| {
                        Duration::try_from_secs_f64(at - last).unwrap_or_default()
                    });
                    written.longest_pause = written.longest_pause.max(pause);
                    written.count = number + 1;
                    last = Some(at);
                }
                ["retry", ..] => written.retries += 1,
                _ => {}
            }
        }
        written
    }

    /// Reads everything back, past the guest's cache: every acknowledged record must be there and whole.
    ///
    /// # Errors
    /// With the first that is not. Also when nothing was acknowledged: that proves nothing.
    pub fn verify(&self, guest: &Guest, device: &str) -> Result<(), LabError> {
        if self.count == 0 {
            return Err(LabError::Refused("not one record was acknowledged".to_owned()));
        }
        guest.put_mode(PLACE, PROGRAM, 0o755)?;
        let ran = guest.run_within(CHECK, &format!("exec {PLACE} check {device} {}", self.count))?.ok()?;
        if ran.text().starts_with("ok ") {
            return Ok(());
        }
        Err(LabError::Command(format!("{ran:?}")))
    }
}

impl Guest {
    /// Logs in to a target and answers the disk that came, by a name that stays when the session is made anew. The session
    /// outlives a target that is gone for ten minutes, and looks for it every two seconds.
    ///
    /// # Errors
    /// When there is no such target, or no disk comes.
    pub fn log_in(&self, portal: &str, iqn: &str, lun: u64) -> Result<String, LabError> {
        let disk = format!("/dev/disk/by-path/ip-{portal}:3260-iscsi-{iqn}-lun-{lun}");
        let set = |name: &str, value: u32| format!("$N -o update -n node.{name} -v {value}\n");
        let script = format!(
            "set -e
            pidof iscsid >/dev/null || iscsid
            iscsiadm -m discovery -t st -p {portal} >/dev/null
            N='iscsiadm -m node -T {iqn} -p {portal}'
            {}{}{}
            $N -l >/dev/null
            for i in $(seq 100); do [ -b {disk} ] && exit 0; udevadm settle; sleep 0.2; done
            echo 'no disk came'; lsscsi; exit 1",
            set("session.timeo.replacement_timeout", 600),
            set("conn[0].timeo.noop_out_interval", 2),
            set("conn[0].timeo.noop_out_timeout", 5),
        );
        self.run(&script)?.ok()?;
        Ok(disk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_acknowledged_is_counted_and_the_longest_pause_kept() {
        let said = "ack 0 10.000\nack 1 10.100\nretry 2 [Errno 5] Input/output error\nack 2 14.350\nack 3 14.400\nack";
        let written = Written::of(said);
        assert_eq!((written.count, written.retries), (4, 1));
        assert_eq!(written.longest_pause, Duration::from_millis(4250));
        assert_eq!(Written::of("").count, 0);
    }
}
