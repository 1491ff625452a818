//! Who is this account, what may it do, and what has it won and not paid?

use std::collections::{BTreeMap, BTreeSet, HashMap};

use domain::account::{self, Capability, Event, Granter, ProfileChanges, Words};
use domain::{AccountId, Aggregate, OrderId, Sealed, Timestamp};
use eventstore::Position;
use eventstore::event::DomainEvent;
use eventstore::follower::{Batch, FollowError, Recorded};
use eventstore::sealing::PersonKeys;
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection, PgExecutor, QueryBuilder};
use uuid::Uuid;

use crate::{Page, ReadModel, Text, rows};

/// The read model.
pub const MODEL: ReadModel = ReadModel {
    name: "accounts",
    next: "accounts_next",
    version: 5,
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
    /// How many orders count that it had won and not paid.
    pub violations: i32,
    /// Whether it may not trade any more, for its violations or because staff say so.
    pub blocked: bool,
    /// Whether it may not trade for now, because staff say so.
    pub suspended: bool,
    /// Who of the staff has last said whether it trades; nobody if it was the last of its violations, or an operator.
    pub ruled_by: Option<Uuid>,
    /// When that was.
    pub ruled_at: Option<Timestamp>,
    /// Why.
    pub reason: Option<String>,
    /// Since when the person is forgotten.
    pub erased_at: Option<Timestamp>,
    /// Since when there is an account.
    pub registered_at: Timestamp,
    /// How many events its stream has.
    pub version: i64,
    /// Where the last of them is.
    pub position: Position,
}

impl Profile {
    /// Whether it trades.
    pub fn standing(&self) -> Standing {
        match self {
            Self { erased_at: Some(_), .. } => Standing::Erased,
            Self { blocked: true, .. } => Standing::Blocked,
            Self { suspended: true, .. } => Standing::Suspended,
            Self { .. } => Standing::Active,
        }
    }
}

/// Whether an account trades.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It may do what its capabilities say.
    Active,
    /// Not for now.
    Suspended,
    /// Not any more.
    Blocked,
    /// It is nobody's any more.
    Erased,
}

/// An order that was won and not paid.
#[derive(Clone, Debug, FromRow, PartialEq, Serialize)]
pub struct Violation {
    /// Who had won it.
    pub account_id: Uuid,
    /// The order.
    pub order_id: Uuid,
    /// When it was given up.
    pub recorded_at: Timestamp,
    /// Since when it counts no more.
    pub pardoned_at: Option<Timestamp>,
    /// Where that it was given up is in the log.
    pub position: Position,
}

/// The profiles that a batch is about, and the violations that it adds or pardons.
#[derive(Debug, Default)]
struct Accounts {
    profiles: BTreeMap<Uuid, Profile>,
    violations: BTreeMap<(Uuid, Uuid), Violation>,
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
                    ruled_by: None,
                    ruled_at: None,
                    reason: None,
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
                self.take_violations(*id, event, recorded);
            }
        }
        if let Some(profile) = self.profiles.get_mut(id) {
            (profile.version, profile.position) = (recorded.sequence, recorded.position);
        }
    }

    fn take_violations(&mut self, account_id: Uuid, event: &Event, recorded: &Recorded) {
        match event {
            Event::ViolationRecorded { order: OrderId(order_id), violations: _ } => {
                let (recorded_at, position) = (recorded.recorded_at, recorded.position);
                let violation = Violation { account_id, order_id: *order_id, recorded_at, pardoned_at: None, position };
                self.violations.insert((account_id, *order_id), violation);
            }
            Event::ViolationsPardoned { orders, .. } => {
                for order in orders {
                    if let Some(violation) = self.violations.get_mut(&(account_id, order.0)) {
                        violation.pardoned_at = Some(recorded.recorded_at);
                    }
                }
            }
            _ => {}
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
            sqlx::query_as("select * from profiles where id = any($1)").bind(ids).fetch_all(&mut *connection).await?;
        let pardoned = rows::touched(events, |event| match event {
            DomainEvent::Account(id, Event::ViolationsPardoned { .. }) => Some(id.0),
            _ => None,
        });
        let violations: Vec<Violation> = if pardoned.is_empty() {
            Vec::new()
        } else {
            let of = "select * from violations where account_id = any($1)";
            sqlx::query_as(of).bind(pardoned).fetch_all(connection).await?
        };
        Ok(Self {
            profiles: profiles.into_iter().map(|profile| (profile.id, profile)).collect(),
            violations: violations.into_iter().map(|it| ((it.account_id, it.order_id), it)).collect(),
        })
    }

    async fn store(self, connection: &mut PgConnection) -> Result<(), FollowError> {
        let statement = "
            insert into profiles select * from json_populate_recordset(null::profiles, $1::json)
            on conflict on constraint profiles_id do update set
                (email, email_verified, user_name, display_name, phone, biography, avatar_url, language, capabilities,
                    violations, blocked, suspended, ruled_by, ruled_at, reason, erased_at, version, position)
                = row (excluded.email, excluded.email_verified, excluded.user_name, excluded.display_name,
                    excluded.phone, excluded.biography, excluded.avatar_url, excluded.language, excluded.capabilities,
                    excluded.violations, excluded.blocked, excluded.suspended, excluded.ruled_by, excluded.ruled_at,
                    excluded.reason, excluded.erased_at, excluded.version, excluded.position)";
        rows::write(connection, statement, self.profiles.into_values()).await?;
        let statement = "
            insert into violations select * from json_populate_recordset(null::violations, $1::json)
            on conflict on constraint violations_order do update set pardoned_at = excluded.pardoned_at";
        Ok(rows::write(connection, statement, self.violations.into_values()).await?)
    }
}

impl Profile {
    /// Takes an event of an account that is there.
    fn take(&mut self, event: &Event, at: Timestamp, people: &PersonKeys) {
        match event {
            Event::ProfileChanged { changes } => self.change(changes, people),
            Event::EmailVerified { email } => (self.email, self.email_verified) = (people.open(email), true),
            Event::CapabilitiesGranted { capabilities, .. } => self.grant(capabilities),
            Event::CapabilitiesRevoked { capabilities, .. } => {
                self.capabilities.retain(|Text(capability)| !capabilities.contains(capability));
            }
            // The domain counts an order once, however often it is reported.
            Event::ViolationRecorded { order: _, violations: _ } => self.violations += 1,
            Event::ViolationsPardoned { orders, .. } => {
                self.violations -= i32::try_from(orders.len()).unwrap_or(self.violations);
            }
            Event::AccountBlocked { violations: _, by, reason } => {
                self.blocked = true;
                self.rule(*by, reason.as_ref().and_then(|reason| people.open(reason)), at);
            }
            Event::AccountSuspended { reason, by } => {
                let reason = match reason {
                    Words::Sealed(reason) => people.open(reason),
                    Words::Clear(reason) => Some(reason.clone()),
                };
                self.suspended = true;
                self.rule(Some(*by), reason, at);
            }
            Event::AccountReinstated { by, reason } => {
                (self.blocked, self.suspended) = (false, false);
                self.rule(Some(*by), reason.as_ref().and_then(|reason| people.open(reason)), at);
            }
            Event::AccountErased {} => {
                self.erased_at = Some(at);
                // What a rebuild shows, which finds no key.
                (self.email, self.user_name, self.display_name) = (None, None, None);
                (self.phone, self.biography, self.avatar_url, self.reason) = (None, None, None, None);
            }
            // What proves to be somebody is shown to nobody. The first of them makes the row.
            Event::AccountRegistered { .. }
            | Event::EmailChallenged { .. }
            | Event::PasswordChallenged { .. }
            | Event::PasswordChanged { .. }
            | Event::IdentityLinked { .. }
            | Event::AccountWarned { .. }
            | Event::SessionsRevoked { .. } => {}
        }
    }

    fn rule(&mut self, by: Option<Granter>, reason: Option<String>, at: Timestamp) {
        self.ruled_by = match by {
            Some(Granter::Account(account)) => Some(account.0),
            Some(Granter::Operator) | None => None,
        };
        (self.ruled_at, self.reason) = (Some(at), reason);
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

/// Which accounts to show.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// This one.
    pub id: Option<AccountId>,
    /// That stands so.
    pub standing: Option<Standing>,
    /// That may do this.
    pub capability: Option<Capability>,
}

/// Where a page ends: the sort key of its last row.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// Since when there is an account.
    pub registered_at: Timestamp,
    /// The account.
    pub id: Uuid,
}

/// Accounts after a cursor, the newest first, at most `limit`.
pub async fn page(
    executor: impl PgExecutor<'_>,
    filter: &Filter,
    after: Option<Cursor>,
    limit: u32,
) -> Result<Page<Profile, Cursor>, sqlx::Error> {
    let mut query = QueryBuilder::new("select * from accounts.profiles where true");
    if let Some(id) = filter.id {
        query.push(" and id = ").push_bind(id.0);
    }
    match filter.standing {
        Some(Standing::Active) => drop(query.push(" and not blocked and not suspended and erased_at is null")),
        Some(Standing::Suspended) => {
            query.push(" and (blocked or suspended) and not blocked and erased_at is null");
        }
        Some(Standing::Blocked) => drop(query.push(" and (blocked or suspended) and blocked and erased_at is null")),
        Some(Standing::Erased) => drop(query.push(" and erased_at is not null")),
        None => {}
    }
    if let Some(capability) = filter.capability {
        query.push(" and capabilities @> array[").push_bind(Text(capability)).push("]");
    }
    if let Some(Cursor { registered_at, id }) = after {
        query.push(" and (registered_at, id) < (").push_bind(registered_at).push(", ").push_bind(id).push(")");
    }
    query.push(" order by registered_at desc, id desc limit ").push_bind(Page::<Profile, Cursor>::rows_to_fetch(limit));
    let profiles: Vec<Profile> = query.build_query_as().fetch_all(executor).await?;
    Ok(Page::of(profiles, limit, |profile| Cursor { registered_at: profile.registered_at, id: profile.id }))
}

/// How many administrators are worth knowing of: one who is left suffices.
const ADMINS: i64 = 20;

/// Some of the administrators; all of them if there are few.
pub async fn admins(executor: impl PgExecutor<'_>) -> Result<Vec<AccountId>, sqlx::Error> {
    let ids: Vec<Uuid> = sqlx::query_scalar(
        "select id from accounts.profiles where capabilities @> array['admin'] and erased_at is null
         order by registered_at, id limit $1",
    )
    .bind(ADMINS)
    .fetch_all(executor)
    .await?;
    Ok(ids.into_iter().map(AccountId).collect())
}

/// Where a page of violations ends.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ViolationCursor {
    /// Where the last of them is in the log.
    pub position: Position,
}

/// What an account has won and not paid, the newest first, at most `limit`.
pub async fn violations(
    executor: impl PgExecutor<'_>,
    account: AccountId,
    after: Option<ViolationCursor>,
    limit: u32,
) -> Result<Page<Violation, ViolationCursor>, sqlx::Error> {
    let rows: Vec<Violation> = sqlx::query_as(
        "select * from accounts.violations where account_id = $1 and ($2::bigint is null or position < $2)
         order by position desc limit $3",
    )
    .bind(account.0)
    .bind(after.map(|cursor| cursor.position))
    .bind(Page::<Violation, ViolationCursor>::rows_to_fetch(limit))
    .fetch_all(executor)
    .await?;
    Ok(Page::of(rows, limit, |violation| ViolationCursor { position: violation.position }))
}

#[cfg(test)]
mod tests {
    use domain::account::{Account, Command, Identity};
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
            Event::CapabilitiesGranted { capabilities: [Capability::Sell].into(), by: Granter::Operator, reason: None },
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
        let reinstate = Command::Reinstate { by: Granter::Account(ann), reason: None };
        for command in
            [register, violation(1), violation(2), violation(2), violation(3), reinstate, violation(3), violation(4)]
        {
            for event in account.decide(command).unwrap() {
                account.evolve(&event);
                position += 1;
                accounts.take(&recorded(position, DomainEvent::Account(ann, event)), &PersonKeys::default());
            }
            let profile = &accounts.profiles[&ann.0];
            shown.push((profile.violations, profile.blocked));
        }
        let until_blocked = [(0, false), (1, false), (2, false), (2, false), (3, true)];
        assert_eq!(shown, [&until_blocked[..], &[(0, false), (0, false), (1, false)]].concat());
        assert_eq!(accounts.profiles[&ann.0].version, 8);
        let pardoned: Vec<bool> = accounts.violations.values().map(|it| it.pardoned_at.is_some()).collect();
        assert_eq!(pardoned, [true, true, true, false]);
    }
}
