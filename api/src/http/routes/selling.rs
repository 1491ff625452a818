//! What an account sells and buys: its listings, and its orders from each side.

use axum::Json;
use axum::extract::State;
use commands::orders;
use domain::account::Capability;
use domain::{OrderId, RefundId};
use eventstore::mint;
use garde::Validate;
use projections::catalogue;
use projections::orders as purchases;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::listings::{self, ListingBody};
use super::orders::{OrderBody, OrderChanged, change, order_body};
use crate::app::App;
use crate::http::access;
use crate::http::extract::{Caller, Command, Id, Read};
use crate::http::openapi::{Conditional, Waits};
use crate::http::pages::{Cursor, Page, page_limit};
use crate::http::problem::Problem;
use crate::http::reply::Done;

pub mod dashboard;

const TAG: &str = "Stores";

/// The routes of this file.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(dashboard::dashboard))
        .routes(routes!(merchant_orders))
        .routes(routes!(set_status))
        .routes(routes!(own_sales))
        .routes(routes!(own_purchases))
        .routes(routes!(own_listings))
}

/// Which orders to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct SideQuery {
    /// `placed`, `confirmed`, `paid`, `shipped`, `delivered`, `completed`, `cancelled`, `disputed` or `refunded`.
    #[param(inline, value_type = Option<super::orders::StatusName>)]
    status: Option<purchases::Status>,
    /// How many, 20 unless told, 100 at most.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<purchases::Cursor>>,
}

async fn one_side(
    app: &App,
    caller: Caller,
    read: Read<SideQuery>,
    side: purchases::Side,
) -> Result<Json<Page<OrderBody>>, Problem> {
    read.wait_for(app, purchases::MODEL.name).await?;
    let SideQuery { status, limit, cursor } = read.query;
    let filter = purchases::Filter { party: caller.account, side: Some(side), status };
    let page = purchases::page(&app.pool, &filter, cursor.map(|cursor| cursor.0), page_limit(limit)?).await?;
    Page::of(page, order_body).map(Json)
}

/// What others have bought from one's store, newest first.
#[utoipa::path(get, path = "/merchant/orders", tag = TAG, security(("bearer" = [])), params(SideQuery, Waits),
    responses((status = OK, body = Page<OrderBody>, description = "A page"),
        (status = FORBIDDEN, description = "The account may not sell")))]
async fn merchant_orders(
    State(app): State<App>,
    caller: Caller,
    read: Read<SideQuery>,
) -> Result<Json<Page<OrderBody>>, Problem> {
    access::require(&app, caller, Capability::Sell).await?;
    one_side(&app, caller, read, purchases::Side::Seller).await
}

/// What one has sold, newest first.
#[utoipa::path(get, path = "/profile/sales", tag = TAG, security(("bearer" = [])), params(SideQuery, Waits),
    responses((status = OK, body = Page<OrderBody>, description = "A page")))]
async fn own_sales(
    State(app): State<App>,
    caller: Caller,
    read: Read<SideQuery>,
) -> Result<Json<Page<OrderBody>>, Problem> {
    one_side(&app, caller, read, purchases::Side::Seller).await
}

/// What one has bought, newest first.
#[utoipa::path(get, path = "/profile/purchases", tag = TAG, security(("bearer" = [])), params(SideQuery, Waits),
    responses((status = OK, body = Page<OrderBody>, description = "A page")))]
async fn own_purchases(
    State(app): State<App>,
    caller: Caller,
    read: Read<SideQuery>,
) -> Result<Json<Page<OrderBody>>, Problem> {
    one_side(&app, caller, read, purchases::Side::Buyer).await
}

/// Where an order is to be.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// On its way: takes `carrier`.
    Shipped,
    /// With the buyer; of digital goods its seller may say so.
    Delivered,
    /// Called off: takes `reason`.
    Cancelled,
}

/// What has become of an order.
#[derive(Clone, Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct StatusBody {
    status: Goal,
    /// Who brings what was shipped.
    #[garde(length(chars, min = 1, max = 100))]
    #[schema(example = "Royal Mail", min_length = 1, max_length = 100)]
    carrier: Option<String>,
    /// The carrier's name for it.
    #[garde(length(chars, min = 1, max = 100))]
    #[schema(example = "RM123456789GB", min_length = 1, max_length = 100)]
    tracking: Option<String>,
    /// Why it is called off.
    #[garde(length(chars, min = 1, max = 1000))]
    #[schema(min_length = 1, max_length = 1000)]
    reason: Option<String>,
}

/// What is to be done with an order.
enum Step {
    Ship { carrier: String, tracking: Option<String> },
    Deliver,
    Cancel { reason: String },
}

impl StatusBody {
    fn step(self) -> Result<Step, Problem> {
        let missing = |pointer, detail: &str| Problem::invalid_field(pointer, "missing", detail);
        let Self { status, carrier, tracking, reason } = self;
        let unexpected = [
            ("/carrier", carrier.is_some() && status != Goal::Shipped),
            ("/tracking", tracking.is_some() && status != Goal::Shipped),
            ("/reason", reason.is_some() && status != Goal::Cancelled),
        ];
        if let Some((pointer, _)) = unexpected.into_iter().find(|(_, given)| *given) {
            return Err(Problem::invalid_field(pointer, "unexpected", "this status does not take it"));
        }
        match status {
            Goal::Shipped => {
                let carrier = carrier.ok_or_else(|| missing("/carrier", "what is shipped takes `carrier`"))?;
                Ok(Step::Ship { carrier, tracking })
            }
            Goal::Delivered => Ok(Step::Deliver),
            Goal::Cancelled => {
                let reason = reason.ok_or_else(|| missing("/reason", "what is called off takes `reason`"))?;
                Ok(Step::Cancel { reason })
            }
        }
    }
}

/// Says what has become of an order, as its seller: ships it, delivers it or calls it off, as the routes of that name do.
#[utoipa::path(put, path = "/merchant/orders/{id}/status", tag = TAG, security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path), Conditional), request_body = StatusBody,
    responses((status = OK, body = OrderChanged, description = "Done")))]
async fn set_status(
    State(app): State<App>,
    Id(order): Id<OrderId>,
    command: Command<StatusBody>,
) -> Result<Done<OrderChanged>, Problem> {
    let (seller, step, refund) = (command.caller.account, command.body.clone().step()?, RefundId(mint::id()));
    let decide = move |world: &mut commands::World<'_>| {
        orders::sold_by(world, order, seller)?;
        match &step {
            Step::Ship { carrier, tracking } => orders::ship(world, order, seller, carrier, tracking.as_deref()),
            Step::Deliver => orders::deliver(world, order, seller),
            Step::Cancel { reason } => orders::cancel(world, order, seller, reason, refund),
        }
    };
    change(&app, order, &command, decide).await
}

/// Which of one's listings to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct OwnListingsQuery {
    /// Where in their life; anywhere unless told.
    #[param(inline, value_type = Option<listings::StatusName>)]
    status: Option<catalogue::Status>,
    /// `newest` unless told, `price_asc`, `price_desc`, `popular`, `rating` or `ending_soon`.
    #[param(inline, value_type = Option<listings::SortName>)]
    sort: Option<catalogue::Sort>,
    /// How many, 20 unless told, 100 at most.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<catalogue::Cursor>>,
}

/// One's own listings, drafts and archived ones too.
#[utoipa::path(get, path = "/profile/listings", tag = TAG, security(("bearer" = [])), params(OwnListingsQuery, Waits),
    responses((status = OK, body = Page<ListingBody>, description = "A page")))]
async fn own_listings(
    State(app): State<App>,
    caller: Caller,
    read: Read<OwnListingsQuery>,
) -> Result<Json<Page<ListingBody>>, Problem> {
    read.wait_for(&app, catalogue::MODEL.name).await?;
    let OwnListingsQuery { status, sort, limit, cursor } = read.query;
    let (limit, own) = (page_limit(limit)?, Some(caller.account));
    let filter = catalogue::Filter { viewer: own.into(), seller: own, status, ..catalogue::Filter::default() };
    let cursor = cursor.map(|cursor| cursor.0);
    let page = catalogue::page(&app.pool, &filter, sort.unwrap_or_default(), cursor, limit).await?;
    Page::of(page, listings::body).map(Json)
}
