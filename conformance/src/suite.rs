//! All cases, and the choice among them.

use crate::case::{Case, Level};

/// Every case there is, in the order of reports: contract, an agent's own, and random sequences, which take long, so that an
/// agent's limit cuts off these first.
pub fn all() -> Vec<Case> {
    let mut cases = crate::contract::all();
    cases.extend(crate::model::all());
    cases.extend(crate::behaviour::all());
    cases.sort_by(|a, b| place(a).cmp(&place(b)));
    cases
}

fn place(case: &Case) -> (bool, bool, &str) {
    (case.tags.iter().any(|tag| tag == "model"), case.agent.is_some(), &case.id)
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

    #[test]
    fn what_takes_long_comes_last() {
        let cases = all();
        let is_drawn = |case: &Case| case.tags.iter().any(|tag| tag == "model");
        let first = cases.iter().position(is_drawn).unwrap();
        assert!(cases.iter().skip(first).all(is_drawn) && first > cases.len() / 2);
        assert!(cases.iter().take(first).any(|case| case.agent.is_some()));
    }
}
