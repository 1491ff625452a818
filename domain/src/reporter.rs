//! How much somebody reports.
//!
//! A stream for each account, beside those of its reports, which it is asked for leave of. It counts the reports of a day
//! (UTC), of which there is a most: staff are to have time for those of others. Invariant: a new day begins at nothing.

use chrono::NaiveDate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::aggregate::{Aggregate, event_versions};
use crate::ids::AccountId;

/// What is asked of a reporter.
#[derive(Clone, Copy, Debug)]
pub enum Command {
    /// Report one thing more.
    Count {
        /// The day of the decision.
        today: NaiveDate,
        /// How many reports there may be on a day.
        most: u32,
    },
}

/// What happens to a reporter. This is the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub enum Event {
    /// One thing more was reported.
    ReportCounted {
        /// On this day.
        day: NaiveDate,
    },
}

event_versions!(Event { ReportCounted = "1" });

/// Why a reporter refuses, with the rule's numbers.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Error {
    /// That was enough for a day.
    #[error("there may be {maximum} reports on a day")]
    TooMany {
        /// How many there may be.
        maximum: u32,
    },
}

/// A reporter.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Reporter {
    /// Never reported anything.
    #[default]
    Silent,
    /// Reported something.
    Heard {
        /// On which day last.
        day: NaiveDate,
        /// How many things on that day.
        reports: u32,
    },
}

impl Reporter {
    fn reports_on(self, today: NaiveDate) -> u32 {
        match self {
            Self::Heard { day, reports } if day == today => reports,
            Self::Heard { .. } | Self::Silent => 0,
        }
    }
}

impl Aggregate for Reporter {
    const TYPE: &'static str = "reporter";
    type Id = AccountId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn decide(&self, Command::Count { today, most }: Command) -> Result<Vec<Event>, Error> {
        if self.reports_on(today) >= most {
            return Err(Error::TooMany { maximum: most });
        }
        Ok(vec![Event::ReportCounted { day: today }])
    }

    fn evolve(&mut self, Event::ReportCounted { day }: &Event) {
        *self = Self::Heard { day: *day, reports: self.reports_on(*day) + 1 };
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::testing::given;

    #[test]
    fn there_is_a_most_for_each_day() {
        let today = NaiveDate::default();
        let count = |today| Command::Count { today, most: 2 };
        let counted = |day| Event::ReportCounted { day };
        given::<Reporter>([counted(today)]).when(count(today)).then([counted(today)]);
        let enough = || given::<Reporter>([counted(today), counted(today)]);
        enough().when(count(today)).then_refused(Error::TooMany { maximum: 2 });
        let tomorrow = today + TimeDelta::days(1);
        enough().when(count(tomorrow)).then([counted(tomorrow)]);
        enough()
            .and(count(tomorrow))
            .and(count(tomorrow))
            .when(count(tomorrow))
            .then_refused(Error::TooMany { maximum: 2 });
    }
}
