//! Affiliates: one's referral code, clicks on it, and what it earns.

use axum::Json;
use axum::extract::{Extension, State};
use chrono::{DateTime, TimeDelta, Utc};
use commands::{Accepted, Request, affiliates};
use domain::claim::Kind;
use domain::{AccountId, Money, ReferralClickId};
use eventstore::event::Metadata;
use eventstore::mint;
use eventstore::sealing::PersonKey;
use garde::Validate;
use projections::affiliates as referrals;
use projections::past::{Question, View};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::app::App;
use crate::http::as_of::{AsOf, Look, TakesAsOf};
use crate::http::envelope::RequestId;
use crate::http::extract::{Body, Caller, Creation, MaybeCaller, Nothing};
use crate::http::fields::is_referral_code;
use crate::http::money::stored_money;
use crate::http::openapi::{CurrencyCode, Keyed, MoneyBody, Waits};
use crate::http::pages::{Cursor, Page, page_limit};
use crate::http::problem::Problem;
use crate::http::reply::Done;

const TAG: &str = "Affiliates";

/// What codes are made of: no letter that looks like a digit, nor one that makes words.
const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// The routes of this file.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(show, enrol)).routes(routes!(click))
}

/// A new code, of 40 random bits.
fn new_code() -> String {
    let bytes: [u8; 8] = mint::secret();
    bytes.map(|byte| char::from(LETTERS[usize::from(byte % 32)])).iter().collect()
}

/// What is remembered of an enrolment under its key: not the code, which goes with the person.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct Enrolled {}

/// A referral code.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct EnrolledBody {
    /// Put it into links to this marketplace; whoever follows one reports it at `/affiliate/clicks`.
    #[schema(example = "7K3M9QXR")]
    code: String,
}

/// Becomes an affiliate: makes a referral code, which earns a commission with what those buy who come by it.
#[utoipa::path(post, path = "/affiliate", tag = TAG, security(("bearer" = [])), params(Keyed),
    responses((status = CREATED, body = EnrolledBody, description = "The code")))]
async fn enrol(State(app): State<App>, Creation(command): Creation<Nothing>) -> Result<Done<EnrolledBody>, Problem> {
    let owner = command.caller.account;
    let key = PersonKey::load(&app.pool, &app.wrapping, owner).await?.ok_or_else(|| Problem::not_found("account"))?;
    let code = new_code();
    let (sealed, claim) = (key.seal(&code), app.secret.claim(Kind::ReferralCode, &code));
    let enrol = move |world: &mut commands::World<'_>| {
        affiliates::enrol(world, owner, &sealed, claim)?;
        Ok(Enrolled {})
    };
    let Accepted { value: Enrolled {}, position, replayed } = app.engine.submit(command.request(), enrol).await?;
    // The one that counts, if this is an answer that was given before.
    let sealed = app.engine.read(move |world| affiliates::code_of(world, owner)).await?;
    let code = key.open(&sealed).ok_or_else(Problem::internal)?;
    let value = EnrolledBody { code };
    Ok(Done::created(Accepted { value, position, replayed }, "/api/v1/affiliate".to_owned()))
}

/// Which commissions to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct CommissionsQuery {
    /// How many, 20 unless told, 100 at most.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<referrals::Cursor>>,
}

/// What one has and earns as an affiliate.
#[derive(Debug, Serialize, ToSchema)]
pub struct AffiliateBody {
    /// The referral code; none before one enrols.
    #[schema(example = "7K3M9QXR")]
    code: Option<String>,
    enrolled_at: Option<DateTime<Utc>>,
    /// Which share of an order's price and shipping is earned with orders that are placed now, in basis points.
    #[schema(example = 500)]
    commission_bps: u32,
    /// Whether that is never more than the marketplace's fee on the order.
    within_fee: bool,
    /// How many days after a click an order still counts.
    #[schema(example = 30)]
    attribution_days: u32,
    /// How often the code was followed: once for each visitor and day.
    #[schema(example = 120)]
    clicks: i64,
    /// How many accounts have come by it.
    #[schema(example = 12)]
    accounts: i64,
    /// What was earned, by currency.
    earnings: Vec<EarningsBody>,
    /// A commission for each order, newest first.
    items: Vec<CommissionBody>,
    /// Give it as `cursor` to get the next page; none on the last.
    next_cursor: Option<String>,
}

/// What was earned in one currency.
#[derive(Debug, Serialize, ToSchema)]
pub struct EarningsBody {
    #[schema(value_type = CurrencyCode, example = "USD")]
    currency: domain::Currency,
    /// With how many orders.
    #[schema(example = 3)]
    orders: i64,
    /// What waits for sellers to be paid.
    #[schema(value_type = MoneyBody)]
    pending: Money,
    /// What went to the wallet, less what was taken back of it.
    #[schema(value_type = MoneyBody)]
    vested: Money,
    /// What was not earned after all, before it was vested or after.
    #[schema(value_type = MoneyBody)]
    reversed: Money,
}

/// What is earned with one order.
#[derive(Debug, Serialize, ToSchema)]
pub struct CommissionBody {
    id: Uuid,
    /// `pending` until the seller is paid, then `vested`; `reversed` if all of it was taken back.
    #[schema(value_type = String, example = "pending")]
    state: referrals::State,
    /// The order's price and shipping.
    #[schema(value_type = MoneyBody)]
    base: Money,
    /// Which share of it is earned, in basis points.
    #[schema(example = 500)]
    commission_bps: i32,
    /// What is earned now.
    #[schema(value_type = MoneyBody)]
    amount: Money,
    /// What was taken back, with what the buyer got back.
    #[schema(value_type = MoneyBody)]
    reversed: Money,
    /// When the order was paid.
    accrued_at: DateTime<Utc>,
    /// When the commission went to the wallet.
    vested_at: Option<DateTime<Utc>>,
}

/// What one has and earns as an affiliate: the referral code, who has come by it, and a page of commissions.
#[utoipa::path(get, path = "/affiliate", tag = TAG, security(("bearer" = [])), params(CommissionsQuery, TakesAsOf, Waits),
    responses((status = OK, body = AffiliateBody, description = "What there is, and a page of commissions")))]
async fn show(
    State(app): State<App>,
    caller: Caller,
    read: AsOf<CommissionsQuery>,
) -> Result<Json<AffiliateBody>, Problem> {
    read.wait_for(&app, referrals::MODEL.name).await?;
    let CommissionsQuery { limit, cursor } = &read.read.query;
    let (account, limit) = (caller.account, page_limit(*limit)?);
    let cursor = cursor.as_ref().map(|cursor| cursor.0);
    let app = &app;
    let shown = |mut look: Look| async move { shown(app, &mut look.view, account, cursor, limit).await };
    read.answer(app, Question::Affiliate(account), shown).await.map(Json)
}

async fn shown(
    app: &App,
    view: &mut View,
    account: AccountId,
    after: Option<referrals::Cursor>,
    limit: u32,
) -> Result<AffiliateBody, Problem> {
    let enrolled = referrals::get(&mut *view, account).await?;
    let (code, enrolled_at) = enrolled.map(|row| (row.code, Some(row.enrolled_at))).unwrap_or_default();
    let referrals::Reach { clicks, accounts } = referrals::reach(&mut *view, account).await?;
    let earnings = referrals::earnings(&mut *view, account).await?.into_iter().map(earned).collect::<Result<_, _>>()?;
    let page = referrals::page(view, account, after, limit).await?;
    let Page { items, next_cursor } = Page::of(page, |row| commission(&row))?;
    let crate::config::Affiliate { commission_bps, within_fee, attribution_days } = app.settings.affiliate;
    Ok(AffiliateBody {
        code,
        enrolled_at,
        commission_bps,
        within_fee,
        attribution_days,
        clicks,
        accounts,
        earnings,
        items,
        next_cursor,
    })
}

fn earned(row: referrals::Earnings) -> Result<EarningsBody, Problem> {
    let money = |minor| stored_money(minor, row.currency.0);
    Ok(EarningsBody {
        currency: row.currency.0,
        orders: row.orders,
        pending: money(row.pending)?,
        vested: money(row.vested)?,
        reversed: money(row.reversed)?,
    })
}

fn commission(row: &referrals::Row) -> Result<CommissionBody, Problem> {
    let money = |minor| stored_money(minor, row.currency.0);
    Ok(CommissionBody {
        id: row.id,
        state: row.state,
        base: money(row.base)?,
        commission_bps: row.rate_bps,
        amount: money(row.accrued - row.reversed)?,
        reversed: money(row.reversed)?,
        accrued_at: row.accrued_at,
        vested_at: row.vested_at,
    })
}

/// A click on a link with a referral code.
#[derive(Clone, Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct ClickBody {
    /// The code in the link. Its case does not matter.
    #[garde(custom(is_referral_code))]
    #[schema(example = "7K3M9QXR", pattern = "^[0-9A-Za-z]{8}$")]
    code: String,
}

/// A click that was noted.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct ClickedBody {
    /// Names the click: whoever registers or buys with it as `click_id` has come by it.
    click_id: Uuid,
    /// Whether it counts: not if the same visitor has clicked before on this day.
    counted: bool,
    /// Until then what is bought earns a commission, unless a later click counts instead: so long after the last click on
    /// this code that is noted.
    attributed_until: DateTime<Utc>,
    /// The last event of the command in the log.
    #[serde(default)]
    #[schema(minimum = 0)]
    position: i64,
}

/// Notes that somebody has followed a link with a referral code. It counts once a day for each visitor, who is an account,
/// or for whoever has not logged in an address, of which only a keyed hash is kept; of each visitor 20 clicks a day on one
/// code are noted, since the last one may decide who earns.
///
/// An account that is logged in has come by the link with that. Everybody else has come by it once they register or buy
/// with the `click_id` that this answers. The last click counts, whoever's it is, for as many days as `/affiliate` tells;
/// nobody earns with what they buy or sell themselves.
#[utoipa::path(post, path = "/affiliate/clicks", tag = TAG, security((), ("bearer" = [])), request_body = ClickBody,
    responses((status = OK, body = ClickedBody, description = "Noted"),
        (status = NOT_FOUND, description = "Nobody has this code, or nobody who may earn with it")))]
async fn click(
    State(app): State<App>,
    MaybeCaller(caller): MaybeCaller,
    Extension(id): Extension<RequestId>,
    Body(ClickBody { code }): Body<ClickBody>,
) -> Result<Done<ClickedBody>, Problem> {
    let by = caller.map(|caller| caller.account);
    by.map_or(Ok(()), |account| app.limits.click(account))?;
    let sender = id.sender().map(|sender| sender.counted().to_string()).unwrap_or_default();
    let who = by.map_or_else(|| format!("sender:{sender}"), |account| format!("account:{account}"));
    // Nothing of who clicks or from where goes into the log.
    let metadata = Metadata::anonymous().with("correlation", id.as_str().to_owned());
    let (secret, claim) = (app.secret.clone(), app.secret.claim(Kind::ReferralCode, &code));
    let attributed_for = TimeDelta::days(app.settings.affiliate.attribution_days.into());
    let note = move |world: &mut commands::World<'_>| {
        let affiliate = affiliates::owner_of(world, claim)?;
        let day = world.now().date_naive();
        let click = ReferralClickId(secret.pseudonym("referral clicks", &format!("{who}:{affiliate}:{day}")));
        let affiliates::Clicked { counted, at } = affiliates::click(world, click, affiliate, by)?;
        Ok(ClickedBody { click_id: click.0, counted, attributed_until: at + attributed_for, position: 0 })
    };
    Ok(Done::ok(app.engine.submit(Request::once(metadata), note).await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_code_is_one_that_is_taken() {
        for _ in 0..100 {
            let code = new_code();
            assert!(is_referral_code(&code, &()).is_ok(), "{code}");
        }
    }
}
