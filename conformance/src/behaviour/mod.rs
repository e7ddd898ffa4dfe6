//! Behaviour cases of single agents, in a small vocabulary: given, with, run, expect, then observe.
//!
//! A case is text in `conformance/cases/<Agent>/*.case`, built in; CONTRIBUTING.md has an example. With
//! `RINGFENCE_CASES=DIR` the cases of `DIR/<Agent>/*.case` take their place, for trying one out.

mod events;
mod fence;
mod language;
mod observe;
mod parse;
mod place;
mod play;
mod target;
mod wire;
mod words;

use crate::bmc::{self, Bmc};
use crate::case::{Case, Parameters};
pub use events::Event;
use language::Script;
use std::path::Path;
use std::sync::OnceLock;

/// Agent, file, text.
const BUILT_IN: &[(&str, &str, &str)] = include!(concat!(env!("OUT_DIR"), "/case_files.rs"));

/// All that was read, or every mistake in it.
static LOADED: OnceLock<Result<Book, String>> = OnceLock::new();

struct Book {
    scripts: Vec<Script>,
    ways: Vec<(String, parse::Way)>,
    events: Vec<(String, Event)>,
    stage: Vec<(String, language::Given)>,
}

/// Reads all case files; to be called before anything else, while their folder can be seen. `Err`: each mistake in a
/// line with file and line number.
pub fn load() -> Result<(), String> {
    book().as_ref().map(|_| ()).map_err(Clone::clone)
}

pub fn all() -> Vec<Case> {
    book().as_ref().map(|book| book.scripts.iter().map(case).collect()).unwrap_or_default()
}

/// Ways to run an agent on a trial's host, as its case files tell them; one without parameters when they tell none.
pub fn ways(agent: &str) -> Vec<Parameters> {
    let told: Vec<Parameters> = told(agent).map(|way| way.parameters.clone()).collect();
    if told.is_empty() { vec![Parameters::new()] } else { told }
}

/// The device that the agent's ways need, started; it lasts as long as the value. `None`: they need none.
pub fn device(agent: &str) -> Result<Option<Bmc>, String> {
    if told(agent).any(|way| way.bmc) { Bmc::start(&bmc::Options::default()).map(Some) } else { Ok(None) }
}

/// Whether the agent's ways need a BMC.
pub fn needs_bmc(agent: &str) -> bool {
    told(agent).any(|way| way.bmc)
}

/// Makes the host of a trial what the case files say that this agent needs: files, and stand-ins for its programs.
pub fn stage(agent: &str) -> Result<(), String> {
    let stage = book().as_ref().map(|book| book.stage.as_slice()).unwrap_or_default();
    let mut unused = place::Callable::default();
    stage.iter().filter(|(of, _)| of == agent).try_for_each(|(_, given)| place::make(given, &mut unused))
}

/// The `way` lines of an agent, or of the one that has it for another name.
fn told(agent: &str) -> impl Iterator<Item = &'static parse::Way> {
    let home = |book: &Book| {
        let script = book.scripts.iter().find(|script| script.agent == agent);
        script.map_or_else(|| agent.to_owned(), |script| script.home().to_owned())
    };
    let book = book().as_ref().ok();
    let home = book.map(home).unwrap_or_default();
    book.into_iter().flat_map(|book| &book.ways).filter(move |(of, _)| *of == home).map(|(_, way)| way)
}

/// What can happen to what this agent runs in this way without the agent's doing.
pub fn events(agent: &str, way: &Parameters) -> Vec<Event> {
    let known = book().as_ref().map(|book| book.events.as_slice()).unwrap_or_default();
    let here = |event: &Event| event.way.as_ref().is_none_or(|other| other == way);
    known.iter().filter(|(of, event)| of == agent && here(event)).map(|(_, event)| event.clone()).collect()
}

/// The peer at the other end of the cable, for events on the network.
pub fn network() -> Result<(), String> {
    place::network()
}

fn book() -> &'static Result<Book, String> {
    LOADED.get_or_init(|| {
        #[allow(
            clippy::disallowed_methods,
            reason = "the judge is its own program: it shares nothing with ocf-lib"
        )]
        let folder = std::env::var_os("RINGFENCE_CASES");
        match folder.filter(|folder| !folder.is_empty()) {
            Some(folder) => read(&gather(Path::new(&folder))?),
            None => read(BUILT_IN),
        }
    })
}

fn read<T: AsRef<str>>(files: &[(T, T, T)]) -> Result<Book, String> {
    let mut book = Book { scripts: Vec::new(), ways: Vec::new(), events: Vec::new(), stage: Vec::new() };
    let mut mistakes = Vec::new();
    for (agent, name, text) in files {
        match parse::file(agent.as_ref(), name.as_ref(), text.as_ref()) {
            Ok(parsed) => {
                for script in parsed.scripts {
                    if let Some(other) = book.scripts.iter().find(|other| other.id() == script.id()) {
                        mistakes.push(format!(
                            "{}: {} stands in {} too",
                            script.file,
                            script.id(),
                            other.file
                        ));
                    }
                    book.scripts.push(script);
                }
                book.events.extend(parsed.events.into_iter().map(|event| (agent.as_ref().to_owned(), event)));
                book.stage.extend(parsed.stage.into_iter().map(|given| (agent.as_ref().to_owned(), given)));
                book.ways.extend(parsed.ways.into_iter().map(|way| (agent.as_ref().to_owned(), way)));
            }
            Err(more) => mistakes.extend(more),
        }
    }
    if mistakes.is_empty() { Ok(book) } else { Err(mistakes.join("\n")) }
}

/// The case files in a folder, in a stable order.
fn gather(folder: &Path) -> Result<Vec<(String, String, String)>, String> {
    let told = |path: &Path, why: std::io::Error| format!("{}: {why}", path.display());
    let inside = |folder: &Path| -> Result<Vec<_>, String> {
        let entries = std::fs::read_dir(folder).map_err(|why| told(folder, why))?;
        let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        Ok(paths)
    };
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut files = Vec::new();
    for agent in inside(folder)?.iter().filter(|path| path.is_dir()) {
        for file in inside(agent)?.iter().filter(|path| path.extension().is_some_and(|end| end == "case")) {
            let text = std::fs::read_to_string(file).map_err(|why| told(file, why))?;
            files.push((name(agent), name(file), text));
        }
    }
    Ok(files)
}

fn case(script: &Script) -> Case {
    let told = script.clone();
    Case {
        id: script.id(),
        family: script.family(),
        agent: Some(script.agent.clone()),
        level: script.level,
        tags: vec!["behaviour".to_owned()],
        about: format!("{} ({})", script.about, script.file),
        judge: Box::new(move |trial| play::play(&told, trial)),
    }
}
