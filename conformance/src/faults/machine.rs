//! The devices that fence agents are judged with: each tells the truth about itself to the judge.

use super::device::{PASSWORD, USER};
use crate::bmc::{self, Bmc, Order, Reaction};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A device with power.
pub enum Machine {
    /// `ipmi_sim`.
    Ipmi(Arc<Mutex<Bmc>>),
    /// The smallest device on TCP: a line asked, a line answered.
    Box(PowerBox),
}

impl Machine {
    pub fn ipmi() -> Result<Self, String> {
        let options =
            bmc::Options { user: USER.to_owned(), password: PASSWORD.to_owned(), ..bmc::Options::default() };
        Bmc::start(&options).map(|bmc| Self::Ipmi(Arc::new(Mutex::new(bmc))))
    }

    pub fn address(&self) -> SocketAddr {
        match self {
            Self::Ipmi(_) => bmc::Options::default().address,
            Self::Box(own) => own.address,
        }
    }

    pub fn power(&self) -> bool {
        match self {
            Self::Ipmi(bmc) => locked(bmc).power(),
            Self::Box(own) => locked(&own.state).on,
        }
    }

    pub fn set_power(&self, on: bool) -> Result<(), String> {
        match self {
            Self::Ipmi(bmc) => locked(bmc).set_power(on),
            Self::Box(own) => {
                locked(&own.state).on = on;
                Ok(())
            }
        }
    }

    /// It takes orders with success and does nothing.
    pub fn lie(&self, lies: bool) -> Result<(), String> {
        match self {
            Self::Ipmi(bmc) => {
                let reaction = if lies { Reaction::Ignore } else { Reaction::Obey };
                let bmc = locked(bmc);
                [Order::Off, Order::On, Order::Reset]
                    .into_iter()
                    .try_for_each(|order| bmc.react(order, &reaction))
            }
            Self::Box(own) => {
                locked(&own.state).lies = lies;
                Ok(())
            }
        }
    }

    /// Forgets what was ordered.
    pub fn forget(&self) -> Result<(), String> {
        match self {
            Self::Ipmi(bmc) => locked(bmc).forget(),
            Self::Box(own) => {
                locked(&own.state).orders.clear();
                Ok(())
            }
        }
    }

    /// Whether it was ordered to be so since.
    pub fn ordered(&self, on: bool) -> bool {
        match self {
            Self::Ipmi(bmc) => locked(bmc).deeds().contains(if on { &Order::On } else { &Order::Off }),
            Self::Box(own) => locked(&own.state).orders.contains(&on),
        }
    }

    /// Sessions that are open at it; `None`: it cannot tell.
    pub fn sessions(&self) -> Option<Result<usize, String>> {
        match self {
            Self::Ipmi(bmc) => Some(locked(bmc).sessions()),
            Self::Box(_) => None,
        }
    }

    /// It loses its sessions, not its power.
    pub fn restart(&self) -> Result<(), String> {
        match self {
            Self::Ipmi(bmc) => locked(bmc).come_back(),
            Self::Box(_) => Ok(()),
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Default)]
struct State {
    on: bool,
    lies: bool,
    orders: Vec<bool>,
}

/// `login USER PASSWORD`, `status`, `on`, `off`, `bye`; answers `ok`, `power on`, `power off`, `no REASON`, each with a
/// full stop on a line of its own behind it. An answer without the full stop is not whole.
pub struct PowerBox {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    stop: Arc<AtomicBool>,
}

impl PowerBox {
    /// On a free port of this address.
    pub fn start(at: std::net::IpAddr) -> Result<Self, String> {
        let told = |why: std::io::Error| format!("the power box: {why}");
        let listener = TcpListener::bind((at, 0)).map_err(told)?;
        let address = listener.local_addr().map_err(told)?;
        let (state, stop) = (Arc::new(Mutex::new(State::default())), Arc::new(AtomicBool::new(false)));
        let (own, ending) = (Arc::clone(&state), Arc::clone(&stop));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if ending.load(Ordering::Relaxed) {
                    return;
                }
                let own = Arc::clone(&own);
                std::thread::spawn(move || serve(&stream, &own));
            }
        });
        Ok(Self { address, state, stop })
    }
}

impl Drop for PowerBox {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the thread that waits for a connection.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_millis(200));
    }
}

fn serve(mut stream: &TcpStream, state: &Mutex<State>) {
    let Ok(copy) = stream.try_clone() else { return };
    let _ = stream.set_nodelay(true);
    let mut inside = false;
    for line in BufReader::new(copy).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        let answer = {
            let mut state = locked(state);
            match line.as_str() {
                "bye" => return,
                line if line == format!("login {USER} {PASSWORD}") => {
                    inside = true;
                    "ok"
                }
                _ if !inside => "no login",
                "status" if state.on => "power on",
                "status" => "power off",
                order @ ("on" | "off") => {
                    state.orders.push(order == "on");
                    if !state.lies {
                        state.on = order == "on";
                    }
                    "ok"
                }
                _ => "no such command",
            }
        };
        if stream.write_all(format!("{answer}\n.\n").as_bytes()).is_err() {
            return;
        }
    }
}
