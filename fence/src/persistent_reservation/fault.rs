//! Why a request to a disk failed, as far as it decides what to do next.

use std::fmt;

/// What went wrong on one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// RESERVATION CONFLICT: this path is not registered with the key, or the other key is not registered. A
    /// definite no; nothing was changed.
    Conflict,
    /// The disk does not know the request.
    Unsupported(String),
    /// The path does not work, or did not answer: the request may or may not have been carried out.
    Path(String),
    /// The disk refused for another reason.
    Failed(String),
    /// The state of the disk forbids it: the words say which.
    State(String),
    /// Our own key is not registered, and a reservation is: somebody fenced this host.
    Fenced(String),
}

impl Fault {
    /// The same fault, with the device it is about in front.
    #[must_use]
    pub fn about(self, subject: &str) -> Self {
        let with = |why: String| format!("{subject}: {why}");
        match self {
            Self::Conflict => Self::Failed(with(Self::Conflict.to_string())),
            Self::Unsupported(why) => Self::Unsupported(with(why)),
            Self::Path(why) => Self::Path(with(why)),
            Self::Failed(why) => Self::Failed(with(why)),
            Self::State(why) => Self::State(with(why)),
            Self::Fenced(why) => Self::Fenced(with(why)),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict => f.write_str("reservation conflict"),
            Self::Unsupported(why)
            | Self::Path(why)
            | Self::Failed(why)
            | Self::State(why)
            | Self::Fenced(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Fault {}
