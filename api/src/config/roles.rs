//! What a node does: all of it, unless it is told to do a part.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a node does, as `node.roles` and `--roles` name it, with commas between.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Roles {
    /// Answers the HTTP API.
    pub api: bool,
    /// Takes its turn at publishing the log to NATS.
    pub relay: bool,
    /// Keeps the read models.
    pub projections: bool,
    /// Fires timers and asks payment providers.
    pub processes: bool,
}

impl Roles {
    /// Everything.
    pub const ALL: Self = Self { api: true, relay: true, projections: true, processes: true };

    fn named(&mut self) -> [(&'static str, &mut bool); 4] {
        [
            ("api", &mut self.api),
            ("relay", &mut self.relay),
            ("projections", &mut self.projections),
            ("processes", &mut self.processes),
        ]
    }
}

impl Default for Roles {
    fn default() -> Self {
        Self::ALL
    }
}

impl FromStr for Roles {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut roles = Self { api: false, relay: false, projections: false, processes: false };
        for name in text.split(',').map(str::trim) {
            let mut known = roles.named().into_iter();
            let Some((_, role)) = known.find(|(known, _)| *known == name) else {
                return Err(format!("`{name}` is no role; there are {}", Self::ALL));
            };
            *role = true;
        }
        Ok(roles)
    }
}

impl TryFrom<String> for Roles {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut roles = *self;
        let names: Vec<_> = roles.named().into_iter().filter(|(_, on)| **on).map(|(name, _)| name).collect();
        f.write_str(&names.join(","))
    }
}

impl From<Roles> for String {
    fn from(roles: Roles) -> Self {
        roles.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_read_as_they_are_shown() {
        assert_eq!(Roles::ALL.to_string(), "api,relay,projections,processes");
        for text in ["api,relay,projections,processes", "api", "projections,processes"] {
            assert_eq!(text.parse::<Roles>().unwrap().to_string(), text);
        }
        assert_eq!(" processes , projections ".parse::<Roles>().unwrap().to_string(), "projections,processes");
    }

    #[test]
    fn what_is_no_role_is_refused_with_what_there_is() {
        for text in ["", "api,", "decider", "API"] {
            let refused = text.parse::<Roles>().unwrap_err();
            assert!(refused.contains("there are api,relay,projections,processes"), "{refused}");
        }
    }
}
