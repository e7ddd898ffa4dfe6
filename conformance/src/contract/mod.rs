//! The cases that every agent gets for free, from its metadata alone.

mod fence;
mod resource_actions;
mod resource_clean_host;
mod resource_hostile;
mod resource_lifecycle;
mod resource_managers;
mod resource_metadata;
mod resource_metadata_calls;
mod resource_reasons;
mod resource_roles;
mod resource_schema;
mod resource_secrets;
mod resource_ways;

use crate::case::Case;

pub fn all() -> Vec<Case> {
    let mut cases = resource_actions::cases();
    cases.extend(resource_clean_host::cases());
    cases.extend(resource_hostile::cases());
    cases.extend(resource_lifecycle::cases());
    cases.extend(resource_managers::cases());
    cases.extend(resource_metadata::cases());
    cases.extend(resource_metadata_calls::cases());
    cases.extend(resource_reasons::cases());
    cases.extend(resource_roles::cases());
    cases.extend(resource_schema::cases());
    cases.extend(resource_secrets::cases());
    cases.extend(fence::all());
    cases
}
