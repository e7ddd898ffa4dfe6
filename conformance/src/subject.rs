//! What is judged: an agent, known by its path alone. What it can do is learned from its metadata.

use crate::call::Call;
use crate::document::{self, Node};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The two families, told apart by what the agent answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Family {
    Resource,
    Fence,
}

impl Family {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Resource => "resource",
            Self::Fence => "fence",
        }
    }
}

/// A program that takes longer to say what it is will not say it.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Subject {
    pub path: PathBuf,
    /// The file's name: what a cluster's configuration says.
    pub name: String,
    pub family: Family,
    pub metadata: Node,
}

impl Subject {
    /// Asks the program what it is. `Err`: it is no agent, in a line that says why.
    pub fn recognise(path: &Path) -> Result<Self, String> {
        let cannot = |why| format!("{}: {why}", path.display());
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // The last part is kept: an agent may answer to several names, each a link.
        let folder = path.canonicalize().and_then(|_| {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            parent.unwrap_or(Path::new(".")).canonicalize()
        });
        let path = folder.map_err(cannot)?.join(&name);
        // An argument that a fence agent does not know leaves it with its default: to reboot.
        if name.starts_with("fence_") {
            return Self::recognise_fence(path, name);
        }
        let as_resource = Call::pacemaker(&path, &name, "meta-data").patience(PATIENCE).run()?;
        let resource = document::parse(&as_resource.out);
        if let Ok(metadata) = &resource
            && metadata.name == "resource-agent"
            && actions(metadata).any(|action| action == "start")
        {
            return Ok(Self { path, name, family: Family::Resource, metadata: metadata.clone() });
        }
        Self::recognise_fence(path, name).map_err(|why| format!("{why}; meta-data: {}", as_resource.end))
    }

    fn recognise_fence(path: PathBuf, name: String) -> Result<Self, String> {
        let as_fence = Call::fencer(&path, "action=metadata\n").patience(PATIENCE).run()?;
        match document::parse(&as_fence.out) {
            Ok(metadata) if metadata.name == "resource-agent" => {
                Ok(Self { path, name, family: Family::Fence, metadata })
            }
            Ok(metadata) => Err(format!("{}: its metadata is a <{}>", path.display(), metadata.name)),
            Err(why) => Err(format!(
                "{}: no agent: action=metadata ({}) gives no document: {why}",
                path.display(),
                as_fence.end
            )),
        }
    }

    /// Names of the declared actions.
    pub fn actions(&self) -> Vec<&str> {
        actions(&self.metadata).collect()
    }

    pub fn has_action(&self, name: &str) -> bool {
        actions(&self.metadata).any(|action| action == name)
    }

    /// An action as Pacemaker calls it (resource agents).
    pub fn call(&self, action: &str) -> Call {
        Call::pacemaker(&self.path, &self.name, action)
    }

    /// Lines on standard input (fence agents).
    pub fn fencer(&self, lines: &str) -> Call {
        Call::fencer(&self.path, lines)
    }
}

fn actions(metadata: &Node) -> impl Iterator<Item = &str> {
    metadata.actions().into_iter().filter_map(|action| action.attribute("name"))
}
