//! Since when there is an account, and until when there was.

use std::collections::BTreeMap;

use domain::Timestamp;
use domain::account::Event;
use eventstore::event::DomainEvent;
use eventstore::follower::Recorded;
use serde::Serialize;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use crate::rows;

#[derive(Debug, FromRow, Serialize)]
struct Person {
    account_id: Uuid,
    registered_at: Timestamp,
    erased_at: Option<Timestamp>,
}

/// The accounts that a batch is about.
#[derive(Debug, Default)]
pub(super) struct People(BTreeMap<Uuid, Person>);

impl People {
    pub(super) fn take(&mut self, account_id: Uuid, event: &Event, recorded: &Recorded) {
        let at = recorded.recorded_at;
        match event {
            Event::AccountRegistered { .. } => {
                self.0.insert(account_id, Person { account_id, registered_at: at, erased_at: None });
            }
            Event::AccountErased {} => {
                if let Some(person) = self.0.get_mut(&account_id) {
                    person.erased_at = Some(at);
                }
            }
            Event::ProfileChanged { .. }
            | Event::EmailChallenged { .. }
            | Event::EmailVerified { .. }
            | Event::PasswordChallenged { .. }
            | Event::PasswordChanged { .. }
            | Event::IdentityLinked { .. }
            | Event::CapabilitiesGranted { .. }
            | Event::CapabilitiesRevoked { .. }
            | Event::ViolationRecorded { .. }
            | Event::ViolationsPardoned { .. }
            | Event::AccountBlocked { .. }
            | Event::AccountSuspended { .. }
            | Event::AccountWarned { .. }
            | Event::AccountReinstated { .. }
            | Event::SessionsRevoked { .. } => {}
        }
    }

    /// Accounts change often, and hardly ever so that it matters here.
    pub(super) async fn load(connection: &mut PgConnection, events: &[Recorded]) -> Result<Self, sqlx::Error> {
        let ids = rows::touched(events, |event| match event {
            DomainEvent::Account(id, Event::AccountErased {}) => Some(id.0),
            _ => None,
        });
        if ids.is_empty() {
            return Ok(Self::default());
        }
        let people: Vec<Person> = sqlx::query_as("select * from account_facts where account_id = any($1)")
            .bind(ids)
            .fetch_all(connection)
            .await?;
        Ok(Self(people.into_iter().map(|person| (person.account_id, person)).collect()))
    }

    pub(super) async fn store(self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let statement = "
            insert into account_facts select * from json_populate_recordset(null::account_facts, $1::json)
            on conflict on constraint account_facts_account do update set erased_at = excluded.erased_at";
        rows::write(connection, statement, self.0.into_values()).await
    }
}
