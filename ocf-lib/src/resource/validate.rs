//! `validate-all`: what is wrong with the parameters, and what a caller gets to read of it.

use crate::resource::agent::Agent;
use crate::resource::code::{Code, Fault};
use crate::resource::context::Cx;
use crate::resource::param::{ParamSet, Problem, Reader};
use serde_json::{Value, json};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub parameter: Option<&'static str>,
    pub code: Code,
    pub text: String,
}

impl From<Problem> for Finding {
    fn from(problem: Problem) -> Self {
        Self { parameter: Some(problem.parameter), code: Code::Configured, text: problem.to_string() }
    }
}

impl From<Fault> for Finding {
    fn from(fault: Fault) -> Self {
        Self { parameter: None, code: fault.code(), text: fault.reason().to_owned() }
    }
}

/// Level 0 looks at the parameters alone: tools ask it on nodes that will never host the resource.
/// Level 10 and up also at this host.
pub fn findings<A: Agent>(cx: &Cx) -> Vec<Finding> {
    let mut reader = Reader::new(cx.env());
    let params = A::Params::read(&mut reader);
    let mut findings: Vec<Finding> = reader.into_problems().into_iter().map(Finding::from).collect();
    let Some(params) = params else {
        return findings;
    };
    let agent = A::new(params, cx);
    if let Err(fault) = agent.check(cx) {
        findings.push(fault.into());
    }
    if findings.is_empty() && cx.check_level() >= 10 {
        findings.extend(agent.check_host(cx).err().map(Finding::from));
    }
    findings
}

/// The result for a program (`OCF_OUTPUT_FORMAT=json`).
pub fn as_json(type_name: &str, level: u32, findings: &[Finding]) -> Value {
    json!({
        "agent": type_name,
        "action": "validate-all",
        "level": level,
        "valid": findings.is_empty(),
        "findings": findings
            .iter()
            .map(|f| json!({ "parameter": f.parameter, "code": f.code.number(), "reason": f.text }))
            .collect::<Vec<_>>(),
    })
}
