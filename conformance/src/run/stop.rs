//! The end of a run before its end: an interrupt, a request to terminate, or its time limit. What is known is told.

use nix::sys::signal::{SigSet, Signal};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

static SIGNALLED: AtomicBool = AtomicBool::new(false);
static UNTIL: Mutex<Option<Instant>> = Mutex::new(None);

fn signals() -> SigSet {
    SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM])
}

/// From now on a thread waits for the signals; all others, which must be started after this, do not get them.
pub(super) fn watch_signals() {
    if signals().thread_block().is_err() {
        return;
    }
    std::thread::spawn(|| {
        if signals().wait().is_ok() {
            SIGNALLED.store(true, Ordering::SeqCst);
        }
        // The next one ends the judge as it would have without all this.
        let _ = signals().thread_unblock();
        loop {
            std::thread::park();
        }
    });
}

/// A trial gets no blocked signals from the judge that started it.
pub fn let_signals_through() {
    let _ = SigSet::empty().thread_set_mask();
}

/// The run's own end.
pub(super) fn at(until: Option<Instant>) {
    if let Ok(mut place) = UNTIL.lock() {
        *place = until;
    }
}

/// Why nothing more is to be done, if so.
pub(super) fn asked() -> Option<String> {
    if SIGNALLED.load(Ordering::SeqCst) {
        return Some("the run was interrupted".to_owned());
    }
    let until = UNTIL.lock().ok().and_then(|until| *until)?;
    (Instant::now() > until).then(|| "the time of the run was over: --time-limit".to_owned())
}
