//! What goes back to the buyer, in whole or in part: before the release out of the escrow, after it from the seller, who
//! has it or owes it, and from the fee.

use super::{Error, Event, Opened, Phase, RefundCause};
use crate::Timestamp;
use crate::fees;
use crate::ids::{AccountId, RefundId};
use crate::ledger::{LedgerAccount, Posting};
use crate::money::Money;

impl Opened {
    pub(super) fn refund(
        &self,
        refund: RefundId,
        amount: Option<Money>,
        cause: RefundCause,
        now: Timestamp,
    ) -> Result<Vec<Event>, Error> {
        match (self.phase, cause) {
            (Phase::Funded { ship_by }, RefundCause::NotShipped) if now < ship_by => {
                return Err(Error::NotOverdue { ship_by });
            }
            (Phase::Disputed { expires_at }, RefundCause::DisputeExpired) if now < expires_at => {
                return Err(Error::DisputeOpen { expires_at });
            }
            (Phase::Funded { .. }, RefundCause::NotShipped | RefundCause::Cancelled)
            | (Phase::Funded { .. } | Phase::Inspection { .. }, RefundCause::Seller | RefundCause::Staff(_))
            | (Phase::Disputed { .. }, RefundCause::Resolved(_) | RefundCause::DisputeExpired) => {}
            (_, RefundCause::Resolved(_)) => return Err(Error::NotDisputed { status: self.status() }),
            (_, _) => return Err(self.wrong_status()),
        }
        let amount = self.part(amount)?;
        let from_points = self.part_from_points(amount)?;
        let postings = self.to_buyer(&[(self.account(), amount)], from_points)?;
        Ok(vec![if amount == self.remaining() {
            Event::EscrowRefunded { refund, amount, cause, from_points, postings }
        } else {
            Event::EscrowPartlyRefunded { refund, amount, cause, from_points, postings }
        }])
    }

    pub(super) fn split(&self, share: Money, by: AccountId) -> Result<Vec<Event>, Error> {
        let Phase::Disputed { .. } = self.phase else { return Err(Error::NotDisputed { status: self.status() }) };
        let share = self.part(Some(share))?;
        let kept = self.remaining().minus(share)?;
        if !kept.is_positive() {
            // All of it for the buyer is a refund.
            return Err(Error::MoreThanRemains { remaining: self.remaining(), offered: share });
        }
        let fee = fees::fee_on(kept, &self.terms.lines)?;
        let from_points = self.part_from_points(share)?;
        let mut postings = self.to_buyer(&[(self.account(), share)], from_points)?;
        postings.extend(self.payout(kept, fee)?);
        Ok(vec![Event::EscrowSplit { to_buyer: share, kept, fee, by, from_points, postings }])
    }

    pub(super) fn refund_released(
        &self,
        refund: RefundId,
        amount: Option<Money>,
        seller_available: Money,
        cause: RefundCause,
    ) -> Result<Vec<Event>, Error> {
        let Phase::Released { fee } = self.phase else { return Err(self.wrong_status()) };
        let amount = self.part(amount)?;
        let fee_share = fee.minus(fees::fee_on(self.remaining().minus(amount)?, &self.terms.lines)?)?;
        // Cents wander between lines as the whole shrinks, so a share may come out below nothing or above what goes back.
        let fee_share = fee_share.max(Money::zero(fee.currency()))?.min(amount)?;
        let from_seller = amount.minus(fee_share)?;
        let from_available = from_seller.min(seller_available)?;
        let owed = from_seller.minus(from_available)?;
        let seller = self.terms.seller;
        let sources = [
            (LedgerAccount::Available(seller), from_available),
            (LedgerAccount::Receivable(seller), owed),
            (LedgerAccount::FeeIncome, fee_share),
        ];
        let from_points = self.part_from_points(amount)?;
        let postings = self.to_buyer(&sources, from_points)?;
        Ok(vec![Event::ReleaseRefunded {
            refund,
            amount,
            from_available,
            owed,
            fee_share,
            cause,
            from_points,
            postings,
        }])
    }

    /// An amount that is there, or all that is.
    pub(super) fn part(&self, amount: Option<Money>) -> Result<Money, Error> {
        let remaining = self.remaining();
        let offered = amount.unwrap_or(remaining);
        if !offered.is_positive() {
            return Err(Error::AmountNotPositive { offered });
        }
        if offered.minor_in(remaining.currency())? > remaining.minor() {
            return Err(Error::MoreThanRemains { remaining, offered });
        }
        Ok(offered)
    }

    /// The postings of what goes back: `from_points` of it make the marketplace's expense good, the rest is the buyer's.
    fn to_buyer(&self, sources: &[(LedgerAccount, Money)], from_points: Option<Money>) -> Result<Vec<Posting>, Error> {
        let mut postings = Vec::new();
        let mut expense = from_points.unwrap_or(Money::zero(self.terms.amount.currency()));
        for (from, part) in sources {
            let made_good = (*part).min(expense)?;
            expense = expense.minus(made_good)?;
            let targets =
                [(LedgerAccount::MarketingExpense, made_good), (self.buyers_account(), part.minus(made_good)?)];
            let targets = targets.into_iter().filter(|(_, part)| part.is_positive());
            postings.extend(targets.map(|(to, part)| Posting::new(from.clone(), to, part)));
        }
        Ok(postings)
    }
}
