//! Who is a party of what: the one table that says whom the history of a thing concerns.

use std::collections::BTreeSet;

use domain::{
    AccountId, Aggregate, auction, charge, chat, commission, complaint, escrow, favorite, feedback, image, listing,
    merchant, order, order_group, payout, referral_click, report, review, session, vote, wallet,
};
use eventstore::event::DomainEvent;
use eventstore::history;
use eventstore::records::Record;
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use super::Eyes;

/// Who is a party of a thing.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Parties {
    /// These accounts.
    Of(Vec<AccountId>),
    /// Somebody who sells, and whoever buys if that is known from the beginning.
    Sale { seller: AccountId, buyer: Option<AccountId> },
    /// Whoever is a party of this other thing.
    As(&'static str, Uuid),
}

/// What an account may see of the history of a thing; nothing if it is no party of it, or there is no such thing.
pub async fn eyes(
    connection: &mut PgConnection,
    aggregate_type: &str,
    id: Uuid,
    account: AccountId,
) -> Result<Option<Eyes>, sqlx::Error> {
    let (mut kind, mut of) = (aggregate_type.to_owned(), id);
    // What belongs to something that belongs to something else is not known; two steps end any circle.
    for _ in 0..2 {
        let Some(first) = first_event(&mut *connection, &kind, of).await? else { return Ok(None) };
        match first.decode().as_ref().map(founders) {
            Ok(Parties::As(other, id)) => (kind, of) = (other.to_owned(), id),
            Ok(Parties::Of(accounts)) => {
                let circle: BTreeSet<AccountId> = accounts.into_iter().collect();
                return Ok(circle.contains(&account).then_some(Eyes::Party { circle, sells: false }));
            }
            Ok(Parties::Sale { seller, buyer }) => {
                let sells = seller == account;
                let is_party =
                    sells || buyer == Some(account) || is_bidder(connection, aggregate_type, id, account).await?;
                let circle = [seller, account].into_iter().chain(buyer).collect();
                return Ok(is_party.then_some(Eyes::Party { circle, sells }));
            }
            // Whatever it is, it cannot be said whose.
            Err(_) => return Ok(None),
        }
    }
    Ok(None)
}

/// The parties of a thing, as its first event has them. A first event that is none tells of nobody.
fn founders(first: &DomainEvent) -> Parties {
    let of = |accounts: &[AccountId]| Parties::Of(accounts.to_vec());
    let sale = |seller: &AccountId, buyer: Option<&AccountId>| Parties::Sale { seller: *seller, buyer: buyer.copied() };
    match first {
        // What bears the id of the account that it belongs to.
        DomainEvent::Account(id, _)
        | DomainEvent::AddressBook(id, _)
        | DomainEvent::Affiliate(id, _)
        | DomainEvent::Album(id, _)
        | DomainEvent::Contacts(id, _)
        | DomainEvent::Inbox(id, _)
        | DomainEvent::Payee(id, _)
        | DomainEvent::Points(id, _)
        | DomainEvent::Referral(id, _)
        | DomainEvent::Reporter(id, _)
        | DomainEvent::Seller(id, _)
        | DomainEvent::Store(id, _)
        | DomainEvent::Subscription(id, _) => of(&[*id]),
        // What is sold. Bidders come later, and are looked for where they are.
        DomainEvent::Auction(_, auction::Event::AuctionScheduled { terms }) => sale(&terms.seller, None),
        DomainEvent::Escrow(_, escrow::Event::EscrowOpened { terms }) => sale(&terms.seller, Some(&terms.buyer)),
        DomainEvent::Listing(_, listing::Event::ListingDrafted { seller, .. }) => sale(seller, None),
        DomainEvent::Order(_, order::Event::OrderPlaced { terms }) => sale(&terms.seller, Some(&terms.buyer)),
        // What names whom it concerns.
        DomainEvent::Charge(_, charge::Event::ChargeRequested { terms }) if !terms.guest => of(&[terms.payer]),
        DomainEvent::Chat(_, chat::Event::ChatOpened { terms, .. }) => of(&[terms.buyer, terms.seller]),
        DomainEvent::Commission(_, commission::Event::CommissionAccrued { promise, .. }) => of(&[promise.affiliate]),
        DomainEvent::Complaint(_, complaint::Event::ComplaintFiled { complainant, against, .. }) => {
            of(&[*complainant, *against])
        }
        DomainEvent::Favorite(_, favorite::Event::FavoriteAdded { account, .. })
        | DomainEvent::Merchant(_, merchant::Event::MerchantAdded { account, .. })
        | DomainEvent::Session(_, session::Event::SessionOpened { account, .. }) => of(&[*account]),
        DomainEvent::Feedback(_, feedback::Event::FeedbackGiven { buyer, seller, .. }) => of(&[*buyer, *seller]),
        DomainEvent::Image(_, image::Event::ImageStored { owner, .. })
        | DomainEvent::Wallet(_, wallet::Event::WalletOpened { owner, .. }) => of(&[*owner]),
        DomainEvent::OrderGroup(_, order_group::Event::OrderGroupPlaced { buyer, .. }) => of(&[*buyer]),
        DomainEvent::ReferralClick(_, referral_click::Event::ReferralClicked { affiliate, .. }) => of(&[*affiliate]),
        DomainEvent::Report(_, report::Event::ReportFiled { reporter, .. }) => of(&[*reporter]),
        DomainEvent::Review(_, review::Event::ReviewWritten { bought, author, .. }) => of(&[*author, bought.seller]),
        DomainEvent::Vote(_, vote::Event::VoteCast { voter, .. }) => of(&[*voter]),
        // What is part of something else.
        DomainEvent::Payout(_, payout::Event::PayoutSent { wallet, .. }) => Parties::As(wallet::Wallet::TYPE, wallet.0),
        DomainEvent::Stock(listing, _) => Parties::As(listing::Listing::TYPE, listing.0),
        // What is the marketplace's own, or proves something to it, is for auditors alone.
        DomainEvent::Broadcast(..)
        | DomainEvent::Category(..)
        | DomainEvent::CategoryTree(..)
        | DomainEvent::Claim(..)
        | DomainEvent::Correlation(..)
        | DomainEvent::FeeRule(..)
        | DomainEvent::Page(..)
        | DomainEvent::Plan(..)
        | DomainEvent::View(..)
        // And so is what has not begun as such a thing does, or is a guest's.
        | DomainEvent::Auction(..)
        | DomainEvent::Charge(..)
        | DomainEvent::Chat(..)
        | DomainEvent::Commission(..)
        | DomainEvent::Complaint(..)
        | DomainEvent::Escrow(..)
        | DomainEvent::Favorite(..)
        | DomainEvent::Image(..)
        | DomainEvent::Listing(..)
        | DomainEvent::Merchant(..)
        | DomainEvent::Order(..)
        | DomainEvent::OrderGroup(..)
        | DomainEvent::Payout(..)
        | DomainEvent::ReferralClick(..)
        | DomainEvent::Report(..)
        | DomainEvent::Review(..)
        | DomainEvent::Session(..)
        | DomainEvent::Vote(..)
        | DomainEvent::Wallet(..) => of(&[]),
    }
}

pub(super) async fn first_event(
    executor: impl PgExecutor<'_>,
    aggregate_type: &str,
    id: Uuid,
) -> Result<Option<Record>, sqlx::Error> {
    Ok(history::of_stream(executor, aggregate_type, id, 0, 1, 1).await?.pop())
}

/// Whether somebody has bid in an auction, or bought out of it at once. Who bids is on the board, so that nobody makes us
/// read all that was bid; and what it does not show yet, nor ever tells of who has bought, is among the last that happened.
async fn is_bidder(
    executor: impl PgExecutor<'_>,
    aggregate_type: &str,
    id: Uuid,
    account: AccountId,
) -> Result<bool, sqlx::Error> {
    if aggregate_type != auction::Auction::TYPE {
        return Ok(false);
    }
    // Whoever leads or wins has bid or bought.
    sqlx::query_scalar(
        "select exists (select from auction_board.bidders where auction_id = $2 and account_id = $4)
            or exists (select from (select event_type, payload from public.events
                where aggregate_type = $1 and aggregate_id = $2::text order by sequence desc limit 100) as last
                where event_type in ('BidPlaced', 'AuctionClosed') and strpos(payload::text, $3) > 0)",
    )
    .bind(aggregate_type)
    .bind(id)
    .bind(format!("\"{account}\""))
    .bind(account.0)
    .fetch_one(executor)
    .await
}

#[cfg(test)]
mod tests {
    use domain::{Currency, ListingId, WalletId, WithdrawalId};

    use super::*;

    #[test]
    fn what_belongs_to_something_else_concerns_whom_that_concerns() {
        let (account, other) = (AccountId(Uuid::from_u128(1)), Uuid::from_u128(2));
        let opened = wallet::Event::WalletOpened { owner: account, currency: Currency::USD };
        assert_eq!(founders(&DomainEvent::Wallet(WalletId(other), opened)), Parties::Of(vec![account]));
        let stock = DomainEvent::Stock(ListingId(other), domain::stock::Event::StockSoldOut {});
        assert_eq!(founders(&stock), Parties::As("listing", other));
        let payout = DomainEvent::Payout(WithdrawalId(other), payout::Event::PayoutPaid {});
        assert_eq!(founders(&payout), Parties::Of(vec![]), "a stream that does not begin as it does");
    }
}
