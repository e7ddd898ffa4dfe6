//! The driver of the kernel's target against a model of configfs. The model is a stand-in for what `tests/tests/lab_iscsi.rs`
//! proves with a real kernel: it knows what appears with `mkdir` and what the kernel refuses, and it can end after any
//! operation as a SIGKILL would, or refuse one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::wildcard_enum_match_arm,
    reason = "a test: it observes from outside and panics when it is not as it should be"
)]

use ocf_lib::resource::agent::{State, Verb};
use ocf_lib::resource::context::Cx;
use ocf_lib::resource::testkit::Bench;
use ocf_lib::secret::Secret;
use ringfence_agents::iscsi::configfs::Tree;
use ringfence_agents::iscsi::lio::{Kind, Lio, grow, named, target, unit};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::rc::Rc;

const IQN: &str = "iqn.2026-01.org.lab:t";
const ROOT: &str = "/config/target";

#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    /// Made by us: `rmdir` takes it away.
    Object,
    /// Comes and goes with the object above it.
    Group,
    Attribute(String),
    Link(String),
}

/// What of the kernel's behaviour the driver depends on.
struct Model {
    nodes: RefCell<BTreeMap<PathBuf, Node>>,
    /// Operations that change something, so far.
    done: Cell<u32>,
    /// At this one everything ends (as a SIGKILL), or only it fails.
    end_at: Cell<Option<u32>>,
    fail_at: Cell<Option<u32>>,
}

#[derive(Clone)]
struct Shared(Rc<Model>);

impl Model {
    fn new() -> Self {
        let nodes = [ROOT, "/config/target/core"].map(|path| (PathBuf::from(path), Node::Object)).into();
        Self {
            nodes: RefCell::new(nodes),
            done: Cell::new(0),
            end_at: Cell::new(None),
            fail_at: Cell::new(None),
        }
    }

    fn change(&self) -> Result<()> {
        let done = self.done.get() + 1;
        self.done.set(done);
        if self.end_at.get().is_some_and(|at| done >= at) || self.fail_at.get() == Some(done) {
            return Err(Error::from_raw_os_error(libc::EIO));
        }
        Ok(())
    }

    fn children(&self, directory: &Path) -> Vec<(PathBuf, Node)> {
        let nodes = self.nodes.borrow();
        nodes
            .iter()
            .filter(|(path, _)| path.parent() == Some(directory))
            .map(|(path, node)| (path.clone(), node.clone()))
            .collect()
    }

    fn put(&self, path: PathBuf, node: Node) {
        self.nodes.borrow_mut().insert(path, node);
    }

    fn with(&self, directory: &Path, groups: &[&str], attributes: &[(&str, &str)]) {
        for group in groups {
            self.put(directory.join(group), Node::Group);
        }
        for (name, value) in attributes {
            self.put(directory.join(name), Node::Attribute((*value).to_owned()));
        }
    }

    /// What comes with a new directory, by where it is.
    fn populate(&self, path: &Path) {
        let parts: Vec<String> =
            path.strip_prefix(ROOT).unwrap().iter().map(|part| part.to_string_lossy().into_owned()).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        match parts.as_slice() {
            ["core", _] => self.with(path, &[], &[("hba_info", ""), ("hba_mode", "0")]),
            ["core", _, _] => {
                self.with(path, &["wwn", "attrib", "alua", "pr", "alua/default_tg_pt_gp"], &[]);
                let names =
                    ["control", "udev_path", "wwn/vpd_unit_serial", "wwn/product_id", "wwn/vendor_id"];
                self.with(path, &[], &names.map(|name| (name, "")));
                let numbers = ["enable", "attrib/block_size", "attrib/emulate_tpu", "attrib/emulate_caw"];
                self.with(path, &[], &numbers.map(|name| (name, "0")));
            }
            ["iscsi", _, "tpgt_1"] => {
                self.with(path, &["np", "acls", "lun", "attrib", "auth", "param"], &[("enable", "0")]);
                let numbers = [
                    "attrib/authentication",
                    "attrib/generate_node_acls",
                    "attrib/cache_dynamic_acls",
                    "attrib/demo_mode_write_protect",
                    "param/MaxBurstLength",
                ];
                self.with(path, &[], &numbers.map(|name| (name, "1")));
                self.with(path, &[], &[("auth/userid", ""), ("auth/password", "")]);
            }
            ["iscsi", _, "tpgt_1", "acls", _] => {
                self.with(path, &["auth"], &[("auth/userid", ""), ("auth/password", "")]);
            }
            ["iscsi", _, "tpgt_1", "acls", _, _] => self.with(path, &[], &[("write_protect", "1")]),
            ["iscsi", _, "tpgt_1", "np", _] => self.with(path, &[], &[("iser", "0")]),
            _ => {}
        }
    }

    /// True while a link somewhere holds the object.
    fn is_held(&self, object: &Path) -> bool {
        let tail = object.strip_prefix("/config").unwrap().to_string_lossy().into_owned();
        self.nodes.borrow().values().any(|node| matches!(node, Node::Link(to) if to.ends_with(&tail)))
    }

    /// All objects and links, and the values that matter.
    fn state(&self) -> BTreeMap<PathBuf, Node> {
        self.nodes.borrow().clone()
    }

    fn value(&self, path: &str) -> String {
        match self.nodes.borrow().get(&Path::new(ROOT).join(path)) {
            Some(Node::Attribute(value)) => value.clone(),
            other => panic!("{path}: {other:?}"),
        }
    }

    fn set(&self, path: &str, value: &str) {
        let path = Path::new(ROOT).join(path);
        assert!(matches!(self.nodes.borrow().get(&path), Some(Node::Attribute(_))), "{}", path.display());
        self.put(path, Node::Attribute(value.to_owned()));
    }
}

impl Tree for Shared {
    fn list(&self, directory: &Path) -> Result<Vec<String>> {
        if !self.exists(directory)? {
            return Err(ErrorKind::NotFound.into());
        }
        let name = |path: PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
        Ok(self.0.children(directory).into_iter().map(|(path, _)| name(path)).collect())
    }

    fn read(&self, attribute: &Path) -> Result<String> {
        match self.0.nodes.borrow().get(attribute) {
            Some(Node::Attribute(value)) => Ok(format!("{value}\n")),
            _ => Err(ErrorKind::NotFound.into()),
        }
    }

    fn write(&self, attribute: &Path, value: &[u8]) -> Result<()> {
        self.0.change()?;
        let text = String::from_utf8(value.to_vec()).unwrap();
        let object = attribute.parent().and_then(Path::parent).unwrap().to_owned();
        // target_core_configfs.c: identity and block size cannot change while a unit exports the object.
        let fixed = ["vpd_unit_serial", "product_id", "block_size"];
        if fixed.iter().any(|name| attribute.ends_with(name)) && self.0.is_held(&object) {
            return Err(Error::from_raw_os_error(libc::EINVAL));
        }
        // It is disabled once only (iscsi_target_tpg.c).
        let same = self.read(attribute).map(|old| old.trim() == text);
        if attribute.ends_with("tpgt_1/enable") && text == "0" && same.unwrap_or(false) {
            return Err(Error::from_raw_os_error(libc::EINVAL));
        }
        match self.0.nodes.borrow_mut().get_mut(attribute) {
            Some(Node::Attribute(value)) => {
                *value = text;
                Ok(())
            }
            _ => Err(ErrorKind::NotFound.into()),
        }
    }

    fn mkdir(&self, directory: &Path) -> Result<()> {
        self.0.change()?;
        if self.exists(directory)? {
            return Err(ErrorKind::AlreadyExists.into());
        }
        if !self.exists(directory.parent().unwrap())? {
            return Err(ErrorKind::NotFound.into());
        }
        self.0.put(directory.to_owned(), Node::Object);
        self.0.populate(directory);
        Ok(())
    }

    fn rmdir(&self, directory: &Path) -> Result<()> {
        self.0.change()?;
        if self.0.nodes.borrow().get(directory) != Some(&Node::Object) {
            return Err(ErrorKind::NotFound.into());
        }
        let inside: Vec<(PathBuf, Node)> = self
            .0
            .state()
            .into_iter()
            .filter(|(path, _)| path != directory && path.starts_with(directory))
            .collect();
        if inside.iter().any(|(_, node)| matches!(node, Node::Object | Node::Link(_))) {
            return Err(ErrorKind::DirectoryNotEmpty.into());
        }
        if self.0.is_held(directory) {
            return Err(Error::from_raw_os_error(libc::EBUSY));
        }
        self.0.nodes.borrow_mut().retain(|path, _| !path.starts_with(directory));
        Ok(())
    }

    fn link(&self, object: &Path, link: &Path) -> Result<()> {
        self.0.change()?;
        if !self.exists(object)? || !self.exists(link.parent().unwrap())? {
            return Err(ErrorKind::NotFound.into());
        }
        let tail = object.strip_prefix("/config").unwrap();
        self.0.put(link.to_owned(), Node::Link(format!("../../../../../../{}", tail.display())));
        Ok(())
    }

    fn unlink(&self, link: &Path) -> Result<()> {
        self.0.change()?;
        match self.0.nodes.borrow_mut().remove(link) {
            Some(Node::Link(_)) => Ok(()),
            other => panic!("unlink {}: {other:?}", link.display()),
        }
    }

    fn points_to(&self, link: &Path) -> Result<String> {
        match self.0.nodes.borrow().get(link) {
            Some(Node::Link(to)) => Ok(to.clone()),
            _ => Err(ErrorKind::InvalidInput.into()),
        }
    }

    fn exists(&self, path: &Path) -> Result<bool> {
        Ok(self.0.nodes.borrow().contains_key(path))
    }
}

struct Bed {
    model: Rc<Model>,
    lio: Lio,
    folder: tempfile::TempDir,
    initiators: Vec<String>,
    password: Secret,
}

impl Bed {
    fn new(initiators: &[&str]) -> Self {
        let model = Rc::new(Model::new());
        let lio = Lio::of(Box::new(Shared(Rc::clone(&model))), Path::new(ROOT));
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("disk"), "x").unwrap();
        let initiators = initiators.iter().map(|name| (*name).to_owned()).collect();
        Self { model, lio, folder, initiators, password: Secret::new(b"correct-horse-1".to_vec()) }
    }

    fn cx(&self) -> Cx {
        let run = self.folder.path().join("run");
        Bench::new("iSCSITarget", Verb::Start)
            .timeout_ms(300)
            .set("HA_RSCTMP", run.to_str().unwrap())
            .into_cx()
    }

    fn path(&self) -> String {
        self.folder.path().join("disk").to_str().unwrap().to_owned()
    }

    fn with_target<T>(&self, act: impl FnOnce(&target::Plan<'_>) -> T) -> T {
        act(&target::Plan {
            name: IQN,
            portals: &["0.0.0.0:3260".parse().unwrap(), "[::1]:3261".parse().unwrap()],
            iser: &[],
            initiators: &self.initiators,
            account: Some(("alice", &self.password)),
            settings: &[("MaxBurstLength".into(), "262144".into()), ("Nonsense".into(), "1".into())],
        })
    }

    fn with_unit<T>(&self, act: impl FnOnce(&unit::Plan<'_>) -> T) -> T {
        let path = self.path();
        act(&unit::Plan {
            target: IQN,
            number: 1,
            name: "lu1",
            kind: Kind::File,
            path: &path,
            serial: "b56fbecf",
            vendor: Some("RING"),
            product: Some("FENCE"),
            block_size: Some(4096),
            write_cache: true,
            attributes: &[("emulate_tpu", 1)],
            initiators: &self.initiators,
        })
    }

    fn start_target(&self) -> std::result::Result<(), String> {
        self.with_target(|plan| plan.start(&self.lio, &self.cx())).map_err(|fault| fault.reason().to_owned())
    }

    fn stop_target(&self) -> std::result::Result<(), String> {
        target::stop(&self.lio, IQN, &self.cx()).map_err(|fault| fault.reason().to_owned())
    }

    fn target(&self) -> State {
        self.with_target(|plan| plan.probe(&self.lio)).unwrap()
    }

    fn start_unit(&self) -> std::result::Result<(), String> {
        self.with_unit(|plan| plan.start(&self.lio, &self.cx())).map_err(|fault| fault.reason().to_owned())
    }

    fn stop_unit(&self) -> std::result::Result<(), String> {
        self.with_unit(|plan| {
            plan.stop(&self.lio, &self.cx()).and_then(|()| plan.give_back(&self.lio, &self.cx()))
        })
        .map_err(|fault| fault.reason().to_owned())
    }

    fn unit(&self) -> State {
        self.with_unit(|plan| plan.probe(&self.lio)).unwrap()
    }
}

const NAMED: [&str; 2] = ["iqn.2026-01.org.lab:n1", "iqn.2026-01.org.lab:n2"];

#[test]
fn names_and_values_are_those_of_targetcli() {
    let bed = Bed::new(&NAMED);
    bed.start_target().unwrap();
    bed.start_unit().unwrap();
    assert_eq!((bed.target(), bed.unit()), (State::Running, State::Running));
    let group = format!("iscsi/{IQN}/tpgt_1");
    let at = |path: &str| bed.model.value(&format!("{group}/{path}"));
    assert_eq!([at("enable"), at("attrib/authentication"), at("attrib/generate_node_acls")], ["1", "1", "0"]);
    assert_eq!(at("param/MaxBurstLength"), "262144");
    for name in NAMED {
        assert_eq!(
            [at(&format!("acls/{name}/auth/userid")), at(&format!("acls/{name}/auth/password"))],
            ["alice", "correct-horse-1"]
        );
        assert_eq!(at(&format!("acls/{name}/lun_1/write_protect")), "0");
    }
    let object = |path: &str| bed.model.value(&format!("core/fileio_0/lu1/{path}"));
    assert_eq!(object("wwn/vpd_unit_serial"), "b56fbecf");
    assert_eq!(
        [object("wwn/product_id"), object("wwn/vendor_id"), object("udev_path")],
        ["FENCE".to_owned(), "RING".to_owned(), bed.path()]
    );
    assert_eq!(
        [object("attrib/block_size"), object("attrib/emulate_tpu"), object("control")],
        ["4096", "1", "fd_buffered_io=1"]
    );
    let nodes = bed.model.state();
    for portal in ["0.0.0.0:3260", "[::1]:3261"] {
        assert!(nodes.contains_key(&Path::new(ROOT).join(&group).join("np").join(portal)), "{portal}");
    }
    bed.stop_unit().unwrap();
    bed.stop_target().unwrap();
}

#[test]
fn everybody_may_come_when_nobody_is_named() {
    let bed = Bed::new(&[]);
    bed.start_target().unwrap();
    let at = |path: &str| bed.model.value(&format!("iscsi/{IQN}/tpgt_1/{path}"));
    let names = ["authentication", "generate_node_acls", "demo_mode_write_protect", "cache_dynamic_acls"];
    assert_eq!(names.map(|name| at(&format!("attrib/{name}"))), ["1", "1", "0", "1"]);
    assert_eq!([at("auth/userid"), at("auth/password")], ["alice", "correct-horse-1"]);
    assert!(!bed.with_target(|plan| plan.probe(&bed.lio)).unwrap().reason().unwrap_or("").contains("horse"));
}

/// Ends an action after each of its operations, and has another one mend it.
fn ended_anywhere(
    ready: impl Fn(&Bed),
    act: impl Fn(&Bed) -> std::result::Result<(), String>,
    mend: impl Fn(&Bed),
) -> u32 {
    let mut at = 1;
    loop {
        let bed = Bed::new(&NAMED);
        ready(&bed);
        bed.model.done.set(0);
        bed.model.end_at.set(Some(at));
        let _ = act(&bed);
        let ended = bed.model.done.get() >= at;
        bed.model.end_at.set(None);
        if !ended {
            return at - 1;
        }
        mend(&bed);
        at += 1;
        assert!(at < 200);
    }
}

#[test]
fn wherever_it_is_killed_the_next_start_or_stop_mends_it() {
    let whole = {
        let bed = Bed::new(&NAMED);
        bed.start_target().unwrap();
        let target = bed.model.state().len();
        bed.start_unit().unwrap();
        (target, bed.model.state().len())
    };
    let empty = |bed: &Bed| {
        // The fabric itself stays once it is there.
        let left = bed.model.state().len();
        assert!(left <= 3, "{:?}", bed.model.state());
    };
    let both = |bed: &Bed| {
        bed.start_target().unwrap();
        bed.start_unit().unwrap();
    };
    let made = |bed: &Bed| {
        assert_eq!((bed.target(), bed.unit()), (State::Running, State::Running));
        assert_eq!(bed.model.state().len(), whole.1, "{:?}", bed.model.state());
    };
    let gone = |bed: &Bed| {
        assert_eq!((bed.target(), bed.unit()), (State::Stopped, State::Stopped));
        empty(bed);
    };
    let none = |_: &Bed| {};
    let target = |bed: &Bed| bed.start_target().unwrap();
    let restart = |bed: &Bed| {
        both(bed);
        made(bed);
    };
    let stop = |bed: &Bed| {
        bed.stop_unit().unwrap();
        bed.stop_target().unwrap();
        gone(bed);
    };
    let points = [
        ended_anywhere(none, Bed::start_target, restart),
        ended_anywhere(none, Bed::start_target, stop),
        ended_anywhere(target, Bed::start_unit, restart),
        ended_anywhere(target, Bed::start_unit, stop),
        ended_anywhere(both, Bed::stop_unit, restart),
        ended_anywhere(both, Bed::stop_unit, stop),
        ended_anywhere(both, Bed::stop_target, stop),
    ];
    assert!(points.iter().all(|points| *points >= 8), "{points:?}");
    assert!(whole.0 < whole.1);
}

#[test]
fn one_refusal_of_the_kernel_fails_a_start_and_stop_takes_the_rest_away() {
    for (at, is_unit) in (1..60).flat_map(|at| [(at, false), (at, true)]) {
        let bed = Bed::new(&NAMED);
        if is_unit {
            bed.start_target().unwrap();
        }
        bed.model.done.set(0);
        bed.model.fail_at.set(Some(at));
        let started = if is_unit { bed.start_unit() } else { bed.start_target() };
        bed.model.fail_at.set(None);
        let state = if is_unit { bed.unit() } else { bed.target() };
        // Parameters of the target and the vendor's name may be refused: that is told and no more.
        assert!(started.is_err() || state == State::Running, "at {at}: {state:?}");
        bed.stop_unit().unwrap();
        bed.stop_target().unwrap();
        assert!(bed.model.state().len() <= 3, "at {at}: {:?}", bed.model.state());
    }
}

#[test]
fn what_is_not_ours_stays() {
    let bed = Bed::new(&NAMED);
    bed.start_target().unwrap();
    let tree = Shared(Rc::clone(&bed.model));
    let root = Path::new(ROOT);
    // Another's object under our number, and one with our name behind another's target.
    for (hba, name, path) in [("iblock_0", "theirs", "/dev/theirs"), ("iblock_1", "lu1", "/dev/other")] {
        tree.mkdir(&root.join("core").join(hba)).unwrap();
        tree.mkdir(&root.join("core").join(hba).join(name)).unwrap();
        bed.model.set(&format!("core/{hba}/{name}/udev_path"), path);
    }
    let ours = root.join(format!("iscsi/{IQN}/tpgt_1/lun/lun_1"));
    tree.mkdir(&ours).unwrap();
    tree.link(&root.join("core/iblock_0/theirs"), &ours.join("l")).unwrap();
    let other = root.join("iscsi/iqn.2026-01.org.lab:tx");
    for path in ["", "tpgt_1", "tpgt_1/lun/lun_1"] {
        tree.mkdir(&other.join(path)).unwrap();
    }
    tree.link(&root.join("core/iblock_1/lu1"), &other.join("tpgt_1/lun/lun_1/l")).unwrap();
    let before = bed.model.state();
    assert_eq!(bed.unit(), State::Stopped);
    bed.stop_unit().unwrap();
    let said = bed.start_unit().unwrap_err();
    assert!(said.contains("that is /dev/theirs (theirs)"), "{said}");
    bed.stop_unit().unwrap();
    assert_eq!(bed.model.state(), before);
    // With the number free, the name is still another's.
    tree.unlink(&ours.join("l")).unwrap();
    tree.rmdir(&ours).unwrap();
    let said = bed.start_unit().unwrap_err();
    assert!(said.contains("iblock_1/lu1, which another target exports"), "{said}");
    bed.stop_unit().unwrap();
    assert!(bed.model.state().contains_key(&root.join("core/iblock_1/lu1")));
}

#[test]
fn a_unit_without_a_list_is_mapped_for_all_whom_the_target_knows() {
    let bed = Bed::new(&NAMED);
    bed.start_target().unwrap();
    bed.with_unit(|plan| unit::Plan { initiators: &[], ..copy(plan) }.start(&bed.lio, &bed.cx())).unwrap();
    for name in NAMED {
        let link = format!("{ROOT}/iscsi/{IQN}/tpgt_1/acls/{name}/lun_1");
        assert!(bed.model.state().keys().any(|path| path.starts_with(&link) && *path != Path::new(&link)));
    }
}

#[test]
fn a_rule_made_for_units_goes_with_the_last_of_them_and_the_targets_own_stays() {
    let bed = Bed::new(&["iqn.2026-01.org.lab:n1"]);
    bed.start_target().unwrap();
    let wanted = vec!["iqn.2026-01.org.lab:n1".to_owned(), "iqn.2026-01.org.lab:guest".to_owned()];
    let acl = |name: &str| {
        bed.model.state().contains_key(
            &Path::new(ROOT).join(format!("iscsi/{IQN}/tpgt_1/acls/iqn.2026-01.org.lab:{name}")),
        )
    };
    bed.with_unit(|plan| {
        let two = unit::Plan { number: 2, name: "lu2", initiators: &wanted, ..copy(plan) };
        two.start(&bed.lio, &bed.cx()).unwrap();
        let one = unit::Plan { initiators: &wanted, ..copy(plan) };
        one.start(&bed.lio, &bed.cx()).unwrap();
        assert!(
            one.probe(&bed.lio).unwrap() == State::Running && two.probe(&bed.lio).unwrap() == State::Running
        );
        two.stop(&bed.lio, &bed.cx()).unwrap();
        assert!(acl("guest") && acl("n1"), "the other unit still needs it");
        one.stop(&bed.lio, &bed.cx()).unwrap();
    });
    assert!(!acl("guest") && acl("n1"));
    assert_eq!(bed.target(), State::Running);
}

#[test]
fn a_file_that_has_grown_is_told_to_the_kernel() {
    let bed = Bed::new(&[]);
    bed.start_target().unwrap();
    bed.start_unit().unwrap();
    let place = named(&bed.lio, "lu1").unwrap().remove(0);
    grow(&bed.lio, &place, &bed.path(), 4096).unwrap();
    assert_eq!(
        bed.model.value("core/fileio_0/lu1/control"),
        format!("fd_dev_name={},fd_dev_size=4096", bed.path())
    );
}

#[test]
fn a_device_that_is_gone_is_not_running_and_is_still_let_go() {
    let bed = Bed::new(&NAMED);
    bed.start_target().unwrap();
    bed.start_unit().unwrap();
    std::fs::remove_file(bed.path()).unwrap();
    assert!(matches!(bed.unit(), State::Unusable(_)));
    bed.stop_unit().unwrap();
    assert_eq!(bed.unit(), State::Stopped);
}

fn copy<'a>(plan: &unit::Plan<'a>) -> unit::Plan<'a> {
    unit::Plan {
        target: plan.target,
        number: plan.number,
        name: plan.name,
        kind: plan.kind,
        path: plan.path,
        serial: plan.serial,
        vendor: plan.vendor,
        product: plan.product,
        block_size: plan.block_size,
        write_cache: plan.write_cache,
        attributes: plan.attributes,
        initiators: plan.initiators,
    }
}
