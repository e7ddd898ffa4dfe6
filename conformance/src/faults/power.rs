//! One schedule on the network between a fence agent and its device, and whether what the agent said was true.

use super::device::{self, MARGIN};
use super::machine::{Machine, PowerBox};
use super::order::{Ending, Kind, Sort, Survey, Told};
use crate::call::{Answer, Call, End, pause};
use crate::case::Parameters;
use crate::subject::Subject;
use ringfence_conformance::relay::ledger::{ids_given, path_is_to_blame};
use ringfence_conformance::relay::{SplitMix64, tcp, tls, udp};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Where the authority of the device's certificate lies, in a trial's host.
const AUTHORITY: &str = "/run/judge/authority.pem";

/// A device, and what is needed to reach it.
pub struct Bench<'a> {
    kind: Kind,
    subject: &'a Subject,
    survey: &'a Survey,
    machine: Machine,
    identity: Option<tls::Identity>,
    impostor: Option<Machine>,
}

/// The way to the device, for as long as it lasts.
enum Way {
    Udp(udp::FaultyPath),
    Tcp(tcp::FaultyPath),
    Tls(tcp::FaultyPath, #[allow(dead_code, reason = "held for its end")] tls::Terminator),
}

impl Way {
    fn address(&self) -> SocketAddr {
        match self {
            Self::Udp(path) => path.address(),
            Self::Tcp(path) | Self::Tls(path, _) => path.address(),
        }
    }
}

/// What is asked and how the device is.
pub struct Task {
    pub action: &'static str,
    pub lies: bool,
    pub was_on: bool,
    /// When somebody presses the button, for a status.
    pub button: Option<Duration>,
    /// Number of the way, and its parameters.
    pub way: usize,
    pub params: Parameters,
}

impl Task {
    pub fn draw(random: &mut SplitMix64, ways: &[Parameters]) -> Self {
        let lies = random.chance(12);
        let was_on = random.chance(75);
        let action = match random.below(100) {
            0..55 => "off",
            55..72 => "status",
            72..86 => "reboot",
            86..95 => "on",
            _ => "monitor",
        };
        let at = usize::try_from(random.below(ways.len() as u64)).unwrap_or(0);
        let params = ways.get(at).cloned().unwrap_or_default();
        let button =
            (action == "status" && random.chance(50)).then(|| Duration::from_millis(random.below(300)));
        Self { action, lies, was_on, button, way: at, params }
    }

    pub fn told(&self) -> String {
        let mut words =
            vec![format!("{} of a node that is {}", self.action, if self.was_on { "on" } else { "off" })];
        if self.lies {
            words.push("the device takes orders and does nothing".to_owned());
        }
        if let Some(after) = self.button {
            words.push(format!("its button is pressed after {} ms", after.as_millis()));
        }
        if !self.params.is_empty() {
            let params: Vec<String> =
                self.params.iter().map(|(name, value)| format!("{name}={value}")).collect();
            words.push(params.join(" "));
        }
        words.join(", ")
    }
}

impl<'a> Bench<'a> {
    pub fn new(kind: Kind, subject: &'a Subject, survey: &'a Survey) -> Result<Self, String> {
        let own = std::net::Ipv4Addr::new(192, 0, 2, 1).into();
        let machine = if kind == Kind::Udp { Machine::ipmi()? } else { Machine::Box(PowerBox::start(own)?) };
        let (mut identity, mut impostor) = (None, None);
        if kind == Kind::Tls {
            let made = tls::Identity::new(own)?;
            std::fs::write(AUTHORITY, &made.authority).map_err(|why| format!("{AUTHORITY}: {why}"))?;
            identity = Some(made);
            impostor = Some(Machine::Box(PowerBox::start(own)?));
        }
        Ok(Self { kind, subject, survey, machine, identity, impostor })
    }

    /// A call with options, as the fencer makes it.
    pub fn call(&self, at: SocketAddr, action: &str, params: &Parameters) -> Call {
        let call = self.subject.fencer(&device::lines(self.subject, at, action, params));
        // Where OpenSSL looks for authorities, and with it Python and curl.
        if self.kind == Kind::Tls { call.env("SSL_CERT_FILE", AUTHORITY) } else { call }
    }

    /// Without faults; for a survey.
    pub fn clean(&self, action: &str, params: &Parameters) -> Result<Answer, String> {
        let way = self.way(0, true, params)?.0;
        self.call(way.address(), action, params).run()
    }

    /// The device is as it is told to be.
    pub fn prepare(&self, on: bool) -> Result<(), String> {
        self.machine.lie(false)?;
        self.machine.set_power(on)
    }

    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    pub fn power(&self) -> bool {
        self.machine.power()
    }

    fn way(&self, seed: u64, clean: bool, params: &Parameters) -> Result<(Way, String), String> {
        let told = |why: std::io::Error| format!("the path: {why}");
        let at = self.machine.address();
        if self.kind == Kind::Udp {
            let mut schedule = if clean { udp::Schedule::default() } else { udp::Schedule::draw(seed) };
            if schedule.stale > 0 {
                schedule.earlier = self.earlier(params)?;
            }
            let story = schedule.to_string();
            let Machine::Ipmi(bmc) = &self.machine else { return Err("UDP needs an IPMI device".to_owned()) };
            let bmc = std::sync::Arc::clone(bmc);
            let restart = move || {
                let mut bmc = bmc.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                let _ = bmc.come_back();
            };
            return Ok((Way::Udp(udp::FaultyPath::start(at, schedule, restart).map_err(told)?), story));
        }
        let schedule = if clean { tcp::Schedule::CLEAN } else { tcp::Schedule::draw(seed) };
        let Some(identity) = &self.identity else {
            let story = schedule.to_string();
            return Ok((Way::Tcp(tcp::FaultyPath::start(at, schedule).map_err(told)?), story));
        };
        let mut random = SplitMix64::new(seed ^ 0x715);
        let drawn = usize::try_from(random.below(tls::Fault::ALL.len() as u64)).unwrap_or(0);
        let fault = if clean {
            tls::Fault::None
        } else {
            tls::Fault::ALL.get(drawn).copied().unwrap_or(tls::Fault::None)
        };
        // A fault of TLS is often best seen on a path that has none of its own.
        let schedule =
            if fault == tls::Fault::None || random.chance(30) { schedule } else { tcp::Schedule::CLEAN };
        let story = format!("{fault}; {schedule}");
        let impostor = self.impostor.as_ref().map_or(at, Machine::address);
        let end = tls::Terminator::start(at, impostor, identity, fault).map_err(told)?;
        let path = tcp::FaultyPath::start(end.address(), schedule).map_err(told)?;
        Ok((Way::Tls(path, end), story))
    }

    /// What the device answered when the node was in the other state: the worst that can come back out of the past.
    fn earlier(&self, params: &Parameters) -> Result<Vec<Vec<u8>>, String> {
        let power = self.machine.power();
        self.machine.set_power(!power)?;
        let (way, _) = self.way(0, true, params)?;
        self.call(way.address(), "status", params).run()?;
        self.machine.set_power(power)?;
        let Way::Udp(path) = way else { return Ok(Vec::new()) };
        Ok(path
            .passages()
            .into_iter()
            .filter(|passage| !passage.to_device)
            .map(|passage| passage.bytes)
            .collect())
    }

    pub fn run(&mut self, seed: u64) -> Told {
        super::busy::fairly(|more| self.attempt(seed, more))
    }

    fn attempt(&mut self, seed: u64, more: u32) -> Told {
        let mut told = Told::new(seed);
        if let Err(why) = self.schedule(seed, more, &mut told) {
            told.ending = None;
            told.flaws.clear();
            told.story.push(why);
            // Whatever was wrong with it, the next schedule shall not inherit it.
            let _ = self.machine.restart();
        }
        told
    }

    fn schedule(&mut self, seed: u64, more: u32, told: &mut Told) -> Result<(), String> {
        let mut random = SplitMix64::new(seed ^ 0xA6E2);
        let task = Task::draw(&mut random, &self.survey.ways);
        self.machine.lie(task.lies)?;
        self.machine.set_power(task.was_on)?;
        if let Some(impostor) = &self.impostor {
            impostor.set_power(task.was_on)?;
        }
        let mut before = self.machine.sessions().map_or(0, |open| open.unwrap_or(usize::MAX));
        if before > 20 {
            self.machine.restart()?;
            before = 0;
        }
        let (way, story) = self.way(seed, false, &task.params)?;
        self.machine.forget()?;
        told.schedule = format!("{}; {story}", task.told());
        let limit = device::longest(self.subject, task.action, &task.params) * more;
        let call = self.call(way.address(), task.action, &task.params).patience(limit + MARGIN * 2);
        let answer = std::thread::scope(|scope| {
            if let Some(after) = task.button {
                let machine = &self.machine;
                scope.spawn(move || {
                    pause(after);
                    let _ = machine.set_power(!task.was_on);
                });
            }
            call.run()
        })?;
        let end = Instant::now();
        told.note(&answer);
        judge(&task, &self.machine, &answer, limit, told);
        if let Way::Udp(path) = &way {
            // The device has been restarted on the way: the sessions from before are gone.
            let restarted = udp::Schedule::draw(seed).amnesia_at.is_some_and(|at| at < path.sent_to_device());
            self.sessions(path, if restarted { 0 } else { before }, end, told)?;
        }
        Ok(())
    }

    /// No session stays open where the device could be reached.
    fn sessions(
        &self,
        path: &udp::FaultyPath,
        before: usize,
        end: Instant,
        told: &mut Told,
    ) -> Result<(), String> {
        let open = || self.machine.sessions().map(|open| open.map(|open| open.saturating_sub(before)));
        let mut left = open();
        if !matches!(left, Some(Ok(0))) {
            // What the path still holds back arrives.
            pause(Duration::from_millis(350));
            left = open();
        }
        let Some(Ok(left)) = left else {
            // A corrupt packet too many: that is the simulator's own fault.
            told.story.push("the device has to be restarted".to_owned());
            return self.machine.restart();
        };
        let passages = path.passages();
        let blamed =
            ids_given(&passages).into_iter().filter(|id| path_is_to_blame(&passages, *id, end)).count();
        if left > blamed {
            told.story.push(format!("{left} sessions left open, {blamed} of them by the path's fault"));
            told.flaw(
                Sort::SessionOpen,
                "a session is closed when the device can be reached, and it stays open",
            );
        }
        Ok(())
    }
}

/// Whether what was said was so; and whether it was said in time and in the words of the fence agent API.
pub fn judge(task: &Task, machine: &Machine, answer: &Answer, limit: Duration, told: &mut Told) {
    let on = machine.power();
    let (was_on, action) = (task.was_on, task.action);
    let pressed = task.button.is_some_and(|after| after < answer.took);
    let lie = match (action, answer.code()) {
        ("off", Some(0)) if on => Some("off said success, and the node is on"),
        ("off", Some(0)) if was_on && !machine.ordered(false) => {
            Some("off said success, and nobody ordered it off")
        }
        ("on", Some(0)) if !on => Some("on said success, and the node is off"),
        ("reboot", Some(0)) if was_on && (task.lies || !machine.ordered(false)) => {
            Some("reboot said success, and the node was never off")
        }
        ("status", Some(0)) if !was_on && !pressed => {
            Some("status said on, and the node was off all the time")
        }
        ("status", Some(2)) if was_on && !pressed => {
            Some("status said off, and the node was on all the time")
        }
        _ => None,
    };
    let ending = match (lie, answer.end) {
        (Some(_), _) => Ending::False,
        (None, End::Hung) => Ending::Late,
        (None, End::Code(0)) => Ending::Succeeded,
        (None, End::Code(2)) if matches!(action, "status" | "monitor") => Ending::Succeeded,
        (None, End::Code(_) | End::Signal(_)) => Ending::Failed,
    };
    told.ended(answer, ending);
    if let Some(lie) = lie {
        told.flaw(Sort::FalseSuccess, lie);
    }
    if answer.took > limit + MARGIN {
        told.story.push(format!("its options allow {:.1} s", limit.as_secs_f64()));
        told.flaw(
            Sort::PastDeadline,
            format!("{action} ends within what its timeouts add up to, and it does not"),
        );
    }
    match answer.end {
        End::Signal(signal) => {
            told.flaw(
                Sort::BadAnswer,
                format!("{action} ends with an exit status, and died by signal {signal}"),
            );
        }
        End::Code(code)
            if !(matches!(code, 0 | 1) || code == 2 && matches!(action, "status" | "monitor")) =>
        {
            told.flaw(
                Sort::BadAnswer,
                format!("{action} answers 0 or 1 (status 2 for off), and it answers {code}"),
            );
        }
        End::Code(1) if answer.err.trim().is_empty() => {
            told.flaw(
                Sort::BadAnswer,
                format!("{action} fails with a reason on standard error, and says nothing"),
            );
        }
        End::Code(_) | End::Hung => {}
    }
}
