//! The log, stream by stream: an auction after the other, a page of orders after the other. Whatever has been looked at is
//! told or counted, and nothing of it is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::pin::pin;

use domain::auction::Auction;
use domain::category::Category;
use domain::escrow::Escrow;
use domain::listing::Listing;
use domain::order::{Event as OrderEvent, Order};
use domain::order_group::OrderGroup;
use domain::plan::Plan;
use domain::seller::Seller;
use domain::subscription::Subscription;
use domain::what_if::sales::{self, Step};
use domain::what_if::{AuctionReplay, Policy, RateBook};
use domain::{Aggregate, AuctionId, OrderGroupId, OrderId, Timestamp};
use eventstore::Position;
use eventstore::database::Database;
use eventstore::event::{DomainEvent, RecordedEvent};
use eventstore::walk::{self, Begun, Of};
use futures::TryStreamExt as _;
use sqlx::{Connection as _, PgConnection};

use super::report::{Report, Seen};
use super::summary::Summary;
use super::{Failure, Span};
use crate::cli::reconcile::Shown;

/// How many auctions are looked up at once; their bids come one after the other.
const AUCTIONS: i64 = 200;
/// How many orders are read at once.
const ORDERS: i64 = 200;
/// What Postgres says of a table that is not there.
const NO_TABLE: &str = "42P01";

/// An event, its place, and when it was decided.
type Placed = (Position, Timestamp, DomainEvent);

/// Replays what began in a span of time, and tells what would be different.
pub(super) async fn replay(
    database: &Database,
    policy: &Policy,
    span: Span,
    report: &mut Report<impl Write>,
) -> Result<(), Failure> {
    let mut connection = walk::connect(database).await?;
    let head = walk::head(&mut connection).await.map_err(explained)?;
    let (to, last) = head.unwrap_or_default();
    // A file that says nothing is held against everything.
    let everything = !policy.touches_auctions() && !policy.touches_sales();
    let mut reader = Reader { connection, policy, span, to, last, summary: Summary::default() };
    report.begin(policy, &Seen { from: span.from, until: span.until, position: to })?;
    report.open("auctions")?;
    if everything || policy.touches_auctions() {
        reader.auctions(report).await?;
    }
    report.close()?;
    report.open("orders")?;
    if everything || policy.touches_sales() {
        reader.sales(report).await?;
    }
    report.close()?;
    let Reader { connection, summary, .. } = reader;
    connection.close().await?;
    report.end(summary)
}

fn explained(error: sqlx::Error) -> Failure {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    if code.is_some_and(|code| code == NO_TABLE) {
        return "there is no log in this database: `tradepost migrate` makes one".into();
    }
    error.into()
}

struct Reader<'a> {
    connection: PgConnection,
    policy: &'a Policy,
    span: Span,
    /// The last event that is looked at, and when that was decided: what runs out later has not run out.
    to: Position,
    last: Timestamp,
    summary: Summary,
}

impl Reader<'_> {
    fn begun(&self, aggregate_type: &'static str) -> Begun<'static> {
        Begun { aggregate_type, from: self.span.from, until: self.span.until, to: self.to }
    }

    async fn auctions(&mut self, report: &mut Report<impl Write>) -> Result<(), Failure> {
        let begun = self.begun(Auction::TYPE);
        let all = walk::count(&mut self.connection, begun).await?;
        let (mut shown, mut after, mut reached) = (Shown::begin("of the auctions"), String::new(), 0);
        loop {
            let ids = walk::page(&mut self.connection, begun, &after, AUCTIONS).await?;
            let Some(last) = ids.last() else { return Ok(()) };
            after.clone_from(last);
            let of = Of { aggregate_types: &[Auction::TYPE], ids: &ids, event_types: &[], to: self.to };
            let mut events = pin!(walk::one_by_one(&mut self.connection, of));
            let mut current: Option<(AuctionId, AuctionReplay<'_>)> = None;
            while let Some(event) = events.try_next().await? {
                let at = event.recorded_at;
                let DomainEvent::Auction(id, event) = event.decode()? else { continue };
                if let Some((known, replay)) = &mut current
                    && *known == id
                {
                    replay.take(&event, at);
                    continue;
                }
                tell_auction(&mut self.summary, report, current.take())?;
                let mut replay = AuctionReplay::new(&self.policy.auctions);
                replay.take(&event, at);
                current = Some((id, replay));
            }
            tell_auction(&mut self.summary, report, current.take())?;
            reached += i64::try_from(ids.len()).unwrap_or(i64::MAX);
            shown.reached(reached, all);
        }
    }

    async fn sales(&mut self, report: &mut Report<impl Write>) -> Result<(), Failure> {
        let begun = self.begun(Escrow::TYPE);
        let all = walk::count(&mut self.connection, begun).await?;
        let (mut shown, mut after, mut reached) = (Shown::begin("of the orders"), String::new(), 0);
        let mut book = RateBook::default();
        if self.policy.fees.go_by_what_was_said() {
            self.open_book(&mut book).await?;
        }
        loop {
            let ids = walk::page(&mut self.connection, begun, &after, ORDERS).await?;
            let Some(last) = ids.last() else { return Ok(()) };
            after.clone_from(last);
            self.page_of_sales(&ids, &mut book, report).await?;
            reached += i64::try_from(ids.len()).unwrap_or(i64::MAX);
            shown.reached(reached, all);
        }
    }

    /// What was said of fees by what there is little of.
    async fn open_book(&mut self, book: &mut RateBook) -> Result<(), Failure> {
        for aggregate_type in [Category::TYPE, Plan::TYPE] {
            let events = walk::all_of(&mut self.connection, aggregate_type, self.to).await?;
            note(book, events)?;
        }
        Ok(())
    }

    /// What was said of fees by these sellers and listings.
    async fn turn_page(&mut self, book: &mut RateBook, page: &[Placed]) -> Result<(), Failure> {
        let (mut sellers, mut listings) = (BTreeSet::new(), BTreeSet::new());
        for (_, _, event) in page {
            if let DomainEvent::Order(_, OrderEvent::OrderPlaced { terms }) = event {
                sellers.insert(terms.seller.to_string());
                listings.extend(terms.lines.iter().map(|line| line.listing.to_string()));
            }
        }
        let (sellers, listings): (Vec<_>, Vec<_>) = (sellers.into_iter().collect(), listings.into_iter().collect());
        book.turn_page();
        let wanted: [(&str, &[String], &[&str]); 3] = [
            (Seller::TYPE, &sellers, &["FeeAgreed"]),
            (Subscription::TYPE, &sellers, &[]),
            (Listing::TYPE, &listings, &["ListingDrafted", "ListingRevised"]),
        ];
        for (aggregate_type, ids, event_types) in wanted {
            let of = Of { aggregate_types: &[aggregate_type], ids, event_types, to: self.to };
            note(book, walk::together(&mut self.connection, of).await?)?;
        }
        Ok(())
    }

    async fn page_of_sales(
        &mut self,
        ids: &[String],
        book: &mut RateBook,
        report: &mut Report<impl Write>,
    ) -> Result<(), Failure> {
        let of = Of { aggregate_types: &[Order::TYPE, Escrow::TYPE], ids, event_types: &[], to: self.to };
        let mut page = decoded(walk::together(&mut self.connection, of).await?)?;
        let groups: BTreeSet<String> =
            page.iter().filter_map(|(_, _, event)| group_of(event)).map(|(_, id)| id.to_string()).collect();
        let groups: Vec<String> = groups.into_iter().collect();
        let of = Of { aggregate_types: &[OrderGroup::TYPE], ids: &groups, event_types: &[], to: self.to };
        page.extend(decoded(walk::together(&mut self.connection, of).await?)?);
        page.sort_by_key(|(position, _, _)| *position);
        if self.policy.fees.go_by_what_was_said() {
            self.turn_page(book, &page).await?;
        }
        for (order, steps) in by_order(&page) {
            let rates = page.iter().find_map(|(position, _, event)| match event {
                DomainEvent::Order(id, OrderEvent::OrderPlaced { terms }) if *id == order => {
                    Some(book.rates(&self.policy.fees, *position, terms))
                }
                _ => None,
            });
            let rates = rates.unwrap_or_default();
            let Some(sold) = sales::replay(&steps, &self.policy.deadlines, &rates, self.last) else { continue };
            self.summary.orders.take(&sold);
            if sold.is_different() {
                report.tell_order(&sold)?;
            }
        }
        Ok(())
    }
}

fn tell_auction(
    summary: &mut Summary,
    report: &mut Report<impl Write>,
    replayed: Option<(AuctionId, AuctionReplay<'_>)>,
) -> Result<(), Failure> {
    let Some((id, replay)) = replayed else { return Ok(()) };
    let auctioned = replay.end();
    summary.auctions.take(auctioned.as_ref());
    match auctioned {
        Some(auctioned) if auctioned.is_different() => report.tell_auction(id, &auctioned),
        Some(_) | None => Ok(()),
    }
}

fn decoded(events: Vec<RecordedEvent>) -> Result<Vec<Placed>, Failure> {
    let placed = |event: RecordedEvent| Ok((event.position, event.recorded_at, event.decode()?));
    events.into_iter().map(placed).collect()
}

/// The checkout of an order, by the event that says it.
fn group_of(event: &DomainEvent) -> Option<(OrderId, OrderGroupId)> {
    match event {
        DomainEvent::Order(id, OrderEvent::OrderPlaced { terms }) => Some((*id, terms.group)),
        _ => None,
    }
}

/// What happened to each order, its money and its checkout, in the order of the log.
fn by_order(page: &[Placed]) -> BTreeMap<OrderId, Vec<(Timestamp, Step<'_>)>> {
    let mut of_group = BTreeMap::<OrderGroupId, Vec<OrderId>>::new();
    for (order, group) in page.iter().filter_map(|(_, _, event)| group_of(event)) {
        of_group.entry(group).or_default().push(order);
    }
    let mut orders = BTreeMap::<OrderId, Vec<(Timestamp, Step<'_>)>>::new();
    for (_, at, event) in page {
        match event {
            DomainEvent::Order(id, event) => orders.entry(*id).or_default().push((*at, Step::Order(event))),
            DomainEvent::Escrow(id, event) => orders.entry(*id).or_default().push((*at, Step::Escrow(event))),
            DomainEvent::OrderGroup(id, event) => {
                for order in of_group.get(id).into_iter().flatten() {
                    orders.entry(*order).or_default().push((*at, Step::Group(event)));
                }
            }
            // Nothing else was asked for.
            _ => {}
        }
    }
    orders
}

/// Takes in what was said of fees.
fn note(book: &mut RateBook, events: Vec<RecordedEvent>) -> Result<(), Failure> {
    for (place, _, event) in decoded(events)? {
        match event {
            DomainEvent::Category(id, event) => book.take_category(place, id, &event),
            DomainEvent::Plan(id, event) => book.take_plan(place, id, &event),
            DomainEvent::Seller(id, event) => book.take_seller(place, id, &event),
            DomainEvent::Subscription(id, event) => book.take_subscription(place, id, &event),
            DomainEvent::Listing(id, event) => book.take_listing(place, id, &event),
            // Nothing else was asked for.
            _ => {}
        }
    }
    Ok(())
}
