//! Who is this account, and what may it do?

use std::collections::{BTreeMap, BTreeSet, HashMap};

use domain::account::{self, Capability, Event, ProfileChanges};
use domain::{AccountId, Aggregate, Sealed, Timestamp};
use eventstore::Position;
use eventstore::event::DomainEvent;
use eventstore::follower::{Batch, FollowError, Recorded};
use eventstore::sealing::PersonKeys;
use serde::Serialize;
use sqlx::{FromRow, PgConnection, PgExecutor};
use uuid::Uuid;

use crate::{ReadModel, Text, rows};

/// The read model.
pub const MODEL: ReadModel = ReadModel {
    name: "accounts",
    next: "accounts_next",
    version: 4,
    about: &[account::Account::TYPE],
    ddl: include_str!("accounts.sql"),
    apply: |connection, batch| Box::pin(apply(connection, batch)),
};

/// What an account shows. Personal fields are `None` once the person is forgotten.
#[derive(Clone, Debug, FromRow, PartialEq, Serialize)]
pub struct Profile {
    /// The account.
    pub id: Uuid,
    /// The address it logs in with.
    pub email: Option<String>,
    /// Whether somebody reads the mailbox of that address.
    pub email_verified: bool,
    /// The public name.
    pub user_name: Option<String>,
    /// The name shown to others.
    pub display_name: Option<String>,
    /// A telephone number.
    pub phone: Option<String>,
    /// A few words about oneself.
    pub biography: Option<String>,
    /// The address of a picture.
    pub avatar_url: Option<String>,
    /// The preferred language, as a BCP 47 tag.
    pub language: Option<String>,
    /// What it may do, in the order of [`Capability::ALL`].
    pub capabilities: Vec<Text<Capability>>,
    /// How many orders it had won and not paid.
    pub violations: i32,
    /// Whether it may not trade any more, for its violations.
    pub blocked: bool,
    /// Whether it may not trade for now, because staff say so.
    pub suspended: bool,
    /// Since when the person is forgotten.
    pub erased_at: Option<Timestamp>,
    /// Since when there is an account.
    pub registered_at: Timestamp,
    /// How many events its stream has.
    pub version: i64,
    /// Where the last of them is.
    pub position: Position,
}

/// The profiles that a batch is about.
#[derive(Debug, Default)]
struct Accounts {
    profiles: BTreeMap<Uuid, Profile>,
}

async fn apply(connection: &mut PgConnection, batch: &Batch) -> Result<(), FollowError> {
    let mut accounts = Accounts::load(connection, &batch.events).await?;
    for recorded in &batch.events {
        accounts.take(recorded, &batch.people);
    }
    accounts.store(connection).await
}

impl Accounts {
    /// Takes one event in.
    fn take(&mut self, recorded: &Recorded, people: &PersonKeys) {
        let DomainEvent::Account(AccountId(id), event) = &recorded.event else { return };
        match event {
            Event::AccountRegistered { identity, capabilities } => {
                let profile = Profile {
                    id: *id,
                    email: people.open(&identity.email),
                    email_verified: false,
                    user_name: people.open(&identity.user_name),
                    display_name: None,
                    phone: None,
                    biography: None,
                    avatar_url: None,
                    language: None,
                    capabilities: capabilities.iter().copied().map(Text).collect(),
                    violations: 0,
                    blocked: false,
                    suspended: false,
                    erased_at: None,
                    registered_at: recorded.recorded_at,
                    version: 0,
                    position: 0,
                };
                self.profiles.insert(*id, profile);
            }
            event => {
                if let Some(profile) = self.profiles.get_mut(id) {
                    profile.take(event, recorded.recorded_at, people);
                }
            }
        }
        if let Some(profile) = self.profiles.get_mut(id) {
            (profile.version, profile.position) = (recorded.sequence, recorded.position);
        }
    }

    async fn load(connection: &mut PgConnection, events: &[Recorded]) -> Result<Self, FollowError> {
        let ids = rows::touched(events, |event| match event {
            DomainEvent::Account(id, _) => Some(id.0),
            _ => None,
        });
        if ids.is_empty() {
            return Ok(Self::default());
        }
        let profiles: Vec<Profile> =
            sqlx::query_as("select * from profiles where id = any($1)").bind(ids).fetch_all(connection).await?;
        Ok(Self { profiles: profiles.into_iter().map(|profile| (profile.id, profile)).collect() })
    }

    async fn store(self, connection: &mut PgConnection) -> Result<(), FollowError> {
        let statement = "
            insert into profiles select * from json_populate_recordset(null::profiles, $1::json)
            on conflict on constraint profiles_id do update set
                (email, email_verified, user_name, display_name, phone, biography, avatar_url, language, capabilities,
                    violations, blocked, suspended, erased_at, version, position)
                = row (excluded.email, excluded.email_verified, excluded.user_name, excluded.display_name,
                    excluded.phone, excluded.biography, excluded.avatar_url, excluded.language, excluded.capabilities,
                    excluded.violations, excluded.blocked, excluded.suspended, excluded.erased_at, excluded.version,
                    excluded.position)";
        Ok(rows::write(connection, statement, self.profiles.into_values()).await?)
    }
}

impl Profile {
    /// Takes an event of an account that is there.
    fn take(&mut self, event: &Event, at: Timestamp, people: &PersonKeys) {
        match event {
            Event::ProfileChanged { changes } => self.change(changes, people),
            Event::EmailVerified { email } => (self.email, self.email_verified) = (people.open(email), true),
            Event::CapabilitiesGranted { capabilities, by: _ } => self.grant(capabilities),
            Event::CapabilitiesRevoked { capabilities, by: _ } => {
                self.capabilities.retain(|Text(capability)| !capabilities.contains(capability));
            }
            // The domain counts an order once, however often it is reported.
            Event::ViolationRecorded { order: _, violations: _ } => self.violations += 1,
            Event::AccountBlocked { violations: _ } => self.blocked = true,
            Event::AccountSuspended { reason: _, by: _ } => self.suspended = true,
            Event::AccountReinstated { by: _ } => (self.blocked, self.suspended) = (false, false),
            Event::AccountErased {} => {
                self.erased_at = Some(at);
                // What a rebuild shows, which finds no key.
                (self.email, self.user_name, self.display_name) = (None, None, None);
                (self.phone, self.biography, self.avatar_url) = (None, None, None);
            }
            // What proves to be somebody is shown to nobody. The first of them makes the row.
            Event::AccountRegistered { .. }
            | Event::EmailChallenged { .. }
            | Event::PasswordChallenged { .. }
            | Event::PasswordChanged { .. }
            | Event::IdentityLinked { .. }
            | Event::SessionsRevoked { .. } => {}
        }
    }

    fn change(&mut self, changes: &ProfileChanges, people: &PersonKeys) {
        let ProfileChanges { user_name, display_name, phone, biography, avatar_url, language } = changes;
        // An empty text clears.
        let written = |text: &String| !text.is_empty();
        let set = |field: &mut Option<String>, change: &Option<Sealed<String>>| {
            if let Some(sealed) = change {
                *field = people.open(sealed).filter(written);
            }
        };
        set(&mut self.user_name, user_name);
        set(&mut self.display_name, display_name);
        set(&mut self.phone, phone);
        set(&mut self.biography, biography);
        set(&mut self.avatar_url, avatar_url);
        if let Some(language) = language {
            self.language = Some(language.clone()).filter(written);
        }
    }

    fn grant(&mut self, capabilities: &BTreeSet<Capability>) {
        let known = self.capabilities.iter().map(|Text(capability)| *capability);
        let all: BTreeSet<Capability> = known.chain(capabilities.iter().copied()).collect();
        self.capabilities = all.into_iter().map(Text).collect();
    }
}

/// The profile of an account.
pub async fn get(executor: impl PgExecutor<'_>, account: AccountId) -> Result<Option<Profile>, sqlx::Error> {
    sqlx::query_as("select * from accounts.profiles where id = $1").bind(account.0).fetch_optional(executor).await
}

/// The public names of those of these accounts that have one.
pub async fn names(executor: impl PgExecutor<'_>, accounts: &[Uuid]) -> Result<HashMap<Uuid, String>, sqlx::Error> {
    let names: Vec<(Uuid, String)> =
        sqlx::query_as("select id, user_name from accounts.profiles where id = any($1) and user_name is not null")
            .bind(accounts)
            .fetch_all(executor)
            .await?;
    Ok(names.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use domain::account::{Account, Command, Granter, Identity};
    use domain::{Aggregate, OrderId};

    use super::*;
    use crate::tests::history::recorded;

    #[test]
    fn what_cannot_be_opened_shows_as_nothing_and_the_rest_stays() {
        let ann = AccountId(Uuid::from_u128(1));
        let sealed = || Sealed::from_ciphertext(ann, "unreadable".to_owned());
        let identity = Identity { email: sealed(), user_name: sealed(), password_hash: None };
        let language = Some("de".to_owned());
        let changes = ProfileChanges { phone: Some(sealed()), language: language.clone(), ..ProfileChanges::default() };
        let events = [
            Event::AccountRegistered { identity, capabilities: [Capability::Audit, Capability::Buy].into() },
            Event::ProfileChanged { changes },
            Event::CapabilitiesGranted { capabilities: [Capability::Sell].into(), by: Granter::Operator },
        ];
        let mut accounts = Accounts::default();
        for (position, event) in (1..).zip(events) {
            accounts.take(&recorded(position, DomainEvent::Account(ann, event)), &PersonKeys::default());
        }
        let profile = &accounts.profiles[&ann.0];
        assert_eq!((&profile.email, &profile.phone, &profile.language), (&None, &None, &language));
        assert_eq!(profile.capabilities, [Capability::Buy, Capability::Sell, Capability::Audit].map(Text));
        assert_eq!((profile.version, profile.position), (3, 3));
        assert_eq!((profile.violations, profile.blocked), (0, false));
    }

    #[test]
    fn violations_are_counted_and_the_last_of_them_blocks() {
        let ann = AccountId(Uuid::from_u128(1));
        let sealed = || Sealed::from_ciphertext(ann, "unreadable".to_owned());
        let identity = Identity { email: sealed(), user_name: sealed(), password_hash: None };
        let violation = |order| Command::RecordViolation { order: OrderId(Uuid::from_u128(order)) };
        let register = Command::Register { account: ann, identity, capabilities: [Capability::Buy].into() };
        let mut account = Account::default();
        let mut accounts = Accounts::default();
        let mut position = 0;
        let mut shown = Vec::new();
        for command in [register, violation(1), violation(2), violation(2), violation(3)] {
            for event in account.decide(command).unwrap() {
                account.evolve(&event);
                position += 1;
                accounts.take(&recorded(position, DomainEvent::Account(ann, event)), &PersonKeys::default());
            }
            let profile = &accounts.profiles[&ann.0];
            shown.push((profile.violations, profile.blocked));
        }
        assert_eq!(shown, [(0, false), (1, false), (2, false), (2, false), (3, true)]);
        assert_eq!(accounts.profiles[&ann.0].version, 5);
    }
}
