//! Where may somebody's money go, and when does it go there by itself?
//!
//! The payment methods of an account, oldest first, its plans, the merchants that it is at providers, and the version of
//! the payee that methods and plans belong to. Whoever is forgotten has none of that any more.

use std::collections::{BTreeMap, BTreeSet};

use domain::account::{self, Account};
use domain::merchant::{self, Merchant};
use domain::payee::{self, Payee, Schedule};
use domain::{AccountId, Aggregate, Currency, Timestamp};
use eventstore::Position;
use eventstore::event::DomainEvent;
use eventstore::follower::{Batch, FollowError, Recorded};
use eventstore::sealing::PersonKeys;
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection, PgExecutor};
use uuid::Uuid;

use crate::{ReadModel, Text, rows};

/// The read model.
pub const MODEL: ReadModel = ReadModel {
    name: "payees",
    next: "payees_next",
    version: 1,
    about: &[Account::TYPE, Merchant::TYPE, Payee::TYPE],
    ddl: include_str!("payees.sql"),
    apply: |connection, batch| Box::pin(apply(connection, batch)),
};

/// A payment method.
#[derive(Clone, Debug, Deserialize, FromRow, PartialEq, Serialize)]
pub struct Method {
    /// The method.
    pub id: Uuid,
    /// Whose.
    pub owner_id: Uuid,
    /// At which provider.
    pub provider: String,
    /// What it is called there.
    pub token: String,
    /// What its owner calls it.
    pub label: Option<String>,
    /// Whether it is a merchant of the provider's, which nobody has added.
    pub of_merchant: bool,
    /// Whether the provider pays nothing out there for now.
    pub paused: bool,
    /// Since when it is kept.
    pub added_at: Timestamp,
    /// Where in the log it was added.
    added: Position,
}

/// What goes out of a seller's wallet by itself.
#[derive(Clone, Copy, Debug, FromRow, PartialEq, Serialize)]
pub struct Plan {
    /// Whose.
    pub owner_id: Uuid,
    /// Of which wallet.
    pub currency: Text<Currency>,
    /// When.
    pub schedule: Text<Schedule>,
    /// Where to.
    pub method_id: Uuid,
    /// When next, if that is known.
    pub due_at: Option<Timestamp>,
}

/// A merchant of a provider's.
#[derive(Clone, Debug, FromRow, PartialEq, Serialize)]
pub struct MerchantRow {
    /// The merchant.
    pub id: Uuid,
    /// Whose.
    pub owner_id: Uuid,
    /// At which provider.
    pub provider: String,
    /// What it is called there.
    pub reference: String,
    /// Whether the provider pays out there.
    pub payouts: bool,
    /// What it still wants to know, in its own words.
    pub due: Json<Vec<String>>,
    /// Where its last event is.
    pub position: Position,
}

/// How far a payee has come.
#[derive(Clone, Copy, Debug, Default, FromRow, PartialEq, Serialize)]
struct Reached {
    owner_id: Uuid,
    version: i64,
    position: Position,
}

/// Payment methods as their owner sees them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shown {
    /// The methods, oldest first.
    pub methods: Vec<Method>,
    /// How many events the payee has.
    pub version: i64,
    /// Where the last of them is.
    pub position: Position,
}

/// The payees and merchants that a batch is about.
#[derive(Debug, Default)]
struct Payees {
    methods: BTreeMap<Uuid, Method>,
    plans: BTreeMap<(Uuid, Currency), Plan>,
    merchants: BTreeMap<Uuid, MerchantRow>,
    /// How far each payee has come.
    reached: BTreeMap<Uuid, Reached>,
    /// Methods and plans that were there and are not any more.
    methods_gone: BTreeSet<Uuid>,
    plans_gone: BTreeSet<(Uuid, Currency)>,
    /// People of whom nothing is left.
    forgotten: BTreeSet<Uuid>,
}

async fn apply(connection: &mut PgConnection, batch: &Batch) -> Result<(), FollowError> {
    let mut payees = Payees::load(connection, &batch.events).await?;
    for recorded in &batch.events {
        payees.take(recorded, &batch.people);
    }
    payees.store(connection).await
}

/// Whose methods and plans an event may change.
fn owner(event: &DomainEvent) -> Option<Uuid> {
    match event {
        DomainEvent::Payee(owner, _) | DomainEvent::Account(owner, account::Event::AccountErased {}) => Some(owner.0),
        _ => None,
    }
}

impl Payees {
    /// Takes one event in.
    fn take(&mut self, recorded: &Recorded, people: &PersonKeys) {
        match &recorded.event {
            DomainEvent::Account(account, account::Event::AccountErased {}) => self.forget(account.0),
            DomainEvent::Payee(owner, event) => {
                self.take_payee(owner.0, event, recorded, people);
                let (version, position) = (recorded.sequence, recorded.position);
                self.reached.insert(owner.0, Reached { owner_id: owner.0, version, position });
            }
            DomainEvent::Merchant(id, event) => self.take_merchant(id.0, event, recorded.position),
            // What else happens to an account says nothing about where its money may go.
            _ => {}
        }
    }

    fn take_payee(&mut self, owner_id: Uuid, event: &payee::Event, recorded: &Recorded, people: &PersonKeys) {
        use payee::Event as E;
        match event {
            E::MethodAdded { method, at, label, added_at } => {
                let added = Method {
                    id: method.0,
                    owner_id,
                    provider: at.provider.clone(),
                    token: at.token.clone(),
                    label: label.as_ref().and_then(|label| people.open(label)),
                    of_merchant: label.is_none(),
                    paused: false,
                    added_at: *added_at,
                    added: recorded.position,
                };
                self.methods.insert(method.0, added);
            }
            E::MethodRemoved { method } => {
                self.methods.remove(&method.0);
                self.methods_gone.insert(method.0);
            }
            E::MethodPaused { method } => self.pause(method.0, true),
            E::MethodResumed { method } => self.pause(method.0, false),
            E::PlanSet { currency, plan, due_at } => {
                let (schedule, method_id, due_at) = (Text(plan.schedule), plan.method.0, *due_at);
                let plan = Plan { owner_id, currency: Text(*currency), schedule, method_id, due_at };
                self.plans.insert((owner_id, *currency), plan);
            }
            E::PlanEnded { currency } => {
                self.plans.remove(&(owner_id, *currency));
                self.plans_gone.insert((owner_id, *currency));
            }
            E::PayoutDue { currency, at } => self.set_due(owner_id, *currency, Some(*at)),
            E::PayoutDone { currency, due_at } => self.set_due(owner_id, *currency, *due_at),
            // What guards the money, and nobody asks for here. Merchants tell of themselves.
            E::AccessChanged { .. } | E::OutgoingCounted { .. } | E::MerchantLinked { .. } => {}
        }
    }

    fn pause(&mut self, method: Uuid, paused: bool) {
        if let Some(method) = self.methods.get_mut(&method) {
            method.paused = paused;
        }
    }

    fn set_due(&mut self, owner: Uuid, currency: Currency, due_at: Option<Timestamp>) {
        if let Some(plan) = self.plans.get_mut(&(owner, currency)) {
            plan.due_at = due_at;
        }
    }

    fn take_merchant(&mut self, id: Uuid, event: &merchant::Event, position: Position) {
        if let merchant::Event::MerchantAdded { account, provider, reference } = event {
            let (provider, reference, due) = (provider.clone(), reference.clone(), Json(vec![]));
            let row = MerchantRow { id, owner_id: account.0, provider, reference, payouts: false, due, position };
            self.merchants.insert(id, row);
        }
        let Some(row) = self.merchants.get_mut(&id) else { return };
        row.position = position;
        match event {
            merchant::Event::MerchantChanged { payouts, due } => (row.payouts, row.due) = (*payouts, Json(due.clone())),
            merchant::Event::MerchantAdded { .. }
            | merchant::Event::MerchantSent { .. }
            | merchant::Event::MerchantChecked { .. } => {}
        }
    }

    fn forget(&mut self, owner: Uuid) {
        self.methods.retain(|_, method| method.owner_id != owner);
        self.plans.retain(|(theirs, _), _| *theirs != owner);
        self.merchants.retain(|_, merchant| merchant.owner_id != owner);
        self.reached.remove(&owner);
        self.forgotten.insert(owner);
    }

    async fn load(connection: &mut PgConnection, events: &[Recorded]) -> Result<Self, FollowError> {
        let mut payees = Self::default();
        let owners = rows::touched(events, owner);
        if !owners.is_empty() {
            let methods: Vec<Method> = sqlx::query_as("select * from methods where owner_id = any($1)")
                .bind(&owners)
                .fetch_all(&mut *connection)
                .await?;
            payees.methods = methods.into_iter().map(|method| (method.id, method)).collect();
            let plans: Vec<Plan> = sqlx::query_as("select * from plans where owner_id = any($1)")
                .bind(&owners)
                .fetch_all(&mut *connection)
                .await?;
            payees.plans = plans.into_iter().map(|plan| ((plan.owner_id, plan.currency.0), plan)).collect();
        }
        let merchants = rows::touched(events, |event| match event {
            DomainEvent::Merchant(id, _) => Some(id.0),
            _ => None,
        });
        if !merchants.is_empty() {
            let merchants: Vec<MerchantRow> = sqlx::query_as("select * from merchants where id = any($1)")
                .bind(merchants)
                .fetch_all(connection)
                .await?;
            payees.merchants = merchants.into_iter().map(|merchant| (merchant.id, merchant)).collect();
        }
        Ok(payees)
    }

    async fn store(self, connection: &mut PgConnection) -> Result<(), FollowError> {
        let Self { methods, plans, merchants, reached, methods_gone, plans_gone, forgotten } = self;
        if !forgotten.is_empty() {
            let forgotten: Vec<Uuid> = forgotten.into_iter().collect();
            for statement in [
                "delete from methods where owner_id = any($1)",
                "delete from plans where owner_id = any($1)",
                "delete from merchants where owner_id = any($1)",
                "delete from payees where owner_id = any($1)",
                "insert into forgotten select unnest($1) on conflict do nothing",
            ] {
                sqlx::query(statement).bind(&forgotten).execute(&mut *connection).await?;
            }
        }
        if !methods_gone.is_empty() {
            let gone: Vec<Uuid> = methods_gone.into_iter().collect();
            sqlx::query("delete from methods where id = any($1)").bind(gone).execute(&mut *connection).await?;
        }
        if !plans_gone.is_empty() {
            let (owners, currencies): (Vec<Uuid>, Vec<Text<Currency>>) =
                plans_gone.into_iter().map(|(owner, currency)| (owner, Text(currency))).unzip();
            sqlx::query(
                "delete from plans using unnest($1::uuid[], $2::text[]) as gone (owner_id, currency)
                 where (plans.owner_id, plans.currency) = (gone.owner_id, gone.currency)",
            )
            .bind(owners)
            .bind(currencies)
            .execute(&mut *connection)
            .await?;
        }
        let statement = "
            insert into methods select * from json_populate_recordset(null::methods, $1::json)
            on conflict on constraint methods_id do update set paused = excluded.paused";
        rows::write(connection, statement, methods.into_values()).await?;
        let statement = "
            insert into plans select * from json_populate_recordset(null::plans, $1::json)
            on conflict on constraint plans_currency do update set
                (schedule, method_id, due_at) = row (excluded.schedule, excluded.method_id, excluded.due_at)";
        rows::write(connection, statement, plans.into_values()).await?;
        let statement = "
            insert into merchants select * from json_populate_recordset(null::merchants, $1::json) as added
            where not exists (select from forgotten where forgotten.owner_id = added.owner_id)
            on conflict on constraint merchants_id do update set
                (payouts, due, position) = row (excluded.payouts, excluded.due, excluded.position)";
        rows::write(connection, statement, merchants.into_values()).await?;
        let statement = "
            insert into payees select * from json_populate_recordset(null::payees, $1::json)
            on conflict on constraint payees_owner do update set
                (version, position) = row (excluded.version, excluded.position)";
        Ok(rows::write(connection, statement, reached.into_values()).await?)
    }
}

/// The payment methods of an account, as one moment had them.
pub async fn methods_of(executor: impl PgExecutor<'_>, owner: AccountId) -> Result<Shown, sqlx::Error> {
    // One statement: the version is that of the methods.
    #[derive(FromRow)]
    struct Line {
        version: i64,
        position: Position,
        method: Option<Json<Method>>,
    }
    let lines: Vec<Line> = sqlx::query_as(
        "select version, position, case when m.id is null then null else to_json(m) end as method
         from payees.payees left join payees.methods as m using (owner_id)
         where owner_id = $1 order by m.added",
    )
    .bind(owner.0)
    .fetch_all(executor)
    .await?;
    let (version, position) = lines.first().map_or((0, 0), |line| (line.version, line.position));
    let methods = lines.into_iter().filter_map(|line| line.method).map(|method| method.0).collect();
    Ok(Shown { methods, version, position })
}

/// What goes out of the wallets of an account by itself, by currency.
pub async fn plans_of(executor: impl PgExecutor<'_>, owner: AccountId) -> Result<Vec<Plan>, sqlx::Error> {
    sqlx::query_as("select * from payees.plans where owner_id = $1 order by currency")
        .bind(owner.0)
        .fetch_all(executor)
        .await
}

/// The merchants that an account is at providers, by provider, the latest of each.
pub async fn merchants_of(executor: impl PgExecutor<'_>, owner: AccountId) -> Result<Vec<MerchantRow>, sqlx::Error> {
    sqlx::query_as(
        "select distinct on (provider) * from payees.merchants where owner_id = $1 order by provider, position desc",
    )
    .bind(owner.0)
    .fetch_all(executor)
    .await
}

#[cfg(test)]
mod tests {
    use domain::payee::Command;
    use domain::wallet::PaymentMethod;
    use domain::{MerchantId, MethodId, Sealed};

    use super::*;
    use crate::tests::history::recorded;

    const ANN: AccountId = AccountId(Uuid::from_u128(1));
    const USD: Currency = Currency::USD;

    fn id(number: u128) -> MethodId {
        MethodId(Uuid::from_u128(number))
    }

    fn add(number: u128) -> Command {
        let at = PaymentMethod { provider: "sandbox".to_owned(), token: format!("ba_{number}") };
        let label = Sealed::from_ciphertext(ANN, "unreadable".to_owned());
        Command::Add { owner: ANN, method: id(number), at, label, now: Timestamp::default() }
    }

    fn shown(commands: impl IntoIterator<Item = Command>) -> Payees {
        let (mut payee, mut payees, mut position) = (Payee::default(), Payees::default(), 0);
        for command in commands {
            for event in payee.decide(command).unwrap() {
                payee.evolve(&event);
                position += 1;
                payees.take(&recorded(position, DomainEvent::Payee(ANN, event)), &PersonKeys::default());
            }
        }
        payees
    }

    fn plan(schedule: Schedule) -> Command {
        let plan = payee::Plan { schedule, method: id(1) };
        Command::Plan { currency: USD, plan, now: Timestamp::default() }
    }

    #[test]
    fn a_method_is_shown_until_it_is_removed_and_its_plan_goes_with_it() {
        let planned = shown([add(1), add(2), plan(Schedule::Weekly)]);
        assert_eq!((planned.methods.len(), planned.plans.len()), (2, 1));
        assert!(planned.plans[&(ANN.0, USD)].due_at.is_some());
        let removed = shown([add(1), add(2), plan(Schedule::Weekly), Command::Remove { method: id(1) }]);
        assert_eq!(removed.methods.keys().copied().collect::<Vec<_>>(), [id(2).0]);
        assert!(removed.plans.is_empty() && removed.plans_gone.contains(&(ANN.0, USD)));
        assert_eq!(removed.reached[&ANN.0], Reached { owner_id: ANN.0, version: 5, position: 5 });
    }

    #[test]
    fn a_plan_shows_when_money_goes_out_next() {
        let now = Timestamp::default();
        let sold = || Command::NoteSale { currency: USD, now };
        let due = |payees: &Payees| payees.plans[&(ANN.0, USD)].due_at;
        assert_eq!(due(&shown([add(1), plan(Schedule::OnRelease)])), None);
        assert_eq!(due(&shown([add(1), plan(Schedule::OnRelease), sold()])), Some(now));
        let done = Command::NotePayout { currency: USD, again_at: None, now };
        assert_eq!(due(&shown([add(1), plan(Schedule::OnRelease), sold(), done])), None);
    }

    #[test]
    fn a_merchant_shows_whether_the_provider_pays_out_and_what_it_wants_to_know() {
        let (mut payees, mut merchant, mut position) = (Payees::default(), Merchant::default(), 0);
        let (provider, reference) = ("stripe".to_owned(), "acct_1".to_owned());
        let (id, now) = (MerchantId::of(&provider, &reference), Timestamp::default());
        for command in [
            merchant::Command::Onboard { account: ANN, provider, reference, now },
            merchant::Command::Report { payouts: false, due: vec!["id".to_owned()], now },
        ] {
            for event in merchant.decide(command).unwrap() {
                merchant.evolve(&event);
                position += 1;
                payees.take(&recorded(position, DomainEvent::Merchant(id, event)), &PersonKeys::default());
            }
        }
        let row = &payees.merchants[&id.0];
        assert_eq!((row.owner_id, row.payouts, &*row.due.0, row.position), (ANN.0, false, &["id".to_owned()][..], 3));
    }

    #[test]
    fn nothing_of_whoever_is_forgotten_is_left() {
        let mut payees = shown([add(1), plan(Schedule::OnRelease)]);
        payees.take(&recorded(3, DomainEvent::Account(ANN, account::Event::AccountErased {})), &PersonKeys::default());
        assert!(payees.methods.is_empty() && payees.plans.is_empty() && payees.reached.is_empty());
        assert_eq!(payees.forgotten, BTreeSet::from([ANN.0]));
    }
}
