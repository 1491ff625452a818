//! Who of the staff has decided something about what people say of each other, and why.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::AccountId;
use crate::sealed::Sealed;

/// Who of the staff has decided something, and why. Part of the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Ruling {
    /// Who.
    pub by: AccountId,
    /// Why, in their words and with their seal.
    pub reason: Sealed<String>,
}

impl Ruling {
    /// Whether the reason goes with whoever gave it.
    pub(crate) fn is_sealed_for_its_author(&self) -> bool {
        self.reason.of == self.by
    }
}
