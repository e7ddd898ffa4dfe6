//! A client of `pacemaker-execd`, for the tests: what Pacemaker's controller asks of its executor, as lines on standard
//! input. It speaks through Pacemaker's own library, `liblrmd.so.28` (`crm/lrmd.h` of 2.1), which is opened at run time.
//!
//! `register ID PROVIDER TYPE`, `unregister ID`, `exec ID ACTION INTERVAL_MS TIMEOUT_MS [NAME=VALUE...]`,
//! `cancel ID ACTION INTERVAL_MS`, `events SECONDS`. Each order is answered by a line, and so is each event:
//! `event ID ACTION INTERVAL_MS rc N status N [reason]`.
#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "a test bed, not an agent")]

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::io::BufRead;
use std::process::ExitCode;
use std::ptr::null;
use std::time::{Duration, Instant};

/// `struct lrmd_s`.
#[repr(C)]
struct Lrmd {
    operations: *const Operations,
    private: *mut c_void,
}

/// The head of `struct lrmd_api_operations_s`, as far as it is used here.
#[repr(C)]
struct Operations {
    connect: extern "C" fn(*mut Lrmd, *const c_char, *mut c_int) -> c_int,
    connect_async: *const c_void,
    is_connected: *const c_void,
    poke_connection: *const c_void,
    disconnect: extern "C" fn(*mut Lrmd) -> c_int,
    register_rsc:
        extern "C" fn(*mut Lrmd, *const c_char, *const c_char, *const c_char, *const c_char, c_uint) -> c_int,
    get_rsc_info: *const c_void,
    get_recurring_ops: *const c_void,
    unregister_rsc: extern "C" fn(*mut Lrmd, *const c_char, c_uint) -> c_int,
    set_callback: extern "C" fn(*mut Lrmd, extern "C" fn(*const Event)),
    exec: extern "C" fn(
        *mut Lrmd,
        *const c_char,
        *const c_char,
        *const c_char,
        c_uint,
        c_int,
        c_int,
        c_uint,
        *mut c_void,
    ) -> c_int,
    cancel: extern "C" fn(*mut Lrmd, *const c_char, *const c_char, c_uint) -> c_int,
}

/// `struct lrmd_event_data_s`.
#[repr(C)]
struct Event {
    kind: c_uint,
    resource: *const c_char,
    action: *const c_char,
    user_data: *const c_char,
    call: c_int,
    timeout: c_int,
    interval: c_uint,
    start_delay: c_int,
    deleted: c_int,
    code: c_int,
    status: c_int,
    output: *const c_char,
    times: [c_uint; 4],
    connection: c_int,
    parameters: *mut c_void,
    node: *const c_char,
    reason: *const c_char,
}

/// `lrmd_event_exec_complete`.
const EXECUTED: c_uint = 2;

fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: the library gives strings that end with NUL and live as long as the event.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

extern "C" fn told(event: *const Event) {
    // SAFETY: the library calls back with an event that lives during the call; null is answered by nothing.
    let Some(event) = (unsafe { event.as_ref() }) else { return };
    if event.kind == EXECUTED {
        println!(
            "event {} {} {} rc {} status {} {}",
            text(event.resource),
            text(event.action),
            event.interval,
            event.code,
            event.status,
            text(event.reason)
        );
    }
}

/// The library, and a connection to the executor.
struct Executor {
    lrmd: *mut Lrmd,
    add: extern "C" fn(*mut c_void, *const c_char, *const c_char) -> *mut c_void,
    poll: extern "C" fn(*mut Lrmd, c_int) -> c_int,
    dispatch: extern "C" fn(*mut Lrmd) -> bool,
}

fn symbol(library: *mut c_void, name: &CStr) -> Result<*mut c_void, String> {
    // SAFETY: the handle is open and the name ends with NUL.
    let found = unsafe { libc::dlsym(library, name.as_ptr()) };
    if found.is_null() { Err(format!("liblrmd has no {}", name.to_string_lossy())) } else { Ok(found) }
}

impl Executor {
    fn connect() -> Result<Self, String> {
        // SAFETY: a literal with NUL; the library stays open to the end.
        let library = unsafe { libc::dlopen(c"liblrmd.so.28".as_ptr(), libc::RTLD_NOW) };
        if library.is_null() {
            return Err("liblrmd.so.28 cannot be opened".to_owned());
        }
        // SAFETY: the types are those of crm/lrmd.h and crm/lrmd_internal.h of Pacemaker 2.1, which liblrmd.so.28 is of.
        let (new, add, poll, dispatch) = unsafe {
            (
                std::mem::transmute::<*mut c_void, extern "C" fn() -> *mut Lrmd>(symbol(
                    library,
                    c"lrmd_api_new",
                )?),
                std::mem::transmute::<
                    *mut c_void,
                    extern "C" fn(*mut c_void, *const c_char, *const c_char) -> *mut c_void,
                >(symbol(library, c"lrmd_key_value_add")?),
                std::mem::transmute::<*mut c_void, extern "C" fn(*mut Lrmd, c_int) -> c_int>(symbol(
                    library,
                    c"lrmd_poll",
                )?),
                std::mem::transmute::<*mut c_void, extern "C" fn(*mut Lrmd) -> bool>(symbol(
                    library,
                    c"lrmd_dispatch",
                )?),
            )
        };
        let this = Self { lrmd: new(), add, poll, dispatch };
        let operations = this.operations()?;
        let until = Instant::now() + Duration::from_secs(15);
        let mut fd: c_int = -1;
        loop {
            let code = (operations.connect)(this.lrmd, c"ringfence-tests".as_ptr(), &raw mut fd);
            if code == 0 {
                break;
            }
            if Instant::now() > until {
                return Err(format!("pacemaker-execd does not answer: {code}"));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        (operations.set_callback)(this.lrmd, told);
        Ok(this)
    }

    fn operations(&self) -> Result<&Operations, String> {
        // SAFETY: made by lrmd_api_new and never freed; the table is static in the library.
        unsafe { self.lrmd.as_ref().and_then(|lrmd| lrmd.operations.as_ref()) }
            .ok_or_else(|| "no connection object".to_owned())
    }

    /// Tells what has happened, for so long.
    fn events(&self, span: Duration) {
        let until = Instant::now() + span;
        while Instant::now() < until {
            if (self.poll)(self.lrmd, 100) > 0 {
                (self.dispatch)(self.lrmd);
            }
        }
    }

    fn carry_out(&self, line: &str) -> Result<(), String> {
        let operations = self.operations()?;
        let owned: Vec<CString> =
            line.split_whitespace().map(CString::new).collect::<Result<_, _>>().map_err(|e| e.to_string())?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let word = |at: usize| owned.get(at).map_or(null(), |word| word.as_ptr());
        let number = |at: usize| words.get(at).and_then(|word| word.parse::<i32>().ok()).unwrap_or(0);
        let interval = |at| c_uint::try_from(number(at)).unwrap_or(0);
        let code = match words.first().copied() {
            Some("register") => {
                (operations.register_rsc)(self.lrmd, word(1), c"ocf".as_ptr(), word(2), word(3), 0)
            }
            Some("unregister") => (operations.unregister_rsc)(self.lrmd, word(1), 0),
            Some("exec") => {
                let mut parameters = std::ptr::null_mut();
                // The controller adds these; the executor itself does not.
                let meta = [
                    format!("CRM_meta_name={}", words.get(2).unwrap_or(&"")),
                    format!("CRM_meta_interval={}", number(3)),
                    format!("CRM_meta_timeout={}", number(4)),
                ];
                for pair in words.iter().skip(5).copied().chain(meta.iter().map(String::as_str)) {
                    let (name, value) = pair.split_once('=').ok_or("not NAME=VALUE")?;
                    let (name, value) = (CString::new(name), CString::new(value));
                    let (Ok(name), Ok(value)) = (name, value) else { return Err("a NUL".to_owned()) };
                    // The list has copies of its own.
                    parameters = (self.add)(parameters, name.as_ptr(), value.as_ptr());
                }
                let call = (operations.exec)(
                    self.lrmd,
                    word(1),
                    word(2),
                    null(),
                    interval(3),
                    number(4),
                    0,
                    0,
                    parameters,
                );
                call.min(0)
            }
            Some("cancel") => (operations.cancel)(self.lrmd, word(1), word(2), interval(3)),
            Some("events") => {
                let seconds = words.get(1).and_then(|seconds| seconds.parse().ok()).unwrap_or(0.0);
                self.events(Duration::try_from_secs_f64(seconds).map_err(|why| why.to_string())?);
                0
            }
            _ => return Err(format!("no such order: {line}")),
        };
        println!("{line}: {code}");
        Ok(())
    }
}

fn main() -> ExitCode {
    let done = Executor::connect().and_then(|executor| {
        for line in std::io::stdin().lock().lines() {
            let line = line.map_err(|why| why.to_string())?;
            if !line.trim().is_empty() {
                executor.carry_out(line.trim())?;
            }
        }
        let operations = executor.operations()?;
        (operations.disconnect)(executor.lrmd);
        Ok(())
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("rf-executor: {why}");
            ExitCode::FAILURE
        }
    }
}
