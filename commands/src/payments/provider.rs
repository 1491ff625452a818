//! What a payment provider is asked, and what it says: the interface behind which the sandbox and Stripe are.
//!
//! Every method that moves money carries an `operation` of ours, from which the provider's idempotency key derives:
//! asking twice moves once, whatever happened to the first answer. How a movement ends reaches us in three ways: as the
//! answer, as a webhook, and as the answer to a later check. All three say the same and come to the same use case, which
//! decides on what is known by then, so that they count once in whichever order they come.

use std::collections::BTreeMap;
use std::fmt;

use domain::{AccountId, Money, Timestamp};
use futures::future::{BoxFuture, ready};
use thiserror::Error;
use uuid::Uuid;

/// What a provider is about to answer, unless it cannot be asked.
pub type Asked<'a, T> = BoxFuture<'a, Result<T, ProviderUnreachable>>;

/// Something that must not be printed.
#[derive(Clone, Eq, PartialEq)]
pub struct Secret(String);

impl Secret {
    /// Wraps it.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself. The only way to it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// Money to be brought in from a payment method.
#[derive(Clone, Debug)]
pub struct Charge {
    /// Names the movement: asking twice moves it once.
    pub operation: Uuid,
    /// How much.
    pub amount: Money,
    /// The provider's token for the payment method.
    pub token: String,
    /// The provider's name for the charge, if an earlier answer told it.
    pub reference: Option<String>,
    /// The marketplace's time when it was first to be asked for.
    pub requested_at: Timestamp,
    /// The marketplace's time of the question.
    pub now: Timestamp,
    /// When the provider has asked to be asked again, if this is that second question.
    pub check_at: Option<Timestamp>,
}

/// Money to be sent back to where it was charged, in whole or in part.
#[derive(Clone, Debug)]
pub struct Refund {
    /// Names the movement: asking twice moves it once.
    pub operation: Uuid,
    /// How much.
    pub amount: Money,
    /// The provider's name for the charge.
    pub charge: String,
    /// The token that was charged.
    pub token: String,
    /// The provider's name for the refund, if an earlier answer told it.
    pub reference: Option<String>,
    /// The marketplace's time of the question.
    pub now: Timestamp,
    /// When the provider has asked to be asked again, if this is that second question.
    pub check_at: Option<Timestamp>,
}

/// Money to be sent out.
#[derive(Clone, Debug)]
pub struct Payout {
    /// Names the movement: asking twice moves it once.
    pub operation: Uuid,
    /// How much.
    pub amount: Money,
    /// Where to: the provider's token for a payment method, or its name for a merchant.
    pub destination: String,
    /// The provider's name for the payout, if an earlier answer told it.
    pub reference: Option<String>,
    /// The marketplace's time of the question.
    pub now: Timestamp,
    /// When the provider has asked to be asked again, if this is that second question.
    pub check_at: Option<Timestamp>,
}

/// What a user has to do before a charge can go on, such as proving to their bank who they are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Action {
    /// Where to do it.
    pub redirect_url: Option<String>,
    /// What the provider's own frontend library needs for it.
    pub client_secret: Option<Secret>,
}

/// What a provider says of a movement.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// The money has moved.
    Succeeded {
        /// The provider's name for the movement.
        reference: String,
        /// What the provider keeps for it, if it says so now.
        fee: Option<Money>,
    },
    /// It will not move.
    Declined {
        /// Why, in words for the user.
        reason: String,
    },
    /// It waits for the user. Only charges do.
    ActionRequired {
        /// The provider's name for the movement.
        reference: String,
        /// What the user has to do. Never stored: asked for again when it is needed again.
        action: Action,
        /// When to ask again, should nobody have said until then how it has ended.
        check_at: Timestamp,
    },
    /// Not known yet.
    Pending {
        /// The provider's name for the movement, if it has one already.
        reference: Option<String>,
        /// When to ask again.
        check_at: Timestamp,
    },
}

impl Outcome {
    /// Not asked again before `soonest`, whatever the provider wishes, and however long its answer was on its way.
    pub(crate) fn not_before(self, soonest: Timestamp) -> Self {
        match self {
            Self::Pending { reference, check_at } => Self::Pending { reference, check_at: check_at.max(soonest) },
            Self::ActionRequired { reference, action, check_at } => {
                Self::ActionRequired { reference, action, check_at: check_at.max(soonest) }
            }
            ended @ (Self::Succeeded { .. } | Self::Declined { .. }) => ended,
        }
    }

    /// Whether this says more than is known: that it takes longer does not, if another node has asked the same meanwhile,
    /// so that it is asked again at another time than when the question was asked.
    pub(crate) fn is_news(&self, when_asked: Option<Timestamp>, known: Option<Timestamp>) -> bool {
        self.is_final() || when_asked == known
    }

    /// Whether this is how it ends.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Succeeded { .. } | Self::Declined { .. } => true,
            Self::ActionRequired { .. } | Self::Pending { .. } => false,
        }
    }
}

/// The provider could not be asked; the question is asked again.
#[derive(Debug, Error)]
#[error("the payment provider cannot be reached: {0}")]
pub struct ProviderUnreachable(pub String);

/// A seller who is to become a merchant of the provider's, to be paid out there.
#[derive(Clone, Debug)]
pub struct Onboarding {
    /// Names the merchant that is made, if none was before: asking twice makes one.
    pub operation: Uuid,
    /// The provider's name for the merchant, if there is one already.
    pub reference: Option<String>,
    /// The marketplace's time of the question.
    pub now: Timestamp,
}

/// Where a seller goes on with the provider.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Link {
    /// The provider's name for the merchant.
    pub reference: String,
    /// Where to go on, once.
    pub url: String,
    /// Until when that works.
    pub expires_at: Timestamp,
}

/// Whether a payment method can be used more than once.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Keeping {
    /// It can, under this token from now on.
    Kept {
        /// The token. Not to be shown to anybody, its owner included: whoever has it can charge what it names.
        token: String,
    },
    /// It cannot.
    Refused {
        /// Why, in words for the user.
        reason: String,
    },
}

/// How far a merchant is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MerchantStatus {
    /// Whether money can be sent there.
    pub payouts: bool,
    /// What the provider still wants to know, in its own words.
    pub due: Vec<String>,
}

/// The headers of a webhook, by their names in lower case.
#[derive(Clone, Debug, Default)]
pub struct Headers(BTreeMap<String, String>);

impl Headers {
    /// The value of a header, by its name in lower case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

impl<N: AsRef<str>, V: Into<String>> FromIterator<(N, V)> for Headers {
    /// Of several headers of one name the last counts.
    fn from_iter<I: IntoIterator<Item = (N, V)>>(headers: I) -> Self {
        let lower = |(name, value): (N, V)| (name.as_ref().to_ascii_lowercase(), value.into());
        Self(headers.into_iter().map(lower).collect())
    }
}

/// Why a webhook is not listened to. Told to nobody but the log: whoever forges one learns nothing.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum BadWebhook {
    /// This provider sends none, or no secret is set for it.
    #[error("no webhooks are taken from this provider")]
    NotTaken,
    /// There is no signature, or none that can be read.
    #[error("the signature is missing or cannot be read")]
    Unsigned,
    /// The signature is not that of the body.
    #[error("the signature is not that of the body")]
    WrongSignature,
    /// It was signed too long ago, or in the future.
    #[error("it was signed {off_by_s} s away from now")]
    Stale {
        /// How far from now, in seconds.
        off_by_s: i64,
    },
    /// The body is signed and is not what this provider sends.
    #[error("the body cannot be read: {0}")]
    Unreadable(String),
}

/// Something that a provider says by itself.
///
/// It may come twice, late, in any order or never. It is taken in once (by `id`), and what it says is a claim about the
/// state of something: whoever takes it in decides on what is known by then.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Notice {
    /// The provider's name for this message. Of one provider, no two have the same.
    pub id: String,
    /// When it happened, as the provider says.
    pub at: Timestamp,
    /// Which of our operations it is about, if the provider says so.
    pub operation: Option<Uuid>,
    /// The provider's name for what it is about: of a charge and of its disputes the charge, of a refund the refund, of a
    /// payout the payout, of a merchant the merchant.
    pub reference: String,
    /// What has happened.
    pub what: What,
}

impl Notice {
    /// Refuses what cannot have happened: a movement of nothing, or of less. Every provider's messages pass it.
    pub(crate) fn possible(self) -> Result<Self, BadWebhook> {
        let (moved, fee) = match &self.what {
            What::ChargeSucceeded { amount, fee } => (Some(*amount), *fee),
            What::DisputeOpened { amount, .. } => (Some(*amount), None),
            What::ChargeFailed { .. }
            | What::ChargeActionRequired
            | What::RefundSucceeded
            | What::RefundFailed { .. }
            | What::PayoutPaid
            | What::PayoutFailed { .. }
            | What::DisputeWon { .. }
            | What::DisputeLost { .. }
            | What::MerchantChanged { .. }
            | What::Other => (None, None),
        };
        if moved.is_some_and(|moved| !moved.is_positive()) || fee.is_some_and(|fee| fee.minor() < 0) {
            return Err(BadWebhook::Unreadable("it tells of an amount that is not above zero".to_owned()));
        }
        Ok(self)
    }
}

/// What a provider says has happened. Amounts are above zero; they are held against what was asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum What {
    /// The money of a charge is in.
    ChargeSucceeded {
        /// How much the payer has paid.
        amount: Money,
        /// What the provider keeps of it, if it says so now.
        fee: Option<Money>,
    },
    /// It will not come.
    ChargeFailed {
        /// Why, in words for the user.
        reason: String,
    },
    /// It waits for the user.
    ChargeActionRequired,
    /// Money has gone back to where it was charged.
    RefundSucceeded,
    /// It has not gone back, or has come back from there.
    RefundFailed {
        /// Why.
        reason: String,
    },
    /// Money has arrived where it was sent.
    PayoutPaid,
    /// It has not arrived, or has come back after it had.
    PayoutFailed {
        /// Why.
        reason: String,
    },
    /// The payer disputes a charge, and the provider has taken the money back.
    DisputeOpened {
        /// The provider's name for the dispute.
        dispute: String,
        /// How much was taken back.
        amount: Money,
        /// The provider's word for why.
        reason: String,
    },
    /// The dispute has ended, and the money is ours again.
    DisputeWon {
        /// The provider's name for the dispute.
        dispute: String,
    },
    /// The dispute has ended, and the money is gone.
    DisputeLost {
        /// The provider's name for the dispute.
        dispute: String,
    },
    /// Whether a merchant can be paid out has changed.
    MerchantChanged {
        /// Whether it can now.
        payouts: bool,
    },
    /// Something that is of no interest here.
    Other,
}

/// A movement as the provider has it in its own books, to be held against ours.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Record {
    /// The provider's name for the movement: of charges, refunds and payouts that of the answer that told of them.
    pub reference: String,
    /// Which of our operations it was, if the provider knows.
    pub operation: Option<Uuid>,
    /// What it is.
    pub kind: RecordKind,
    /// How much came in; what went out is below zero.
    pub amount: Money,
    /// What the provider has kept for it, zero or above.
    pub fee: Money,
    /// When, as the provider says.
    pub at: Timestamp,
}

/// What a movement in a provider's books is.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum RecordKind {
    /// Money that came in from a payment method.
    Charge,
    /// Money that went back to one.
    Refund,
    /// A refund that came back.
    RefundReturned,
    /// Money that went out.
    Payout,
    /// Money sent out that came back.
    PayoutReturned,
    /// Money that a disputing payer has got back.
    Dispute,
    /// The same, ours again.
    DisputeReversed,
    /// Anything else, such as the provider's own fees and what goes from it to the marketplace's bank.
    Other,
}

/// A payment provider. Every method that moves money may be called again for the same operation and then moves nothing
/// again.
pub trait PaymentProvider: Send + Sync {
    /// The name in [`domain::wallet::PaymentMethod::provider`].
    fn name(&self) -> &'static str;

    /// Whether a token names a payment method here; asked before a request is accepted.
    fn knows(&self, token: &str) -> bool;

    /// Brings money in.
    fn charge<'a>(&'a self, charge: &'a Charge) -> Asked<'a, Outcome>;

    /// Sends money back to where it was charged.
    fn refund<'a>(&'a self, refund: &'a Refund) -> Asked<'a, Outcome>;

    /// Sends money out.
    fn payout<'a>(&'a self, payout: &'a Payout) -> Asked<'a, Outcome>;

    /// Makes a payment method one that its owner can be charged by more than once; asking twice does it once. As it is,
    /// unless the provider's are good for one payment each.
    fn keep<'a>(&'a self, _owner: AccountId, token: &'a str) -> Asked<'a, Keeping> {
        Box::pin(ready(Ok(Keeping::Kept { token: token.to_owned() })))
    }

    /// Begins or continues to make a merchant of a seller.
    fn onboard<'a>(&'a self, onboarding: &'a Onboarding) -> Asked<'a, Link>;

    /// How far a merchant is.
    fn merchant<'a>(&'a self, reference: &'a str) -> Asked<'a, MerchantStatus>;

    /// Verifies a webhook and reads what it says. `now` is real time, whatever the marketplace's clock shows.
    fn read_webhook(&self, headers: &Headers, body: &[u8], now: Timestamp) -> Result<Vec<Notice>, BadWebhook>;

    /// Looks at what a message is about before it is taken in: fills in what it does not say, and puts right at the provider
    /// what it leaves there. A message for which that could not be done is not taken in, and has to be sent again.
    fn complete(&self, notice: Notice) -> Asked<'_, Notice> {
        Box::pin(ready(Ok(notice)))
    }

    /// What the provider has in its own books from `from` up to and without `to`.
    fn records(&self, from: Timestamp, to: Timestamp) -> Asked<'_, Vec<Record>>;

    /// What becomes of a charge or a payout that has succeeded, where there is no provider outside that would send it as
    /// a webhook. Nothing, but at the sandbox.
    fn aftermath(&self, _operation: Uuid, _token: &str, _amount: Money, _now: Timestamp) -> Vec<Notice> {
        Vec::new()
    }
}
