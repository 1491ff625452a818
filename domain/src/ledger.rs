//! Double entry. Every money event carries its complete postings, so that books never depend on a second event.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::ids::{AccountId, ChargeId, OrderId, SubscriptionId};
use crate::money::Money;

/// Whose the accounts are that belong to nobody else.
const MARKETPLACE: &str = "marketplace";

/// Where money can be. Written as `kind` or `kind:whose`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum LedgerAccount {
    /// Money that a payment provider holds for us (`provider-clearing:sandbox`).
    ProviderClearing(String),
    /// What the owner may spend or withdraw (`available:<account>`).
    Available(AccountId),
    /// What the owner has set aside for a second step (`held:<account>`).
    Held(AccountId),
    /// What is on its way out to the owner's bank (`payout-pending:<account>`).
    PayoutPending(AccountId),
    /// What a buyer has paid and the seller does not have yet (`escrow:<order>`).
    Escrow(OrderId),
    /// What the owner owes the marketplace (`receivable:<account>`).
    Receivable(AccountId),
    /// What the marketplace has earned in fees (`fee-income:marketplace`).
    FeeIncome,
    /// What the marketplace has paid of orders for bonus points (`marketing-expense:marketplace`).
    MarketingExpense,
    /// What the marketplace has spent on commissions (`affiliate-expense:marketplace`).
    AffiliateExpense,
    /// What the owner has earned with sales whose sellers are not paid yet (`affiliate-pending:<account>`).
    AffiliatePending(AccountId),
    /// What was paid for the period of a subscription that goes on (`deferred-revenue:<subscription>`).
    DeferredRevenue(SubscriptionId),
    /// What the marketplace has earned with subscriptions (`subscription-income:marketplace`).
    SubscriptionIncome,
    /// What came in too late to pay anything, and goes back (`unapplied:<charge>`).
    Unapplied(ChargeId),
    /// What goes back to where it was charged, and is not there yet (`refund-pending:<charge>`).
    RefundPending(ChargeId),
    /// What payment providers keep for what they do (`provider-fee-expense:marketplace`).
    ProviderFeeExpense,
    /// What payers have got back of their banks that nobody else is to bear (`chargeback-expense:marketplace`).
    ChargebackExpense,
}

impl fmt::Display for LedgerAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ProviderClearing(provider) => write!(f, "provider-clearing:{provider}"),
            Self::Available(owner) => write!(f, "available:{owner}"),
            Self::Held(owner) => write!(f, "held:{owner}"),
            Self::PayoutPending(owner) => write!(f, "payout-pending:{owner}"),
            Self::Escrow(order) => write!(f, "escrow:{order}"),
            Self::Receivable(owner) => write!(f, "receivable:{owner}"),
            Self::FeeIncome => write!(f, "fee-income:{MARKETPLACE}"),
            Self::MarketingExpense => write!(f, "marketing-expense:{MARKETPLACE}"),
            Self::AffiliateExpense => write!(f, "affiliate-expense:{MARKETPLACE}"),
            Self::AffiliatePending(owner) => write!(f, "affiliate-pending:{owner}"),
            Self::DeferredRevenue(subscription) => write!(f, "deferred-revenue:{subscription}"),
            Self::SubscriptionIncome => write!(f, "subscription-income:{MARKETPLACE}"),
            Self::Unapplied(charge) => write!(f, "unapplied:{charge}"),
            Self::RefundPending(charge) => write!(f, "refund-pending:{charge}"),
            Self::ProviderFeeExpense => write!(f, "provider-fee-expense:{MARKETPLACE}"),
            Self::ChargebackExpense => write!(f, "chargeback-expense:{MARKETPLACE}"),
        }
    }
}

/// The text names no place where money can be.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("`{0}` is not a ledger account")]
pub struct UnknownLedgerAccount(pub String);

impl FromStr for LedgerAccount {
    type Err = UnknownLedgerAccount;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || UnknownLedgerAccount(text.to_owned());
        let (kind, whose) = text.split_once(':').ok_or_else(unknown)?;
        let owner = || whose.parse().map_err(|_| unknown());
        match kind {
            "provider-clearing" => Ok(Self::ProviderClearing(whose.to_owned())),
            "available" => Ok(Self::Available(owner()?)),
            "held" => Ok(Self::Held(owner()?)),
            "payout-pending" => Ok(Self::PayoutPending(owner()?)),
            "escrow" => Ok(Self::Escrow(whose.parse().map_err(|_| unknown())?)),
            "receivable" => Ok(Self::Receivable(owner()?)),
            "fee-income" if whose == MARKETPLACE => Ok(Self::FeeIncome),
            "marketing-expense" if whose == MARKETPLACE => Ok(Self::MarketingExpense),
            "affiliate-expense" if whose == MARKETPLACE => Ok(Self::AffiliateExpense),
            "affiliate-pending" => Ok(Self::AffiliatePending(owner()?)),
            "deferred-revenue" => Ok(Self::DeferredRevenue(whose.parse().map_err(|_| unknown())?)),
            "subscription-income" if whose == MARKETPLACE => Ok(Self::SubscriptionIncome),
            "unapplied" => Ok(Self::Unapplied(whose.parse().map_err(|_| unknown())?)),
            "refund-pending" => Ok(Self::RefundPending(whose.parse().map_err(|_| unknown())?)),
            "provider-fee-expense" if whose == MARKETPLACE => Ok(Self::ProviderFeeExpense),
            "chargeback-expense" if whose == MARKETPLACE => Ok(Self::ChargebackExpense),
            _ => Err(unknown()),
        }
    }
}

impl Serialize for LedgerAccount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LedgerAccount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for LedgerAccount {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "LedgerAccount".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let kinds = "provider-clearing|available|held|payout-pending|escrow|receivable|fee-income|marketing-expense|\
                     affiliate-expense|affiliate-pending|deferred-revenue|subscription-income|unapplied|refund-pending|\
                     provider-fee-expense|chargeback-expense";
        json_schema!({ "type": "string", "pattern": format!("^({kinds}):.+$") })
    }
}

/// One movement: `amount` leaves nothing unbalanced, since it is debited once and credited once.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Posting {
    /// The account that is debited.
    pub debit: LedgerAccount,
    /// The account that is credited.
    pub credit: LedgerAccount,
    /// How much, above zero.
    pub amount: Money,
}

impl Posting {
    /// `amount` from `debit` to `credit`, in the notation of the domain rules.
    pub fn new(debit: LedgerAccount, credit: LedgerAccount, amount: Money) -> Self {
        Self { debit, credit, amount }
    }
}
