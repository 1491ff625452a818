//! Which events can be read: the storage format of the whole domain in one list.
//!
//! Two folders beside the source guard it. `schemas/<aggregate>.json` is the JSON schema of each aggregate's events;
//! a test compares it with the code, and rewrites it when `UPDATE_SCHEMAS=1` is set, so that a change of format shows
//! in a diff. `golden/<aggregate>/<EventType>.v<version>.json` is one event of every type and version that was ever
//! written, as it is stored; it must stay readable for ever and is never rewritten.
//!
//! A format that changes gets a new version in `event_versions!` and a golden file of its own. The old version stays in
//! that list, and its file here: it reads as what it meant when it was written.

use crate::aggregate::{Aggregate, Event};

#[cfg(test)]
mod tests;

/// Every (aggregate type, event type, event version) that can be read, for the check at start-up that the log holds
/// nothing else.
pub fn known_types() -> Vec<(&'static str, &'static str, &'static str)> {
    fn types_of<A: Aggregate>() -> Vec<(&'static str, &'static str, &'static str)> {
        A::Event::TYPES.iter().map(|&(event_type, version)| (A::TYPE, event_type, version)).collect()
    }
    macro_rules! types {
        ($($aggregate:ident in $module:ident by $id:ident),+ $(,)?) => {
            [$(types_of::<crate::$module::$aggregate>()),+]
        };
    }
    crate::every_aggregate!(types).concat()
}
