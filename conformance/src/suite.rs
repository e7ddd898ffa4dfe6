//! All cases, and the choice among them.

use crate::case::{Case, Level};

/// Every case there is, in the order of reports.
pub fn all() -> Vec<Case> {
    let mut cases = crate::contract::all();
    cases.extend(crate::model::all());
    cases.extend(crate::behaviour::all());
    cases.sort_by(|a, b| (a.agent.is_some(), &a.id).cmp(&(b.agent.is_some(), &b.id)));
    cases
}

/// What the command line selects; an empty list selects everything.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Parts of a case's id.
    pub cases: Vec<String>,
    pub tags: Vec<String>,
    pub levels: Vec<String>,
    /// Cases that change the machine, too.
    pub on_this_machine: bool,
}

impl Choice {
    pub fn takes(&self, case: &Case) -> bool {
        let any = |wanted: &[String], has: &dyn Fn(&str) -> bool| {
            wanted.is_empty() || wanted.iter().any(|w| has(w))
        };
        (case.level != Level::Lab || self.on_this_machine)
            && any(&self.cases, &|part| case.id.contains(part))
            && any(&self.tags, &|tag| case.tags.iter().any(|has| has == tag))
            && any(&self.levels, &|level| case.level.word() == level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_has_its_own_name_and_says_what_it_is_about() {
        let cases = all();
        for (at, case) in cases.iter().enumerate() {
            assert!(cases.iter().skip(at + 1).all(|other| other.id != case.id), "{} twice", case.id);
            assert!(case.about.len() > 20, "{} says nothing about itself", case.id);
        }
    }
}
