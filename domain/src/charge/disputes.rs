//! Chargebacks: the payer disputes a charge at their bank, and the provider takes the money back until it is decided.
//!
//! `Open → Won | Lost`, by the provider's name for the dispute. What is taken back comes out of the escrows that still
//! hold it, or is what a refund on its way was to bring; else the seller owes it, or whoever has it in a wallet gives it,
//! and what nobody else is to bear is the marketplace's. A dispute that is won brings all of it back. The provider's messages may come in any order: the end
//! of a dispute that was not heard of is kept, and counts once it is.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Error, Event, Phase, Requested};
use crate::ids::{AccountId, DisputeId, OrderId, RefundId};
use crate::ledger::{LedgerAccount, Posting};
use crate::money::Money;

/// A part of what a provider has taken back. Part of the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// The order that it had paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<OrderId>,
    /// How much.
    pub amount: Money,
    /// Who bears it.
    pub bearer: Bearer,
}

/// Who bears a part of what a provider has taken back. Part of the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bearer {
    /// The escrow of the order, which still holds it.
    Escrow,
    /// An account, out of its wallet.
    Account {
        /// Whose.
        owner: AccountId,
        /// What of it moves what is available: gives it, or has it again.
        available: Money,
        /// What of it moves what is owed: is owed from now on, or is not any more.
        owed: Money,
    },
    /// A refund that was on its way: the payer has it from the bank instead. It is asked for anew if the dispute is won.
    Refund {
        /// Which.
        refund: RefundId,
    },
    /// The marketplace.
    Marketplace,
}

/// A dispute, and where it is.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Dispute {
    /// The money is with the provider.
    Open {
        /// Who bears it.
        shares: Vec<Share>,
    },
    /// It is back.
    Won,
    /// It is gone.
    Lost {
        /// Who has borne it.
        shares: Vec<Share>,
    },
    /// It is gone, or will be once it is heard that it was taken.
    LostUnheard,
}

impl Requested {
    pub(super) fn open_dispute(
        &self,
        dispute: DisputeId,
        name: String,
        amount: Money,
        reason: String,
        shares: Vec<Share>,
    ) -> Result<Vec<Event>, Error> {
        if let Phase::Open { .. } | Phase::Failed { .. } = self.phase {
            return Err(Error::NotSucceeded);
        }
        let lost = match self.disputes.get(&dispute) {
            None => None,
            Some(Dispute::LostUnheard) => Some(Event::ChargeDisputeLost { dispute }),
            Some(Dispute::Open { .. } | Dispute::Won | Dispute::Lost { .. }) => return Ok(vec![]),
        };
        if !amount.is_positive() {
            return Err(Error::AmountNotPositive { offered: amount });
        }
        let borne = shares.iter().try_fold(Money::zero(amount.currency()), |sum, share| sum.plus(share.amount))?;
        if borne != amount {
            return Err(Error::AmountDiffers { expected: amount, offered: borne });
        }
        let postings = self.postings_of(&shares, |from, amount| Posting::new(from, self.clearing(), amount));
        let disputed = Event::ChargeDisputed { dispute, name, amount, reason, shares, postings };
        Ok([disputed].into_iter().chain(lost).collect())
    }

    pub(super) fn win_dispute(
        &self,
        dispute: DisputeId,
        mut owing: BTreeMap<AccountId, Money>,
    ) -> Result<Vec<Event>, Error> {
        let shares = match self.disputes.get(&dispute) {
            None => vec![],
            Some(Dispute::Open { shares }) => shares.clone(),
            Some(Dispute::Won | Dispute::Lost { .. } | Dispute::LostUnheard) => return Ok(vec![]),
        };
        let mut back = Vec::new();
        for share in shares {
            let bearer = match share.bearer {
                // What has arrived all the same was the marketplace's loss.
                Bearer::Refund { refund } if !self.is_taken_back(refund) => Bearer::Marketplace,
                kept @ (Bearer::Escrow | Bearer::Refund { .. } | Bearer::Marketplace) => kept,
                Bearer::Account { owner, .. } => {
                    // First what is still owed, whether for this or for something else.
                    let debt = owing.get(&owner).copied().unwrap_or(Money::zero(share.amount.currency()));
                    let owed = debt.min(share.amount)?;
                    owing.insert(owner, debt.minus(owed)?);
                    Bearer::Account { owner, available: share.amount.minus(owed)?, owed }
                }
            };
            back.push(Share { bearer, ..share });
        }
        let postings = self.postings_of(&back, |to, amount| Posting::new(self.clearing(), to, amount));
        let again: Vec<Event> = back.iter().filter_map(|share| self.asked_anew(share.bearer)).collect();
        Ok([Event::ChargeDisputeWon { dispute, shares: back, postings }].into_iter().chain(again).collect())
    }

    fn asked_anew(&self, bearer: Bearer) -> Option<Event> {
        let Bearer::Refund { refund } = bearer else { return None };
        let attempt = self.refunds.get(&refund)?.attempt.saturating_add(1);
        Some(Event::ChargeRefundRetried { refund, attempt })
    }

    /// Whether a dispute is not decided.
    pub(super) fn is_disputed(&self) -> bool {
        self.disputes.values().any(|dispute| matches!(dispute, Dispute::Open { .. }))
    }

    pub(super) fn lose_dispute(&self, dispute: DisputeId) -> Vec<Event> {
        match self.disputes.get(&dispute) {
            None | Some(Dispute::Open { .. }) => vec![Event::ChargeDisputeLost { dispute }],
            Some(Dispute::Won | Dispute::Lost { .. } | Dispute::LostUnheard) => vec![],
        }
    }

    /// What an account has borne of disputes that are not won, for one order.
    pub fn borne_by(&self, owner: AccountId, order: OrderId) -> Result<Money, Error> {
        let shares = self.disputes.values().flat_map(|dispute| match dispute {
            Dispute::Open { shares } | Dispute::Lost { shares } => shares.as_slice(),
            Dispute::Won | Dispute::LostUnheard => Default::default(),
        });
        let of_owner = |share: &&Share| match share.bearer {
            Bearer::Account { owner: bearer, .. } => bearer == owner && share.order == Some(order),
            Bearer::Escrow | Bearer::Refund { .. } | Bearer::Marketplace => false,
        };
        let nothing = Money::zero(self.terms.amount.currency());
        Ok(shares.filter(of_owner).try_fold(nothing, |sum, share| sum.plus(share.amount))?)
    }

    /// The postings of what escrows do not bear.
    fn postings_of(&self, shares: &[Share], posting: impl Fn(LedgerAccount, Money) -> Posting) -> Vec<Posting> {
        let accounts = |share: &Share| match share.bearer {
            Bearer::Escrow => vec![],
            Bearer::Account { owner, available, owed } => {
                vec![(LedgerAccount::Available(owner), available), (LedgerAccount::Receivable(owner), owed)]
            }
            Bearer::Refund { refund } => {
                let order = self.refunds.get(&refund).and_then(|refund| refund.order);
                vec![(self.waits_in(order), share.amount)]
            }
            Bearer::Marketplace => vec![(LedgerAccount::ChargebackExpense, share.amount)],
        };
        let borne = shares.iter().flat_map(accounts).filter(|(_, amount)| amount.is_positive());
        borne.map(|(account, amount)| posting(account, amount)).collect()
    }
}
