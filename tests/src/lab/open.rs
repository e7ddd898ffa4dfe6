//! A lab for one test: the image, the place, and the guests in it.

use super::disks::{Disk, Disks};
use super::failure::LabError;
use super::guest::Guest;
use super::image::Image;
use super::machine::{Over, Plan};
use super::place::Place;
use super::{image, needs, pair, snapshot, xen, zfs};
use crate::subjects;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A test, and with it all its guests, ends itself after this.
const LIFETIME: Duration = Duration::from_secs(1200);

/// How the names of the labs' folders begin; then comes the pid of the driver.
const PREFIX: &str = "ringfence-lab-of-";
/// In a folder that is to stay.
const KEPT: &str = "kept";

/// What a test needs of the lab.
#[derive(Clone, Debug)]
pub struct Needs {
    test: String,
    agents: bool,
    cluster: bool,
    layer: Option<Layer>,
}

/// What guests can be beyond ordinary ones. It takes minutes to build, once for a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// With OpenZFS: programs, module, a hostid of their own.
    Zfs,
    /// The first domain of a Xen hypervisor that can migrate its guests: see [`super::xen`].
    Xen,
}

impl Layer {
    /// All there are.
    pub const ALL: [Self; 2] = [Self::Zfs, Self::Xen];

    /// A word that is in the name of every case that needs it: `zfs`, `xen`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Zfs => "zfs",
            Self::Xen => "xen",
        }
    }

    fn ready(self, image: &Image, say: &dyn Fn(&str)) -> Result<Over, LabError> {
        match self {
            Self::Zfs => zfs::ready(image, say),
            Self::Xen => xen::ready(image, say),
        }
    }
}

impl Needs {
    /// Of the test with this name, which is also where its logs are.
    #[must_use]
    pub fn of(test: &str) -> Self {
        Self { test: test.to_owned(), agents: false, cluster: false, layer: None }
    }

    /// The project's own agents, installed in the guests under the provider `ringfence`, fence agents in `/usr/sbin`.
    #[must_use]
    pub fn agents(mut self) -> Self {
        self.agents = true;
        self
    }

    /// The first two guests, who must be `n1` and `n2`, are a Pacemaker cluster when the test gets them: both online, no resource, no
    /// fencing. A third one is their client.
    #[must_use]
    pub fn cluster(mut self) -> Self {
        self.cluster = true;
        self
    }

    /// Guests with OpenZFS: programs, module, a hostid of their own.
    #[must_use]
    pub fn zfs(self) -> Self {
        self.layer(Some(Layer::Zfs))
    }

    /// Guests that are Xen hosts: see [`super::xen`].
    #[must_use]
    pub fn xen(self) -> Self {
        self.layer(Some(Layer::Xen))
    }

    /// Guests with this layer.
    pub(crate) fn layer(mut self, layer: Option<Layer>) -> Self {
        self.layer = layer;
        self
    }
}

/// A lab. Dropping it ends everything that runs in it.
#[derive(Debug)]
pub struct Lab {
    shared: Arc<Shared>,
    tree: PathBuf,
    logs: PathBuf,
    image: Image,
    over: Option<Over>,
    /// Where the snapshots of a cluster's nodes are.
    cluster: Option<PathBuf>,
}

/// What the guests of a lab have in common; it ends with the last of them.
#[derive(Debug)]
pub(crate) struct Shared {
    pub place: Place,
    pub snapshot: PathBuf,
    pub began: Instant,
    /// The folder stays when the lab goes.
    keep: AtomicBool,
    folder: TempDir,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.folder.disable_cleanup(*self.keep.get_mut());
    }
}

/// Everything that is kept: made when it is not there, which takes a minute, and minutes for each layer. `say` hears what is being
/// done.
///
/// # Errors
/// When the host lacks something, or Debian's packages cannot be had.
pub fn prepare(layers: &[Layer], say: &dyn Fn(&str)) -> Result<(), LabError> {
    let image = image::ready(say)?;
    let base = snapshot::base(&image, None, say)?;
    pair::ready(&base, None, say)?;
    for layer in layers {
        let over = layer.ready(&image, say)?;
        snapshot::base(&image, Some(&over), say)?;
    }
    Ok(())
}

impl Lab {
    /// Opens a lab for one test.
    ///
    /// # Errors
    /// When the host lacks something: never a reason to pass.
    pub fn open(needs: &Needs) -> Result<Self, LabError> {
        let missing = needs::missing();
        if !missing.is_empty() {
            return Err(LabError::Needs(missing));
        }
        let say = |line: &str| {
            let _ = writeln!(std::io::stderr(), "lab: {line}");
        };
        let image = image::ready(&say)?;
        let over = needs.layer.map(|layer| layer.ready(&image, &say)).transpose()?;
        let snapshot = snapshot::base(&image, over.as_ref(), &say)?;
        let cluster = if needs.cluster { Some(pair::ready(&snapshot, needs.layer, &say)?) } else { None };
        remove_left();
        let folder = tempfile::Builder::new()
            .prefix(&format!("{PREFIX}{}-", std::process::id()))
            .tempdir()
            .map_err(LabError::io("make a folder for the lab"))?;
        for part in ["host/.ran", "none", "disks"] {
            fs::create_dir_all(folder.path().join(part)).map_err(LabError::io("make the lab's folders"))?;
        }
        let tree = if needs.agents { tree()? } else { folder.path().join("none") };
        let logs = logs()?.join(&needs.test);
        let _ = fs::remove_dir_all(&logs);
        let place = Place::new(LIFETIME, folder.path())?;
        let shared =
            Arc::new(Shared { place, snapshot, began: Instant::now(), keep: AtomicBool::new(false), folder });
        Ok(Self { shared, tree, logs, image, over, cluster })
    }

    /// One to three pristine guests with these names, on one network, with these disks. They run when this returns.
    ///
    /// # Errors
    /// When one does not come up: with its console.
    pub fn guests<const N: usize>(&self, names: [&str; N], disks: &Disks) -> Result<[Guest; N], LabError> {
        if !(1..=3).contains(&N) {
            return Err(LabError::Refused(format!("a lab has 1 to 3 guests, not {N}")));
        }
        if self.cluster.is_some() && !names.starts_with(&pair::NODES) {
            return Err(LabError::Refused(format!("a cluster's nodes are {}", pair::NODES.join(" and "))));
        }
        let folder = self.shared.folder.path();
        let mut hosts = "127.0.0.1 localhost\n10.55.0.1 host\n".to_owned();
        for (name, number) in names.iter().zip(1_u8..) {
            hosts.extend(["10.55.0.1", &number.to_string(), " ", *name, "\n"]);
        }
        fs::write(folder.join("host/.hosts"), hosts).map_err(LabError::io("write the guests' names"))?;
        let mut guests = Vec::new();
        for (name, number) in names.iter().zip(1_u8..) {
            let own = folder.join(name);
            let logs = self.logs.join(name);
            for part in [&own, &logs] {
                fs::create_dir_all(part).map_err(LabError::io(format!("make {}", part.display())))?;
            }
            let plan = Plan {
                image: self.image.clone(),
                over: self.over.clone(),
                number,
                folder: own,
                logs,
                host: folder.join("host"),
                tree: self.tree.clone(),
            };
            let node = pair::NODES.contains(name);
            let member = self.cluster.as_ref().filter(|_| node).map(|folder| folder.join(name));
            let files = disks.disks.iter().map(|disk| self.file(disk, name)).collect::<Result<_, _>>()?;
            guests.push(Guest::new(name, plan, Arc::clone(&self.shared), files, member));
        }
        // All at once: each waits for its QEMU most of the time.
        let started: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = guests.iter().map(|guest| scope.spawn(|| guest.power_on())).collect();
            threads.into_iter().map(ScopedJoinHandle::join).collect()
        });
        for one in started {
            one.map_err(|_| LabError::Refused("a guest's thread ended".to_owned()))??;
        }
        guests.try_into().map_err(|_| LabError::Refused("a guest was lost".to_owned()))
    }

    /// The file behind a disk, made with its size unless it is there: shared ones are named for the disk alone.
    fn file(&self, disk: &Disk, guest: &str) -> Result<(Disk, PathBuf), LabError> {
        let of = if disk.shared { "all" } else { guest };
        let path = self.shared.folder.path().join("disks").join(format!("{}.{of}", disk.name));
        if !path.exists() {
            let file = File::create(&path).map_err(LabError::io("make a disk"))?;
            file.set_len(disk.size << 20).map_err(LabError::io("make a disk"))?;
        }
        Ok((disk.clone(), path))
    }

    /// Runs a program of the host in the guests' network, as 10.55.0.1: a third party that pings, or serves a target.
    ///
    /// # Errors
    /// When it cannot be run or ends with another code than 0.
    pub fn host(&self, command_line: &[&str]) -> Result<String, LabError> {
        let [program, args @ ..] = command_line else {
            return Err(LabError::Refused("no program given".to_owned()));
        };
        let mut command = Command::new("timeout");
        command
            .args(["60", program])
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = self.shared.place.spawn(&mut command)?;
        let output = child.wait_with_output().map_err(LabError::io(format!("run {program}")))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let words =
            [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned());
        Err(LabError::Refused(format!(
            "{} failed ({}): {}",
            command_line.join(" "),
            output.status,
            words.join("\n")
        )))
    }

    /// Starts a program of the host in the guests' network; it ends with the lab at the latest.
    pub(crate) fn spawn(&self, command: &mut Command) -> Result<Child, LabError> {
        self.shared.place.spawn(command)
    }

    /// The folder of the host that every guest sees as `/host`: to hand files in and out.
    #[must_use]
    pub fn share(&self) -> PathBuf {
        self.shared.folder.path().join("host")
    }

    /// The lab's own folder: sockets, disks, `host`. It goes with the lab.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.shared.folder.path()
    }

    /// Where the consoles and the records of all commands are, also when the lab is gone.
    #[must_use]
    pub fn logs(&self) -> &Path {
        &self.logs
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = writeln!(std::io::stderr(), "the guests' logs are in {}", self.logs.display());
        }
        if std::env::var_os("RINGFENCE_LAB_KEEP").is_some_and(|value| !value.is_empty()) {
            // The note is for who looks into the logs; the folder's own name says nothing.
            let _ = std::os::unix::fs::symlink(self.folder(), self.logs.join("kept"));
            let _ = File::create(self.folder().join(KEPT));
            self.shared.keep.store(true, Ordering::Relaxed);
        }
    }
}

/// Removes the folders of drivers that were killed: they could not.
fn remove_left() {
    for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(pid) = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()) else { continue };
        if !Path::new("/proc").join(pid).exists() && !entry.path().join(KEPT).exists() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// The installed agents: what the caller installed, or built now.
fn tree() -> Result<PathBuf, LabError> {
    let found = subjects::subjects(&scratch()?).map_err(LabError::io("install the agents"))?;
    // QEMU is started in another folder.
    found.tree.canonicalize().map_err(LabError::io("find the installed agents"))
}

fn logs() -> Result<PathBuf, LabError> {
    let named = std::env::var_os("RINGFENCE_LAB_LOGS").filter(|value| !value.is_empty()).map(PathBuf::from);
    named.map_or_else(|| Ok(scratch()?.join("lab-logs")), Ok)
}

/// Cargo's folder for what tests leave, from where the test's program is: `target/debug/deps/...`
fn scratch() -> Result<PathBuf, LabError> {
    let program = std::env::current_exe().map_err(LabError::io("find this program"))?;
    let target = program.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file());
    Ok(target.map_or_else(std::env::temp_dir, |target| target.join("tmp")))
}
