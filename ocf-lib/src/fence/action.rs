//! The actions of a fence agent and which agent knows which.

use super::common_options::Takes;
use super::spec::Table;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    On,
    Off,
    Reboot,
    Status,
    List,
    ListStatus,
    Monitor,
    Metadata,
    Manpage,
    ValidateAll,
    Diag,
}

/// All actions in the order of the metadata.
const ALL: [Action; 11] = [
    Action::On,
    Action::Off,
    Action::Reboot,
    Action::Status,
    Action::List,
    Action::ListStatus,
    Action::Monitor,
    Action::Metadata,
    Action::Manpage,
    Action::ValidateAll,
    Action::Diag,
];

impl Action {
    pub const fn name(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
            Self::Reboot => "reboot",
            Self::Status => "status",
            Self::List => "list",
            Self::ListStatus => "list-status",
            Self::Monitor => "monitor",
            Self::Metadata => "metadata",
            Self::Manpage => "manpage",
            Self::ValidateAll => "validate-all",
            Self::Diag => "diag",
        }
    }

    /// True for what only reads the agent itself.
    pub const fn is_documentation(self) -> bool {
        matches!(self, Self::Metadata | Self::Manpage)
    }

    /// The action called `word` (in lower case), if this agent accepts it.
    pub fn accepted(table: &Table, word: &str) -> Option<Self> {
        let word = match table.old_action(word) {
            "meta-data" => "metadata",
            "enable" if table.has(Takes::Fabric) => "on",
            "disable" if table.has(Takes::Fabric) => "off",
            word => word,
        };
        ALL.into_iter()
            .find(|action| action.name() == word)
            .filter(|action| action.exists(table) || action.is_tolerated(table))
    }

    /// The actions that the metadata promises.
    pub fn promised(table: &Table) -> impl Iterator<Item = Self> + '_ {
        ALL.into_iter().filter(|action| action.exists(table))
    }

    fn exists(self, table: &Table) -> bool {
        match self {
            Self::On => !table.has(Takes::NoOn),
            Self::Off => !table.has(Takes::NoOff),
            Self::Reboot => !table.has(Takes::Fabric),
            Self::Status => !table.has(Takes::NoStatus),
            Self::List | Self::ListStatus => {
                table.has(Takes::Plug) && table.by_key("separator").is_some_and(|d| !d.hidden)
            }
            Self::Diag => table.has(Takes::Diag),
            Self::Monitor | Self::Metadata | Self::Manpage | Self::ValidateAll => true,
        }
    }

    /// Upstream's agents with `port_as_ip` accept `list` without promising it.
    fn is_tolerated(self, table: &Table) -> bool {
        matches!(self, Self::List | Self::ListStatus) && table.plug_is_address()
    }
}
