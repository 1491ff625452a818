//! What was staff told should not be here, what do parties of orders complain of, and what came of it?
//!
//! Reports and complaints are streams of their own that go the same way: filed, decided, perhaps decided otherwise, and
//! filed again. A row tells of the last time.

use std::collections::{BTreeMap, BTreeSet};

use domain::complaint::{self, Complaint, Subject};
use domain::report::{self, Reason, Report, Target};
use domain::ruling::Ruling;
use domain::{AccountId, Aggregate, ComplaintId, ReportId, Timestamp, account};
use eventstore::Position;
use eventstore::event::DomainEvent;
use eventstore::follower::{Batch, FollowError, Recorded};
use eventstore::sealing::PersonKeys;
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection, PgExecutor, Postgres, QueryBuilder};
use uuid::Uuid;

use crate::page::{Page, PageError};
use crate::{ReadModel, Text, rows};

/// The read model.
pub const MODEL: ReadModel = ReadModel {
    name: "reports",
    next: "reports_next",
    version: 2,
    about: &[account::Account::TYPE, Complaint::TYPE, Report::TYPE],
    ddl: include_str!("reports.sql"),
    apply: |connection, batch| Box::pin(apply(connection, batch)),
};

/// What staff were told should not be here.
#[derive(Clone, Debug, FromRow, PartialEq, Serialize)]
pub struct Reported {
    /// The report.
    pub id: Uuid,
    /// Who has told.
    pub reporter_id: Uuid,
    /// `listing`, `user`, `message` or `review`.
    pub target_kind: String,
    /// Which.
    pub target_id: Uuid,
    /// In which chat a message is.
    pub chat_id: Option<Uuid>,
    /// Whose it is.
    pub about_id: Uuid,
    /// What is wrong with it.
    pub reason: Text<Reason>,
    /// In words; `None` too once the reporter is forgotten.
    pub text: Option<String>,
    /// When, the last time.
    pub filed_at: Timestamp,
    /// What came of it.
    #[serde(flatten)]
    #[sqlx(flatten)]
    pub end: End<report::Outcome>,
    /// How many events its stream has.
    pub version: i64,
    /// Where the last of them is.
    pub position: Position,
}

/// What a party of an order complains of.
#[derive(Clone, Debug, FromRow, PartialEq, Serialize)]
pub struct Complained {
    /// The complaint.
    pub id: Uuid,
    /// About which order.
    pub order_id: Uuid,
    /// Who complains.
    pub complainant_id: Uuid,
    /// The other party.
    pub against_id: Uuid,
    /// What is wrong.
    pub subject: Text<Subject>,
    /// In words; `None` once the complainant is forgotten.
    pub text: Option<String>,
    /// When, the last time.
    pub filed_at: Timestamp,
    /// What came of it.
    #[serde(flatten)]
    #[sqlx(flatten)]
    pub end: End<complaint::Outcome>,
    /// How many events its stream has.
    pub version: i64,
    /// Where the last of them is.
    pub position: Position,
}

/// What came of something that staff were told.
#[derive(Clone, Debug, FromRow, PartialEq, Serialize)]
pub struct End<O> {
    /// Whether staff have decided.
    pub status: Status,
    /// What it has led to.
    pub outcome: Option<Text<O>>,
    /// Why; `None` too once whoever has decided is forgotten.
    pub resolution: Option<String>,
    /// Who has decided.
    pub resolved_by: Option<Uuid>,
    /// When.
    pub resolved_at: Option<Timestamp>,
}

/// Whether staff have decided.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Status {
    /// They are to.
    Open,
    /// They have.
    Resolved,
}

impl<O> End<O> {
    fn open() -> Self {
        Self { status: Status::Open, outcome: None, resolution: None, resolved_by: None, resolved_at: None }
    }

    fn of(outcome: O, ruling: &Ruling, at: Timestamp, people: &PersonKeys) -> Self {
        Self {
            status: Status::Resolved,
            outcome: Some(Text(outcome)),
            resolution: people.open(&ruling.reason),
            resolved_by: Some(ruling.by.0),
            resolved_at: Some(at),
        }
    }
}

/// What a batch makes of reports and complaints.
#[derive(Debug, Default)]
struct Changes {
    reports: BTreeMap<Uuid, Reported>,
    complaints: BTreeMap<Uuid, Complained>,
    forgotten: BTreeSet<Uuid>,
}

async fn apply(connection: &mut PgConnection, batch: &Batch) -> Result<(), FollowError> {
    let mut changes = Changes::load(connection, &batch.events).await?;
    for recorded in &batch.events {
        changes.take(recorded, &batch.people);
    }
    changes.store(connection).await
}

impl Changes {
    /// Takes one event in.
    fn take(&mut self, recorded: &Recorded, people: &PersonKeys) {
        match &recorded.event {
            DomainEvent::Report(ReportId(id), event) => self.take_report(*id, event, recorded, people),
            DomainEvent::Complaint(ComplaintId(id), event) => self.take_complaint(*id, event, recorded, people),
            DomainEvent::Account(AccountId(id), account::Event::AccountErased {}) => {
                self.forgotten.insert(*id);
            }
            // Nothing else concerns it: see `about`.
            _ => {}
        }
    }

    fn take_report(&mut self, id: Uuid, event: &report::Event, recorded: &Recorded, people: &PersonKeys) {
        match event {
            report::Event::ReportFiled { reporter, target, about, reason, text } => {
                let row = Reported {
                    id,
                    reporter_id: reporter.0,
                    target_kind: target.kind().to_owned(),
                    target_id: target.id(),
                    chat_id: match target {
                        Target::Message { chat, .. } => Some(chat.0),
                        Target::Listing(_) | Target::User(_) | Target::Review(_) => None,
                    },
                    about_id: about.0,
                    reason: Text(*reason),
                    text: text.as_ref().and_then(|text| people.open(text)),
                    filed_at: recorded.recorded_at,
                    end: End::open(),
                    version: 0,
                    position: 0,
                };
                self.reports.insert(id, row);
            }
            report::Event::ReportResolved { ruling, outcome } => {
                if let Some(row) = self.reports.get_mut(&id) {
                    row.end = End::of(*outcome, ruling, recorded.recorded_at, people);
                }
            }
        }
        if let Some(row) = self.reports.get_mut(&id) {
            (row.version, row.position) = (recorded.sequence, recorded.position);
        }
    }

    fn take_complaint(&mut self, id: Uuid, event: &complaint::Event, recorded: &Recorded, people: &PersonKeys) {
        match event {
            complaint::Event::ComplaintFiled { order, complainant, against, subject, text } => {
                let row = Complained {
                    id,
                    order_id: order.0,
                    complainant_id: complainant.0,
                    against_id: against.0,
                    subject: Text(*subject),
                    text: people.open(text),
                    filed_at: recorded.recorded_at,
                    end: End::open(),
                    version: 0,
                    position: 0,
                };
                self.complaints.insert(id, row);
            }
            complaint::Event::ComplaintResolved { ruling, outcome } => {
                if let Some(row) = self.complaints.get_mut(&id) {
                    row.end = End::of(*outcome, ruling, recorded.recorded_at, people);
                }
            }
        }
        if let Some(row) = self.complaints.get_mut(&id) {
            (row.version, row.position) = (recorded.sequence, recorded.position);
        }
    }

    async fn load(connection: &mut PgConnection, events: &[Recorded]) -> Result<Self, FollowError> {
        let reports = rows::touched(events, |event| match event {
            DomainEvent::Report(id, _) => Some(id.0),
            _ => None,
        });
        let complaints = rows::touched(events, |event| match event {
            DomainEvent::Complaint(id, _) => Some(id.0),
            _ => None,
        });
        let mut changes = Self::default();
        if !reports.is_empty() {
            let reports: Vec<Reported> = sqlx::query_as("select * from reports where id = any($1)")
                .bind(reports)
                .fetch_all(&mut *connection)
                .await?;
            changes.reports = reports.into_iter().map(|row| (row.id, row)).collect();
        }
        if !complaints.is_empty() {
            let complaints: Vec<Complained> = sqlx::query_as("select * from complaints where id = any($1)")
                .bind(complaints)
                .fetch_all(connection)
                .await?;
            changes.complaints = complaints.into_iter().map(|row| (row.id, row)).collect();
        }
        Ok(changes)
    }

    async fn store(self, connection: &mut PgConnection) -> Result<(), FollowError> {
        let statement = "
            insert into reports select * from json_populate_recordset(null::reports, $1::json)
            on conflict on constraint reports_id do update set
                (about_id, reason, text, filed_at, status, outcome, resolution, resolved_by, resolved_at, version, position)
                = row (excluded.about_id, excluded.reason, excluded.text, excluded.filed_at, excluded.status,
                    excluded.outcome, excluded.resolution, excluded.resolved_by, excluded.resolved_at, excluded.version,
                    excluded.position)";
        rows::write(connection, statement, self.reports.into_values()).await?;
        let statement = "
            insert into complaints select * from json_populate_recordset(null::complaints, $1::json)
            on conflict on constraint complaints_id do update set
                (subject, text, filed_at, status, outcome, resolution, resolved_by, resolved_at, version, position)
                = row (excluded.subject, excluded.text, excluded.filed_at, excluded.status, excluded.outcome,
                    excluded.resolution, excluded.resolved_by, excluded.resolved_at, excluded.version,
                    excluded.position)";
        rows::write(connection, statement, self.complaints.into_values()).await?;
        forget(connection, self.forgotten).await
    }
}

/// What a rebuild shows, which finds no key.
async fn forget(connection: &mut PgConnection, forgotten: BTreeSet<Uuid>) -> Result<(), FollowError> {
    if forgotten.is_empty() {
        return Ok(());
    }
    let forgotten: Vec<Uuid> = forgotten.into_iter().collect();
    for statement in [
        "update reports set text = null where reporter_id = any($1) and text is not null",
        "update reports set resolution = null where resolved_by = any($1) and resolution is not null",
        "update complaints set text = null where complainant_id = any($1) and text is not null",
        "update complaints set resolution = null where resolved_by = any($1) and resolution is not null",
    ] {
        sqlx::query(statement).bind(&forgotten).execute(&mut *connection).await?;
    }
    Ok(())
}

/// In which order.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sort {
    /// What was told last, first.
    #[default]
    Newest,
    /// What has waited longest, first.
    Oldest,
}

/// Where a page ends: the sort key of its last row.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    sort: Sort,
    filed_at: Timestamp,
    id: Uuid,
}

/// Which reports to show.
#[derive(Clone, Debug, Default)]
pub struct ReportFilter {
    /// Whether staff have decided.
    pub status: Option<Status>,
    /// Of what kind of thing.
    pub kind: Option<String>,
    /// By whom.
    pub reporter: Option<AccountId>,
    /// Of whose things.
    pub about: Option<AccountId>,
}

/// Reports after a cursor, at most `limit`.
pub async fn page(
    executor: impl PgExecutor<'_>,
    filter: &ReportFilter,
    sort: Sort,
    after: Option<Cursor>,
    limit: u32,
) -> Result<Page<Reported, Cursor>, PageError> {
    let mut query = QueryBuilder::new("select * from reports.reports where true");
    if let Some(status) = filter.status {
        query.push(" and status = ").push_bind(status);
    }
    if let Some(kind) = &filter.kind {
        query.push(" and target_kind = ").push_bind(kind.clone());
    }
    if let Some(reporter) = filter.reporter {
        query.push(" and reporter_id = ").push_bind(reporter.0);
    }
    if let Some(about) = filter.about {
        query.push(" and about_id = ").push_bind(about.0);
    }
    push_rest(&mut query, sort, after, limit)?;
    let rows: Vec<Reported> = query.build_query_as().fetch_all(executor).await?;
    Ok(Page::of(rows, limit, |row| Cursor { sort, filed_at: row.filed_at, id: row.id }))
}

/// One complaint.
pub async fn complaint(
    executor: impl PgExecutor<'_>,
    complaint: ComplaintId,
) -> Result<Option<Complained>, sqlx::Error> {
    sqlx::query_as("select * from reports.complaints where id = $1").bind(complaint.0).fetch_optional(executor).await
}

/// Complaints of anybody after a cursor, at most `limit`: for staff.
pub async fn complaints(
    executor: impl PgExecutor<'_>,
    status: Option<Status>,
    sort: Sort,
    after: Option<Cursor>,
    limit: u32,
) -> Result<Page<Complained, Cursor>, PageError> {
    let mut query = QueryBuilder::new("select * from reports.complaints where true");
    if let Some(status) = status {
        query.push(" and status = ").push_bind(status);
    }
    push_rest(&mut query, sort, after, limit)?;
    let rows: Vec<Complained> = query.build_query_as().fetch_all(executor).await?;
    Ok(Page::of(rows, limit, |row| Cursor { sort, filed_at: row.filed_at, id: row.id }))
}

/// Complaints about somebody's orders, whichever party has complained, newest first, after a cursor, at most `limit`.
pub async fn complaints_of(
    executor: impl PgExecutor<'_>,
    party: AccountId,
    after: Option<Cursor>,
    limit: u32,
) -> Result<Page<Complained, Cursor>, PageError> {
    let sort = Sort::Newest;
    let mut query = QueryBuilder::new("(select * from reports.complaints where complainant_id = ");
    // Nobody complains of themselves, so no complaint is on both sides.
    query.push_bind(party.0);
    push_rest(&mut query, sort, after, limit)?;
    query.push(") union all (select * from reports.complaints where against_id = ").push_bind(party.0);
    push_rest(&mut query, sort, after, limit)?;
    query.push(") order by filed_at desc, id desc limit ");
    query.push_bind(Page::<Complained, Cursor>::rows_to_fetch(limit));
    let rows: Vec<Complained> = query.build_query_as().fetch_all(executor).await?;
    Ok(Page::of(rows, limit, |row| Cursor { sort, filed_at: row.filed_at, id: row.id }))
}

/// What comes after the cursor, as far as a page takes it.
fn push_rest(
    query: &mut QueryBuilder<'_, Postgres>,
    sort: Sort,
    after: Option<Cursor>,
    limit: u32,
) -> Result<(), PageError> {
    if let Some(Cursor { sort: of, filed_at, id }) = after {
        if of != sort {
            return Err(PageError::CursorOfAnotherSort);
        }
        query.push(match sort {
            Sort::Newest => " and (filed_at, id) < (",
            Sort::Oldest => " and (filed_at, id) > (",
        });
        query.push_bind(filed_at).push(", ").push_bind(id).push(")");
    }
    query.push(match sort {
        Sort::Newest => " order by filed_at desc, id desc limit ",
        Sort::Oldest => " order by filed_at, id limit ",
    });
    query.push_bind(Page::<Reported, Cursor>::rows_to_fetch(limit));
    Ok(())
}
