//! Leaving: the account is closed, and the person forgotten.

use axum::extract::{Extension, State};
use axum::http::StatusCode;
use commands::accounts::{self, Estate};
use domain::claim::Kind;
use domain::{AccountId, WalletId};
use eventstore::log;
use garde::Validate;
use projections::{auction_board, orders, wallet_statement};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{Noted, TAG, expect_password, once, opened};
use crate::app::App;
use crate::auth::attempts;
use crate::http::envelope::RequestId;
use crate::http::extract::{Body, Caller, READ_PATIENCE};
use crate::http::problem::Problem;

/// The password, as the last word.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub(super) struct Erasure {
    #[garde(length(chars, max = 128))]
    #[schema(example = "correct horse battery", max_length = 128)]
    password: String,
}

/// Deletes the account. Nobody can read any more who it was; its orders and its money stay in the books without a name.
///
/// What is open must be settled first: orders, auctions in which the account sells or leads, and money, which would be
/// lost. Nobody can buy of it any more; what it offers is taken off and the pictures that it has uploaded are deleted
/// soon after.
#[utoipa::path(delete, path = "/auth/account", tag = TAG, security(("bearer" = [])), request_body = Erasure,
    responses((status = OK, body = Noted, description = "Deleted; all its tokens are good no more"),
        (status = CONFLICT, description = "Something is not settled yet, or the account has no password"),
        (status = TOO_MANY_REQUESTS, description = "Too many wrong passwords")))]
pub(super) async fn erase(
    State(app): State<App>,
    Extension(id): Extension<RequestId>,
    caller: Caller,
    Body(body): Body<Erasure>,
) -> Result<Noted, Problem> {
    let account = caller.account;
    let (registered, key) = opened(&app, account).await?;
    expect_password(&app, &registered, &key, body.password, "/password").await?;
    let wallets = settled(&app, account).await?;
    let identity = &registered.identity;
    let claim = |kind, field| app.secret.claim(kind, &key.open(field).unwrap_or_default());
    let address = claim(Kind::Email, &identity.email);
    let claims = vec![address, claim(Kind::UserName, &identity.user_name)];
    let (email, user_name) = (identity.email.clone(), identity.user_name.clone());
    let other_admins = projections::accounts::admins(&app.pool).await?;
    let estate = Estate { email, user_name, claims, wallets, other_admins };
    let erase = move |world: &mut commands::World<'_>| accounts::erase(world, account, &estate);
    let accepted = app.engine.submit(once(id, account), erase).await?;
    attempts::forget(&app.pool, address.0).await?;
    Ok(Noted { position: accepted.position })
}

/// The wallets of an account of which nothing else is open.
async fn settled(app: &App, account: AccountId) -> Result<Vec<WalletId>, Problem> {
    let head = log::head(&app.pool).await?;
    for model in [orders::MODEL, auction_board::MODEL, wallet_statement::MODEL] {
        app.progress.wait_for(model.name, head, READ_PATIENCE).await?;
    }
    let orders = orders::open_of(&app.pool, account).await?;
    let auctions = auction_board::binding(&app.pool, account).await?;
    if orders + auctions > 0 {
        let detail = format!("{orders} orders and {auctions} auctions are not over yet.");
        return Err(Problem::new(StatusCode::CONFLICT, "account-not-settled", "Not settled yet", detail)
            .with("orders", orders)
            .with("auctions", auctions));
    }
    let balances = wallet_statement::balances(&app.pool, account).await?;
    Ok(balances.iter().map(|balance| WalletId(balance.wallet_id)).collect())
}
