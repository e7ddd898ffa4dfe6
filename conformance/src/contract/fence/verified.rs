//! A device that accepts every order and does nothing is never reported as done.

use super::form::{ask, declares, expect_an_end, filled, with};
use crate::bmc::{Bmc, Order, Reaction};
use crate::call::Answer;
use crate::case::{Case, Stop, Trial};
use crate::host::OWN;
use crate::subject::Family;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub fn cases() -> Vec<Case> {
    vec![Case::contract(
        "fence/off-is-verified",
        Family::Fence,
        &["device", "lies"],
        "A device that accepts off and stays on is never reported off: exit 1, and no \"Success\". Where the device is a \
         file (status_file, as fence_dummy has), the judge writes \"on\" again whenever something else stands there; the \
         agent is told to wait a second (power_wait) before it looks. An agent whose case files tell of a BMC gets a real one \
         that ignores the order.",
        verified,
    )]
}

fn verified(trial: &mut Trial<'_>) -> Result<(), Stop> {
    if let Some(bmc) = crate::behaviour::device(&trial.subject.name)? {
        return verified_at(trial, &bmc);
    }
    if !declares(trial, "status_file") || !declares(trial, "power_wait") {
        return Err(Stop::DoesNotApply("its device cannot be made of a file".to_owned()));
    }
    let device = format!("{OWN}/device");
    let set = |state: &str| std::fs::write(&device, state).map_err(|why| format!("{device}: {why}"));
    let mut values = with(&filled(trial), "status_file", &device);
    for (name, value) in [("power_wait", "1"), ("power_timeout", "2"), ("stonith_status_sleep", "1")] {
        if declares(trial, name) {
            values = with(&values, name, value);
        }
    }
    set("on")?;
    let before = ask(trial, &values, "status")?;
    if !before.is(0) {
        return Err(Stop::DoesNotApply("its status file is not one that holds \"on\"".to_owned()));
    }
    // An obedient device first: a case that cannot see an off would prove nothing.
    let off = ask(trial, &values, "off")?;
    trial.expect_code(&off, &[0], "off of a device that obeys");
    let status = ask(trial, &values, "status")?;
    trial.expect_code(&status, &[2], "status of a device that was switched off");
    let again = ask(trial, &values, "off")?;
    trial.expect_code(&again, &[0], "off of what is off");
    for action in ["off", "reboot"] {
        set("on")?;
        let answer = with_a_stubborn_device(&device, || ask(trial, &values, action))?;
        expect_an_end(trial, &answer, &format!("{action} of a device that stays on"));
        lied(trial, &answer, action);
    }
    Ok(())
}

fn verified_at(trial: &mut Trial<'_>, bmc: &Bmc) -> Result<(), Stop> {
    let mut values = crate::behaviour::ways(&trial.subject.name).into_iter().next().unwrap_or_default();
    values = with(&values, "power_timeout", "2");
    let off = ask(trial, &values, "off")?;
    trial.expect_code(&off, &[0], "off of a BMC that obeys");
    trial.expect(!bmc.power(), || "off should switch the node off, and it is on".to_owned(), &off);
    let status = ask(trial, &values, "status")?;
    trial.expect_code(&status, &[2], "status of a node that was switched off");
    for order in [Order::Off, Order::Reset] {
        bmc.react(order, &Reaction::Ignore)?;
    }
    bmc.set_power(true)?;
    for action in ["off", "reboot"] {
        let answer = ask(trial, &values, action)?;
        expect_an_end(trial, &answer, &format!("{action} of a node that stays on"));
        lied(trial, &answer, action);
    }
    Ok(())
}

fn lied(trial: &mut Trial<'_>, answer: &Answer, action: &str) {
    let told = answer.out.contains("Success");
    trial.expect(
        !answer.is(0) && !told,
        || format!("{action} of a device that accepts it and stays on should fail, and succeeds"),
        answer,
    );
}

fn with_a_stubborn_device<T>(device: &str, work: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                if std::fs::read_to_string(device)
                    .is_ok_and(|state| !state.is_empty() && state.trim() != "on")
                {
                    let _ = std::fs::write(device, "on");
                }
                crate::call::pause(Duration::from_micros(500));
            }
        });
        let result = work();
        done.store(true, Ordering::SeqCst);
        result
    })
}
