//! The methods of a simulated pool.

use std::time::Duration;

use super::xenapi::{Fate, Life, Shared, Vm};
use super::xenapi_pool::{Job, NULL, State, Status, Task};
use super::xenapi_value::{Answer, Request, Value};

/// Where and under which star a request is carried out.
pub(super) struct Act {
    pub host: usize,
    pub fate: Option<Fate>,
}

/// What became of it.
pub(super) struct Outcome {
    pub answer: Answer,
    /// The session that it opened.
    pub opened: Option<String>,
}

fn error(words: &[&str]) -> Answer {
    Err(words.iter().map(|word| (*word).to_owned()).collect())
}

#[allow(clippy::unnecessary_wraps, reason = "every method ends in an answer")]
fn text(text: impl Into<String>) -> Answer {
    Ok(Value::Text(text.into()))
}

/// Carries out a request. A synchronous operation is over when this returns.
pub(super) fn answer(shared: &Shared, act: &Act, request: &Request, alive: &dyn Fn() -> bool) -> Outcome {
    let mut opened = None;
    let step = {
        let mut state = shared.lock();
        state.calls.push(request.method.clone());
        state.step(act, request, &mut opened)
    };
    let answer = match step {
        Step::Done(answer) => answer,
        Step::Wait(job) => wait(shared, job, alive),
    };
    Outcome { answer, opened }
}

/// Waits until the job is over.
fn wait(shared: &Shared, job: u64, alive: &dyn Fn() -> bool) -> Answer {
    loop {
        {
            let mut state = shared.lock();
            if !state.jobs.contains_key(&job) {
                let over = state.over(job);
                return over.unwrap_or_else(|| text(""));
            }
        }
        if !alive() {
            return error(&["INTERNAL_ERROR", "the pool ends"]);
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

enum Step {
    Done(Answer),
    Wait(u64),
}

impl From<Answer> for Step {
    fn from(answer: Answer) -> Self {
        Self::Done(answer)
    }
}

fn parameter(request: &Request, number: usize) -> &str {
    request.params.get(number).and_then(Value::as_text).unwrap_or_default()
}

impl State {
    fn step(&mut self, act: &Act, request: &Request, opened: &mut Option<String>) -> Step {
        if act.fate == Some(Fate::MasterMoves) && self.hosts.len() > 1 {
            self.master = (self.master + 1) % self.hosts.len();
        }
        if act.fate == Some(Fate::HostDies) {
            // Never the one that answers.
            let here = act.host;
            for (_, host) in self.hosts.iter_mut().enumerate().filter(|(n, _)| *n != here) {
                host.life = Life::Down;
            }
        }
        if let Some(Fate::Refused(code)) = act.fate {
            return error(&[code, "by the schedule"]).into();
        }
        if let Some((method, answer)) = &self.quirks().refuses
            && *method == request.method
        {
            return Err(answer.clone()).into();
        }
        if let Some(answer) = self.of_session(act, request, opened) {
            return answer.into();
        }
        if act.host != self.master {
            return self.slave().into();
        }
        let session = parameter(request, 0).to_owned();
        if act.fate == Some(Fate::SessionGone) {
            self.sessions.remove(&session);
        }
        let limit = self.quirks().session_calls;
        let read_only = match self.session(&session) {
            Some(found) if limit.is_none_or(|most| found.calls <= most) => found.read_only,
            Some(_) => {
                self.sessions.remove(&session);
                return error(&["SESSION_INVALID", &session]).into();
            }
            None => return error(&["SESSION_INVALID", &session]).into(),
        };
        let (asynchronous, method) = match request.method.strip_prefix("Async.") {
            Some(method) => (true, method),
            None => (false, request.method.as_str()),
        };
        if let Some(operation) = method.strip_prefix("VM.").and_then(Operation::named) {
            if read_only {
                return error(&["RBAC_PERMISSION_DENIED", method, "No permission in user session"]).into();
            }
            let least =
                if matches!(operation.name, "start_on" | "resume_on") { 5 } else { operation.parameters };
            if request.params.len() != least {
                return mismatch(method, least, request.params.len()).into();
            }
            if matches!(operation.name, "start_on" | "resume_on")
                && self.host_by_reference(parameter(request, 2)).is_none()
            {
                return error(&["HANDLE_INVALID", "host", parameter(request, 2)]).into();
            }
            return self.operate(act, request, &operation, asynchronous);
        }
        if asynchronous {
            return error(&["MESSAGE_METHOD_UNKNOWN", &request.method]).into();
        }
        match method.split_once('.') {
            Some(("VM", rest)) => self.of_vm(rest, request),
            Some(("task", rest)) => self.of_task(rest, request),
            Some(("host", rest)) => self.of_host(rest, request, read_only),
            Some(("host_metrics", "get_live")) => {
                let name = parameter(request, 1).trim_end_matches("-metrics");
                match self.host_by_reference(name).and_then(|n| self.hosts.get(n)) {
                    Some(host) => Ok(Value::Flag(host.life == Life::Up)),
                    None => error(&["HANDLE_INVALID", "host_metrics", parameter(request, 1)]),
                }
            }
            Some(("pool", "get_all")) => Ok(Value::List(vec![Value::text("OpaqueRef:pool")])),
            Some(("pool", "get_master")) => {
                text(self.hosts.get(self.master).map_or(NULL, |host| host.reference.as_str()))
            }
            Some(("session", "get_this_host")) => {
                text(self.hosts.get(act.host).map_or(NULL, |host| host.reference.as_str()))
            }
            Some(("session", "get_auth_user_name")) => {
                text(self.sessions.get(&session).map(|s| s.user.clone()).unwrap_or_default())
            }
            _ => error(&["MESSAGE_METHOD_UNKNOWN", &request.method]),
        }
        .into()
    }

    fn slave(&self) -> Answer {
        let master = self.hosts.get(self.master).map(|host| host.address.clone()).unwrap_or_default();
        error(&["HOST_IS_SLAVE", self.quirks().slave_says.as_deref().unwrap_or(&master)])
    }

    /// Login and logout, which are not forwarded to anybody.
    fn of_session(&mut self, act: &Act, request: &Request, opened: &mut Option<String>) -> Option<Answer> {
        let local = request.method == "session.slave_local_login_with_password";
        match request.method.as_str() {
            "session.login_with_password" | "session.slave_local_login_with_password" => {
                let most = if local {
                    2
                } else if self.quirks().old_login {
                    3
                } else {
                    4
                };
                let count = request.params.len();
                if !(2..=most).contains(&count) {
                    return Some(mismatch(&request.method, most, count));
                }
                if !local && act.host != self.master {
                    return Some(self.slave());
                }
                let (name, password) = (parameter(request, 0), parameter(request, 1));
                let user =
                    self.settings.users.iter().find(|u| u.name == name && u.password == password).cloned();
                let Some(user) = user else {
                    return Some(error(&["SESSION_AUTHENTICATION_FAILED", name, "Authentication failure"]));
                };
                let session = self.add_session(&user.name, user.read_only, local);
                *opened = Some(session.clone());
                Some(text(session))
            }
            "session.logout" | "session.local_logout" => {
                let session = parameter(request, 0);
                if act.host != self.master && !self.sessions.get(session).is_some_and(|s| s.local) {
                    return Some(self.slave());
                }
                Some(match self.sessions.remove(session) {
                    Some(_) => text(""),
                    None => error(&["SESSION_INVALID", session]),
                })
            }
            _ => None,
        }
    }

    /// A request has arrived, whatever becomes of it.
    pub fn heard(&mut self, request: &Request) {
        if request.method.ends_with("logout")
            && let Some(session) = self.sessions.get_mut(parameter(request, 0))
        {
            session.logout_came = true;
        }
    }

    fn of_vm(&mut self, method: &str, request: &Request) -> Answer {
        let asked = parameter(request, 1).to_owned();
        let references = |found: Vec<&String>| Ok(Value::List(found.into_iter().map(Value::text).collect()));
        match method {
            "get_all" => references(self.vms.keys().collect()),
            "get_all_records" => Ok(Value::Map(
                self.vms.keys().filter_map(|key| Some((key.clone(), self.vm_record(key)?))).collect(),
            )),
            "get_by_name_label" => {
                references(self.vms.iter().filter(|(_, vm)| vm.name == asked).map(|(key, _)| key).collect())
            }
            "get_by_uuid" => match self.vms.iter().find(|(_, vm)| vm.uuid == asked) {
                Some((reference, _)) => text(reference),
                None => error(&["UUID_INVALID", "VM", &asked]),
            },
            "get_record" => self.vm_record(&asked).map_or_else(|| handle_invalid("VM", &asked), Ok),
            "power_state_reset" => {
                let Some(uuid) = self.vms.get(&asked).map(|vm| vm.uuid.clone()) else {
                    return handle_invalid("VM", &asked);
                };
                self.note_order("VM.power_state_reset");
                match self.set_database_power(&uuid, "Halted") {
                    Ok(()) => text(""),
                    Err(why) => error(&["INTERNAL_ERROR", &why.to_string()]),
                }
            }
            // `get_power_state` and the other fields
            _ => match (method.strip_prefix("get_"), self.vm_record(&asked)) {
                (None, _) => error(&["MESSAGE_METHOD_UNKNOWN", &request.method]),
                (Some(_), None) => handle_invalid("VM", &asked),
                (Some(field), Some(record)) => member(&record, field, &request.method),
            },
        }
    }

    fn of_task(&mut self, method: &str, request: &Request) -> Answer {
        let asked = parameter(request, 1).to_owned();
        if method == "get_all" {
            return Ok(Value::List(self.tasks.keys().map(Value::text).collect()));
        }
        let Some(record) = self.task_record(&asked) else { return handle_invalid("task", &asked) };
        match method {
            "get_record" => Ok(record),
            "cancel" => {
                if let Some(task) = self.tasks.get_mut(&asked)
                    && let Some(job) = task.job.take()
                {
                    task.status = Status::Cancelled;
                    self.jobs.remove(&job);
                }
                text("")
            }
            "destroy" => {
                self.tasks.remove(&asked);
                text("")
            }
            _ => match method.strip_prefix("get_") {
                Some(field) => member(&record, field, &request.method),
                None => error(&["MESSAGE_METHOD_UNKNOWN", &request.method]),
            },
        }
    }

    fn of_host(&mut self, method: &str, request: &Request, read_only: bool) -> Answer {
        let asked = parameter(request, 1).to_owned();
        match method {
            "get_all" => {
                Ok(Value::List(self.hosts.iter().map(|host| Value::text(&host.reference)).collect()))
            }
            "get_all_records" => Ok(Value::Map(
                self.hosts
                    .iter()
                    .enumerate()
                    .filter_map(|(n, host)| Some((host.reference.clone(), self.host_record(n)?)))
                    .collect(),
            )),
            "declare_dead" if read_only => {
                error(&["RBAC_PERMISSION_DENIED", &request.method, "No permission"])
            }
            "declare_dead" => {
                let Some(host) = self.host_by_reference(&asked) else {
                    return handle_invalid("host", &asked);
                };
                let uuids: Vec<String> =
                    self.vms.values().filter(|vm| vm.host == host).map(|vm| vm.uuid.clone()).collect();
                for uuid in uuids {
                    if let Err(why) = self.set_database_power(&uuid, "Halted") {
                        return error(&["INTERNAL_ERROR", &why.to_string()]);
                    }
                }
                text("")
            }
            _ => match (method.strip_prefix("get_"), self.host_by_reference(&asked)) {
                (None, _) => error(&["MESSAGE_METHOD_UNKNOWN", &request.method]),
                (Some(_), None) => handle_invalid("host", &asked),
                (Some("record"), Some(n)) => self.host_record(n).ok_or_else(Vec::new),
                (Some(field), Some(n)) => {
                    member(&self.host_record(n).unwrap_or(Value::text("")), field, &request.method)
                }
            },
        }
    }

    fn host_by_reference(&self, reference: &str) -> Option<usize> {
        self.hosts.iter().position(|host| host.reference == reference)
    }

    /// A change of power: refused, done at the end of a wait, or a task.
    fn operate(&mut self, act: &Act, request: &Request, operation: &Operation, asynchronous: bool) -> Step {
        let reference = parameter(request, 1).to_owned();
        let begun = self.begin_operation(act, operation, &reference, parameter(request, 2));
        if !asynchronous {
            return match begun {
                Ok(job) => Step::Wait(job),
                Err(why) => Step::Done(Err(why)),
            };
        }
        // A task is made in any case: what is wrong with the operation stands in its error_info.
        let task = self.new_reference();
        let (status, job) = match begun {
            Ok(job) => (Status::Pending, Some(job)),
            Err(why) => (Status::Failure(why), None),
        };
        self.tasks.insert(task.clone(), Task { name: request.method.clone(), status, job });
        text(task).into()
    }

    fn begin_operation(
        &mut self,
        act: &Act,
        operation: &Operation,
        reference: &str,
        host: &str,
    ) -> Result<u64, Vec<String>> {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let Some(vm) = self.vms.get(reference).cloned() else {
            return Err(words(&["HANDLE_INVALID", "VM", reference]));
        };
        if vm.snapshot {
            return Err(words(&["OPERATION_NOT_ALLOWED", "the snapshot cannot be powered"]));
        }
        if vm.template {
            return Err(words(&["VM_IS_TEMPLATE", reference]));
        }
        if vm.control_domain {
            return Err(words(&["OPERATION_NOT_ALLOWED", "this is the control domain"]));
        }
        if self.settings.quirks.busy > 0 {
            self.settings.quirks.busy -= 1;
            return Err(words(&["OTHER_OPERATION_IN_PROGRESS", "VM", reference, "OpaqueRef:task"]));
        }
        if self.jobs.values().any(|job| job.vm == reference) {
            return Err(words(&["OTHER_OPERATION_IN_PROGRESS", "VM", reference, "OpaqueRef:task"]));
        }
        let power = self.power(&vm.uuid);
        if !operation.from.contains(&power.as_str()) {
            let expected = operation.from.join(", ").to_lowercase();
            return Err(words(&["VM_BAD_POWER_STATE", reference, &expected, &power.to_lowercase()]));
        }
        let host = self.place(&vm, operation, host)?;
        let waits = host.is_some_and(|n| self.hosts.get(n).is_some_and(|host| host.life != Life::Up));
        self.note_order(&format!("VM.{} {}", operation.name, vm.name));
        let lies = self.quirks().lies || act.fate == Some(Fate::Lies);
        let due = if act.fate == Some(Fate::Sticks) || waits { None } else { self.due() };
        let target = if lies { None } else { Some(operation.to) };
        Ok(self.begin(Job {
            vm: reference.to_owned(),
            operation: operation.name.to_owned(),
            target,
            due,
            host,
        }))
    }

    /// The host that carries it out; an error where there is none.
    fn place(&self, vm: &Vm, operation: &Operation, host: &str) -> Result<Option<usize>, Vec<String>> {
        let is_up = |n: usize| self.hosts.get(n).is_some_and(|host| host.life == Life::Up);
        let power = self.power(&vm.uuid);
        if matches!(power.as_str(), "Running" | "Paused") {
            if is_up(vm.host) || self.quirks().waits_for_dead_host {
                return Ok(Some(vm.host));
            }
            let dead = self.hosts.get(vm.host).map(|host| host.reference.clone()).unwrap_or_default();
            return Err(vec!["HOST_OFFLINE".into(), dead]);
        }
        if operation.to != "Running" {
            return Ok(Some(self.master));
        }
        let named = self.host_by_reference(host).filter(|_| operation.name.ends_with("_on"));
        let all = named.into_iter().chain(std::iter::once(vm.host)).chain(0..self.hosts.len());
        all.into_iter().find(|n| is_up(*n)).map(Some).ok_or_else(|| vec!["NO_HOSTS_AVAILABLE".to_owned()])
    }
}

/// A change of power.
struct Operation {
    name: &'static str,
    from: &'static [&'static str],
    to: &'static str,
    /// With the session.
    parameters: usize,
}

const fn operation(
    name: &'static str,
    from: &'static [&'static str],
    to: &'static str,
    parameters: usize,
) -> Operation {
    Operation { name, from, to, parameters }
}

impl Operation {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "start" => operation("start", &["Halted"], "Running", 4),
            "start_on" => operation("start_on", &["Halted"], "Running", 5),
            "resume" => operation("resume", &["Suspended"], "Running", 4),
            "resume_on" => operation("resume_on", &["Suspended"], "Running", 5),
            "pause" => operation("pause", &["Running"], "Paused", 2),
            "unpause" => operation("unpause", &["Paused"], "Running", 2),
            "suspend" => operation("suspend", &["Running"], "Suspended", 2),
            "clean_shutdown" => operation("clean_shutdown", &["Running"], "Halted", 2),
            "hard_shutdown" => operation("hard_shutdown", &["Running", "Paused", "Suspended"], "Halted", 2),
            "clean_reboot" => operation("clean_reboot", &["Running"], "Running", 2),
            "hard_reboot" => operation("hard_reboot", &["Running", "Paused"], "Running", 2),
            _ => return None,
        })
    }
}

fn handle_invalid(class: &str, reference: &str) -> Answer {
    error(&["HANDLE_INVALID", class, reference])
}

fn mismatch(method: &str, expected: usize, got: usize) -> Answer {
    error(&["MESSAGE_PARAMETER_COUNT_MISMATCH", method, &expected.to_string(), &got.to_string()])
}

fn member(record: &Value, field: &str, method: &str) -> Answer {
    let Value::Map(members) = record else { return error(&["INTERNAL_ERROR", "no record"]) };
    match members.iter().find(|(name, _)| name == field) {
        Some((_, value)) => Ok(value.clone()),
        None => error(&["MESSAGE_METHOD_UNKNOWN", method]),
    }
}
