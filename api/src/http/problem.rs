//! Errors as RFC 9457 problems, and the one place that maps refusals of the domain to HTTP.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use commands::CommandError;
use domain::money::MoneyError;
use domain::{
    Money, Refusal, account, address_book, affiliate, album, auction, broadcast, category, category_tree, charge, chat,
    claim, commission, complaint, contacts, escrow, fee_rule, feedback, image, inbox, listing, order, order_group,
    page, plan, points, report, reporter, review, seller, session, stock, store, subscription, wallet,
};
use eventstore::Position;
use eventstore::progress::Behind;
use eventstore::wrapping::KeyError;
use serde_json::{Map, Value, json};

mod payouts;

/// The media type of a problem.
pub const MEDIA_TYPE: &str = "application/problem+json";
/// The members that every problem has, which no number of a rule may be called after.
const MEMBERS: [&str; 6] = ["type", "title", "status", "detail", "instance", "errors"];
/// Tells the position that an answer rests on.
pub const POSITION_HEADER: HeaderName = HeaderName::from_static("tradepost-position");

/// Something wrong with one field of a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FieldError {
    /// A JSON pointer into the body, the name of a query parameter after `?`, or that of a header.
    pub pointer: String,
    /// What kind of error, stable.
    pub code: &'static str,
    /// In words.
    pub detail: String,
}

/// An answer that is not what was asked for. Boxed, since it is what almost every function may answer instead.
#[derive(Clone, Debug)]
pub struct Problem(Box<Content>);

#[derive(Clone, Debug)]
struct Content {
    slug: &'static str,
    status: StatusCode,
    title: &'static str,
    detail: String,
    numbers: Map<String, Value>,
    fields: Vec<FieldError>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem of the kind that `slug` names for ever.
    pub fn new(status: StatusCode, slug: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self(Box::new(Content {
            slug,
            status,
            title,
            detail: detail.into(),
            numbers: Map::new(),
            fields: Vec::new(),
            headers: Vec::new(),
        }))
    }

    /// A thing that does not exist, or that the caller may not see.
    pub fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", format!("There is no such {what}."))
    }

    /// Nobody has proved to be anybody.
    pub fn unauthenticated(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", "Not logged in", detail)
            .with_header(header::WWW_AUTHENTICATE, "Bearer")
    }

    /// The request cannot be read at all.
    pub fn bad_request(slug: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, slug, "The request cannot be read", detail)
    }

    /// The request can be read, and some field of it is wrong.
    pub fn invalid(fields: Vec<FieldError>) -> Self {
        let detail = fields.iter().map(|field| format!("{}: {}", field.pointer, field.detail)).collect::<Vec<_>>();
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-field", "A field is wrong", detail.join("; "))
            .with_fields(fields)
    }

    /// One field is wrong.
    pub fn invalid_field(pointer: impl Into<String>, code: &'static str, detail: impl Into<String>) -> Self {
        Self::invalid(vec![FieldError { pointer: pointer.into(), code, detail: detail.into() }])
    }

    /// The server cannot do it now.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Not available now", detail)
            .with_header(header::RETRY_AFTER, "1")
    }

    /// The sender or the account has asked too much, and may ask again after so many seconds.
    pub fn too_many_requests(detail: impl Into<String>, seconds: u128) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", "Too many requests", detail)
            .with_header(header::RETRY_AFTER, &seconds.to_string())
    }

    /// A defect of the server. The cause goes to the log, never to the caller.
    pub fn internal() -> Self {
        let detail = "Something went wrong on our side; the request id finds it in the log.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error", detail)
    }

    /// The same, with a number of the rule.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        debug_assert!(!MEMBERS.contains(&name), "`{name}` is a member of every problem");
        self.0.numbers.insert(name.to_owned(), value.into());
        self
    }

    /// The same, with an amount of the rule.
    #[must_use]
    pub fn with_money(self, name: &str, amount: Money) -> Self {
        self.with(name, json!(amount))
    }

    /// The same, with a header, instead of one of that name that it may have.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: &str) -> Self {
        self.0.headers.retain(|(known, _)| *known != name);
        self.0.headers.extend(HeaderValue::from_str(value).map(|value| (name, value)));
        self
    }

    fn with_fields(mut self, fields: Vec<FieldError>) -> Self {
        self.0.fields = fields;
        self
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The stable name of this kind of problem.
    pub fn slug(&self) -> &'static str {
        self.0.slug
    }

    /// The JSON document; `instance` is the id of the request.
    pub fn document(&self, instance: &str) -> Value {
        let mut document = Map::new();
        document.insert("type".to_owned(), json!(format!("/problems/{}", self.0.slug)));
        document.insert("title".to_owned(), json!(self.0.title));
        document.insert("status".to_owned(), json!(self.0.status.as_u16()));
        document.insert("detail".to_owned(), json!(self.0.detail));
        document.insert("instance".to_owned(), json!(instance));
        document.extend(self.0.numbers.clone());
        if !self.0.fields.is_empty() {
            let fields = self.0.fields.iter();
            let fields = fields.map(|f| json!({ "pointer": f.pointer, "code": f.code, "detail": f.detail }));
            document.insert("errors".to_owned(), fields.collect());
        }
        Value::Object(document)
    }

    /// The response, once the id of the request is known.
    pub fn render(&self, instance: &str) -> Response {
        let headers = [(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE))];
        let mut response = (self.0.status, headers, self.document(instance).to_string()).into_response();
        response.headers_mut().extend(self.0.headers.iter().cloned());
        response
    }
}

impl IntoResponse for Problem {
    /// Travels as an extension to the outermost layer, which knows the id of the request and renders it.
    fn into_response(self) -> Response {
        let mut response = self.0.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        if eventstore::database::is_outage(&error) {
            tracing::warn!(%error, "the database is not available to a query");
            return Self::unavailable("The database is not available.");
        }
        tracing::error!(%error, "a query failed");
        Self::internal()
    }
}

impl From<KeyError> for Problem {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Sql(error) => error.into(),
            // As while nodes get a new wrapping key one by one: another node can do it, and so can this one soon.
            KeyError::NotGiven { .. } | KeyError::UnknownLayout(_) => {
                tracing::error!(%error, "a key is missing");
                Self::unavailable("This node lacks a key.")
            }
            KeyError::Altered(_) => {
                tracing::error!(%error, "the key of a person is damaged");
                Self::internal()
            }
        }
    }
}

impl From<Behind> for Problem {
    fn from(behind: Behind) -> Self {
        let title = "The read model is behind";
        let detail = "What was asked for has not reached this read model yet.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "projection-behind", title, detail)
            .with("projection", behind.follower)
            .with("reached", behind.reached)
            .with("min_position", behind.wanted)
            .with_header(header::RETRY_AFTER, "1")
    }
}

impl From<CommandError> for Problem {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Refused { refusal, position } => Self::from(refusal).at(position),
            CommandError::KeyReused => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency-key-reused",
                "Idempotency-Key used before",
                "This Idempotency-Key was used before for another request.",
            ),
            CommandError::RefusedBefore { position } => Self::new(
                StatusCode::CONFLICT,
                "refused-before",
                "Refused before",
                "This was refused when it was sent before, and stays refused under this Idempotency-Key. Send it under another.",
            )
            .at(position),
            CommandError::InFlight => Self::new(
                StatusCode::CONFLICT,
                "idempotency-key-in-flight",
                "Idempotency-Key in use",
                "A request with this Idempotency-Key is being carried out.",
            ),
            CommandError::Overloaded => Self::unavailable("Too many commands are waiting."),
            CommandError::Unavailable => Self::unavailable(
                "The database is not available. Whether this was carried out, a retry with the same Idempotency-Key tells.",
            ),
            CommandError::Defect => Self::internal(),
        }
    }
}

impl Problem {
    fn at(self, position: Position) -> Self {
        self.with("position", position).with_header(POSITION_HEADER, &position.to_string())
    }
}

/// A rule says no: 422 unless something better fits.
fn rule(slug: &'static str, title: &'static str, refusal: impl std::fmt::Display) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, slug, title, sentence(refusal))
}

/// Somebody else or something else was first.
fn conflict(slug: &'static str, title: &'static str, refusal: impl std::fmt::Display) -> Problem {
    Problem::new(StatusCode::CONFLICT, slug, title, sentence(refusal))
}

fn sentence(refusal: impl std::fmt::Display) -> String {
    let text = refusal.to_string();
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Account(error) => account_problem(error),
            Refusal::AddressBook(error) => address_book_problem(error),
            Refusal::Affiliate(error) => affiliate_problem(error),
            Refusal::Album(error) => album_problem(error),
            Refusal::Auction(error) => auction_problem(error),
            Refusal::Broadcast(error) => broadcast_problem(error),
            Refusal::Category(error) => category_problem(error),
            Refusal::Charge(error) => charge_problem(error),
            Refusal::Chat(error) => chat_problem(error),
            Refusal::CategoryTree(error) => category_tree_problem(error),
            Refusal::Claim(error) => claim_problem(error),
            Refusal::Commission(error) => commission_problem(error),
            Refusal::Complaint(error) => complaint_problem(error),
            Refusal::Contacts(error) => contacts_problem(error),
            Refusal::Correlation(error) => match error {},
            Refusal::Escrow(error) => escrow_problem(error),
            Refusal::Favorite(error) => match error {},
            Refusal::FeeRule(error) => fee_rule_problem(error),
            Refusal::Feedback(error) => feedback_problem(error),
            Refusal::Image(error) => image_problem(error),
            Refusal::Inbox(error) => inbox_problem(error),
            Refusal::Listing(error) => listing_problem(error),
            Refusal::Merchant(error) => payouts::merchant_problem(error),
            Refusal::Money(error) => money_problem(error),
            Refusal::Order(error) => order_problem(error),
            Refusal::OrderGroup(error) => order_group_problem(error),
            Refusal::Page(error) => page_problem(error),
            Refusal::Payee(error) => payouts::payee_problem(error),
            Refusal::Payout(error) => payouts::payout_problem(error),
            Refusal::Plan(error) => plan_problem(error),
            Refusal::Points(error) => points_problem(error),
            Refusal::Referral(error) => match error {},
            Refusal::ReferralClick(error) => match error {},
            Refusal::Report(error) => report_problem(error),
            Refusal::Reporter(error) => reporter_problem(error),
            Refusal::Review(error) => review_problem(error),
            Refusal::Seller(error) => seller_problem(error),
            Refusal::Session(error) => session_problem(error),
            Refusal::Stock(error) => stock_problem(error),
            Refusal::Store(error) => store_problem(error),
            Refusal::Subscription(error) => subscription_problem(error),
            Refusal::View(error) => match error {},
            Refusal::Vote(error) => match error {},
            Refusal::Wallet(error) => wallet_problem(error),
            Refusal::VersionMismatch { expected, actual } => {
                Self::new(StatusCode::PRECONDITION_FAILED, "version-mismatch", "Changed meanwhile", sentence(refusal))
                    .with("expected", expected)
                    .with("actual", actual)
            }
        }
    }
}

fn account_problem(error: account::Error) -> Problem {
    use account::Error as E;
    match error {
        E::NotRegistered => Problem::unauthenticated(sentence(error)),
        E::NotFound => Problem::not_found("account"),
        E::OwnAccount => Problem::new(StatusCode::FORBIDDEN, "own-account", "Own account", sentence(error)),
        E::LastAdmin => conflict("last-admin", "The only administrator", error),
        E::AlreadyRegistered => conflict("already-registered", "Already registered", error),
        E::SealedForAnother => Problem::internal(),
        E::MissingCapability { needed } => {
            let title = "Not allowed";
            Problem::new(StatusCode::FORBIDDEN, "missing-capability", title, sentence(error))
                .with("needed", needed.name())
        }
        E::Suspended => Problem::new(StatusCode::FORBIDDEN, "account-suspended", "Account suspended", sentence(error)),
        E::AskedAMomentAgo { again_at } => conflict("too-early", "Too early", error).with("again_at", json!(again_at)),
        E::WrongAnswer => rule("token-not-good", "Token not good", error),
        E::NotSettled { available, held, owed } => conflict("account-not-settled", "Not settled yet", error)
            .with_money("available", available)
            .with_money("held", held)
            .with_money("owed", owed),
        E::EmailChangedMeanwhile => conflict("email-changed", "Changed meanwhile", error),
        E::UserNameChangedMeanwhile => conflict("user-name-changed", "Changed meanwhile", error),
        E::PasswordChangedMeanwhile => conflict("password-changed", "Changed meanwhile", error),
        E::Blocked { violations } => {
            Problem::new(StatusCode::FORBIDDEN, "account-blocked", "Account blocked", sentence(error))
                .with("violations", violations)
        }
    }
}

fn address_book_problem(error: address_book::Error) -> Problem {
    use address_book::Error as E;
    match error {
        E::NotFound => Problem::not_found("address"),
        E::AlreadyAdded => conflict("already-exists", "Already exists", error),
        E::Full { maximum } => rule("too-many-addresses", "Too many addresses", error).with("maximum", maximum),
        E::SealedForAnother => Problem::internal(),
        E::UnknownPlace => rule("unknown-place", "Unknown place", error),
    }
}

fn affiliate_problem(error: affiliate::Error) -> Problem {
    use affiliate::Error as E;
    match error {
        E::AlreadyEnrolled => conflict("already-enrolled", "Already enrolled", error),
        E::SealedForAnother => Problem::internal(),
        E::NoSuchCode => Problem::not_found("referral code"),
        E::OwnCode => rule("own-code", "Own code", error),
    }
}

fn album_problem(error: album::Error) -> Problem {
    let album::Error::Full { there, offered, most } = error;
    rule("too-many-pictures", "Too many pictures", error)
        .with("there", there)
        .with("offered", offered)
        .with("maximum", most)
}

fn broadcast_problem(error: broadcast::Error) -> Problem {
    use broadcast::Error as E;
    match error {
        E::NotFound => Problem::not_found("account"),
        E::AlreadySent => conflict("already-exists", "Already exists", error),
        E::StillShown { until } => conflict("too-early", "Too early", error).with("until", json!(until)),
        E::SealedForAnother => Problem::internal(),
    }
}

fn inbox_problem(error: inbox::Error) -> Problem {
    use inbox::Error as E;
    match error {
        E::Fixed { kind } => rule("preference-fixed", "Cannot be turned off", error).with("kind", kind.name()),
        E::TooEarly { clean_up_at } => conflict("too-early", "Too early", error).with("again_at", json!(clean_up_at)),
    }
}

fn chat_problem(error: chat::Error) -> Problem {
    use chat::Error as E;
    match error {
        E::NotFound => Problem::not_found("chat"),
        E::WithOneself => rule("chat-with-oneself", "Nobody else is there", error),
        E::NobodyThere => rule("nobody-there", "Nobody is there", error),
        E::SealedForAnother => Problem::internal(),
        E::TooManyUnanswered { maximum, again_at } => rule("too-many-unanswered", "Not answered yet", error)
            .with("maximum", maximum)
            .with("again_at", json!(again_at)),
    }
}

fn contacts_problem(error: contacts::Error) -> Problem {
    let contacts::Error::TooManyToday { maximum } = error;
    rule("too-many-chats", "Too many chats on one day", error).with("maximum", maximum)
}

fn charge_problem(error: charge::Error) -> Problem {
    use charge::Error as E;
    match error {
        E::NotFound => Problem::not_found("payment"),
        E::AlreadyRequested => conflict("already-exists", "Already exists", error),
        E::AmountNotPositive { offered } => {
            rule("amount-not-positive", "Amount not above zero", error).with_money("offered", offered)
        }
        E::AmountDiffers { expected, offered } => rule("amount-differs", "Another amount", error)
            .with_money("expected", expected)
            .with_money("offered", offered),
        E::MoreThanCharged { remaining, offered } => rule("more-than-charged", "More than charged", error)
            .with_money("remaining", remaining)
            .with_money("offered", offered),
        E::NotSucceeded => conflict("payment-not-succeeded", "Not paid", error),
        E::UnderWay => conflict("payment-under-way", "Payment under way", error),
        E::TooManyAttempts { maximum } => {
            conflict("too-many-payments", "Tried too often", error).with("maximum", maximum)
        }
        E::TooEarlyToRetry { retry_at } => conflict("too-early", "Too early", error).with("retry_at", json!(retry_at)),
        E::Money(error) => money_problem(error),
    }
}

fn commission_problem(error: commission::Error) -> Problem {
    match error {
        commission::Error::AlreadyAccrued => conflict("already-exists", "Already exists", error),
        commission::Error::Money(error) => money_problem(error),
    }
}

fn auction_problem(error: auction::Error) -> Problem {
    use auction::Error as E;
    match error {
        // What others are offered is nobody's business.
        E::NotScheduled | E::NoSecondChance => Problem::not_found("auction"),
        E::AlreadyScheduled => conflict("already-scheduled", "Already scheduled", error),
        E::DurationOutOfRange { shortest_s, longest_s, offered_s } => {
            rule("duration-out-of-range", "Duration out of range", error)
                .with("minimum_s", shortest_s)
                .with("maximum_s", longest_s)
                .with("offered_s", offered_s)
        }
        E::StartInPast { starts_at, now } => rule("start-in-past", "Start in the past", error)
            .with("starts_at", json!(starts_at))
            .with("now", json!(now)),
        E::StartPriceNotPositive { offered } => {
            rule("price-not-positive", "Price not above zero", error).with_money("offered", offered)
        }
        E::ReserveBelowStart { offered, minimum } => rule("reserve-below-start", "Reserve too low", error)
            .with_money("offered", offered)
            .with_money("minimum", minimum),
        E::BuyNowTooLow { offered, minimum } => rule("buy-now-too-low", "Buy-now price too low", error)
            .with_money("offered", offered)
            .with_money("minimum", minimum),
        E::WrongCurrency { expected, offered } => wrong_currency(error, expected, offered),
        E::NotStarted { starts_at } => {
            conflict("auction-not-started", "Not started", error).with("starts_at", json!(starts_at))
        }
        E::Ended { ended_at } => conflict("auction-ended", "Ended", error).with("ended_at", json!(ended_at)),
        E::NotEnded { ends_at } => conflict("auction-not-ended", "Not ended", error).with("ends_at", json!(ends_at)),
        E::Cancelled => conflict("auction-cancelled", "Cancelled", error),
        E::OwnItem => rule("own-item", "Own item", error),
        E::BidTooHigh { limit, offered } => {
            rule("bid-too-high", "Bid too high", error).with_money("limit", limit).with_money("offered", offered)
        }
        E::BidTooLow { minimum, offered } => {
            rule("bid-too-low", "Bid too low", error).with_money("minimum", minimum).with_money("offered", offered)
        }
        E::BuyNowUnavailable => conflict("buy-now-unavailable", "Cannot be bought at once", error),
        E::HasBids { bids } => conflict("auction-has-bids", "Has bids", error).with("bids", bids),
        E::NotForfeited => conflict("not-forfeited", "Nobody failed to pay", error),
        E::SecondChanceOpen { until } => {
            conflict("second-chance-open", "Offered to somebody", error).with("until", json!(until))
        }
        E::NoUnderbidder => conflict("no-underbidder", "No underbidder", error),
        E::SecondChanceOver { until } => {
            conflict("second-chance-over", "Not taken in time", error).with("until", json!(until))
        }
        E::SecondChanceTaken => conflict("second-chance-taken", "Taken already", error),
    }
}

fn claim_problem(error: claim::Error) -> Problem {
    match error {
        claim::Error::Taken { kind: claim::Kind::Email } => {
            taken("email-taken", "E-mail address taken", "/email", "This e-mail address belongs to an account.")
        }
        claim::Error::Taken { kind: claim::Kind::UserName } => {
            taken("user-name-taken", "User name taken", "/user_name", "This user name belongs to an account.")
        }
        claim::Error::Taken { kind: claim::Kind::StoreSlug } => {
            taken("slug-taken", "Slug taken", "/slug", "This slug belongs to a store.")
        }
        claim::Error::Taken { kind: claim::Kind::ReferralCode } => {
            conflict("referral-code-taken", "Taken by chance", error)
        }
        claim::Error::Taken { kind: claim::Kind::Identity } => {
            conflict("identity-taken", "Belongs to another account", error)
        }
        claim::Error::NotYours => conflict("not-yours", "Not yours", error),
    }
}

fn taken(slug: &'static str, title: &'static str, pointer: &str, detail: &str) -> Problem {
    let field = FieldError { pointer: pointer.to_owned(), code: "taken", detail: detail.to_owned() };
    Problem::new(StatusCode::CONFLICT, slug, title, detail).with_fields(vec![field])
}

fn complaint_problem(error: complaint::Error) -> Problem {
    use complaint::Error as E;
    match error {
        E::NotFound => Problem::not_found("complaint"),
        E::AlreadyOpen => conflict("already-complained", "Already complained", error),
        E::OwnComplaint => own("own-complaint", "Own complaint", error),
        E::NotDone { outcome } => conflict("not-done", "Not done", error).with("outcome", outcome.name()),
        E::SealedForAnother => Problem::internal(),
    }
}

fn feedback_problem(error: feedback::Error) -> Problem {
    match error {
        feedback::Error::AlreadyGiven => conflict("already-given", "Already given", error),
        feedback::Error::SealedForAnother => Problem::internal(),
    }
}

fn report_problem(error: report::Error) -> Problem {
    use report::Error as E;
    match error {
        E::NotFound => Problem::not_found("report"),
        E::NoSuchTarget { kind } => Problem::not_found(kind),
        E::OwnThing => rule("own-thing", "Your own", error),
        E::AlreadyOpen => conflict("already-reported", "Already reported", error),
        E::OwnReport => own("own-report", "Own report", error),
        E::OutcomeUnfit { kind, outcome } => {
            rule("outcome-unfit", "No such outcome", error).with("kind", kind).with("outcome", outcome.name())
        }
        E::NotDone { outcome } => conflict("not-done", "Not done", error).with("outcome", outcome.name()),
        E::SealedForAnother => Problem::internal(),
    }
}

fn reporter_problem(error: reporter::Error) -> Problem {
    let reporter::Error::TooMany { maximum } = error;
    rule("too-many-reports", "Too many reports", error).with("maximum", maximum)
}

fn review_problem(error: review::Error) -> Problem {
    use review::Error as E;
    match error {
        E::NotFound => Problem::not_found("review"),
        E::AlreadyReviewed => conflict("already-reviewed", "Already reviewed", error),
        E::NotBought => rule("not-bought", "Not in the order", error),
        E::TooManyImages { maximum, offered } => {
            rule("too-many-images", "Too many images", error).with("maximum", maximum).with("offered", offered)
        }
        E::AlreadyReplied => conflict("already-replied", "Already replied", error),
        E::Hidden => conflict("review-hidden", "Hidden", error),
        E::OwnReview => own("own-review", "Own review", error),
        E::SealedForAnother => Problem::internal(),
    }
}

/// Nobody decides on what concerns themselves.
fn own(slug: &'static str, title: &'static str, refusal: impl std::fmt::Display) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, slug, title, sentence(refusal))
}

fn escrow_problem(error: escrow::Error) -> Problem {
    use escrow::Error as E;
    match error {
        E::NotFound => Problem::not_found("escrow"),
        E::AlreadyOpened => conflict("already-exists", "Already exists", error),
        E::WrongStatus { status } => {
            conflict("wrong-escrow-status", "Not in this status", error).with("actual", status.name())
        }
        E::AmountNotPositive { offered } => {
            rule("amount-not-positive", "Amount not above zero", error).with_money("offered", offered)
        }
        E::MoreThanRemains { remaining, offered } => rule("more-than-remains", "More than remains", error)
            .with_money("remaining", remaining)
            .with_money("offered", offered),
        E::InspectionRunning { ends_at } => {
            conflict("inspection-running", "Inspection not over", error).with("ends_at", json!(ends_at))
        }
        E::InspectionOver { ended_at } => {
            conflict("inspection-over", "Inspection over", error).with("ended_at", json!(ended_at))
        }
        E::TooEarlyToRemind { remind_at } => {
            conflict("too-early", "Too early", error).with("remind_at", json!(remind_at))
        }
        E::NotOverdue { ship_by } => conflict("not-overdue", "Not overdue", error).with("ship_by", json!(ship_by)),
        E::DisputeOpen { expires_at } => {
            conflict("dispute-open", "Dispute open", error).with("expires_at", json!(expires_at))
        }
        E::NotDisputed { status } => conflict("not-disputed", "Not disputed", error).with("actual", status.name()),
        E::Money(error) => money_problem(error),
    }
}

fn order_problem(error: order::Error) -> Problem {
    use order::Error as E;
    match error {
        E::NotFound => Problem::not_found("order"),
        E::AlreadyPlaced => conflict("already-exists", "Already exists", error),
        E::LinesOutOfRange { maximum, offered } => rule("lines-out-of-range", "Too many lines or none", error)
            .with("maximum", maximum)
            .with("offered", offered),
        E::QuantityOutOfRange { maximum, offered } => rule("quantity-out-of-range", "Quantity out of range", error)
            .with("maximum", maximum)
            .with("offered", offered),
        E::SeveralCurrencies { first, other } => rule("several-currencies", "Several currencies", error)
            .with("expected", first.code())
            .with("offered", other.code()),
        E::OwnItem => rule("own-item", "Own item", error),
        E::WrongParty { needed } => {
            Problem::new(StatusCode::FORBIDDEN, "wrong-party", "For the other side", sentence(error))
                .with("needed", needed.name())
        }
        E::WrongStage { status, needed } => conflict("wrong-order-status", "Not in this status", error)
            .with("actual", status.name())
            .with("needed", needed.name()),
        E::NeedsNoShipping => rule("needs-no-shipping", "Needs no shipping", error),
        E::CashNeedsDelivery => rule("cash-needs-delivery", "Not for cash", error),
        E::CashIsForGuests => rule("cash-is-for-guests", "Cash is for guests", error),
        E::NoCash => rule("no-cash", "No cash on delivery", error),
        E::NoCard => rule("no-card", "No cards", error),
        E::NoStore => Problem::not_found("store"),
        E::SealedForAnother => Problem::internal(),
        E::NeedsNoConfirmation => rule("needs-no-confirmation", "Needs no confirmation", error),
        E::PaidInCash => conflict("paid-in-cash", "Paid in cash", error),
        E::ConfirmationOverdue { confirm_by } => {
            conflict("confirmation-overdue", "Confirmation overdue", error).with("confirm_by", json!(confirm_by))
        }
        E::NotOverdue { until } => conflict("not-overdue", "Not overdue", error).with("until", json!(until)),
        E::TooEarlyToForget { forget_at } => {
            conflict("too-early", "Too early", error).with("forget_at", json!(forget_at))
        }
        E::SellerIsNoWitness => {
            let title = "Not for the seller to say";
            Problem::new(StatusCode::FORBIDDEN, "seller-is-no-witness", title, sentence(error))
        }
        E::Binding => conflict("win-is-binding", "A win is binding", error),
        E::TooLateToCancel { status } => {
            conflict("too-late-to-cancel", "Too late to cancel", error).with("actual", status.name())
        }
        E::TooEarlyToDispute { dispute_at } => {
            conflict("too-early", "Too early", error).with("dispute_at", json!(dispute_at))
        }
        E::TooEarlyToAsk { ask_at } => conflict("too-early", "Too early", error).with("ask_at", json!(ask_at)),
    }
}

fn order_group_problem(error: order_group::Error) -> Problem {
    use order_group::Error as E;
    match error {
        E::NotFound => Problem::not_found("group of orders"),
        E::AlreadyPlaced => conflict("already-exists", "Already exists", error),
        E::AlreadyPaid => conflict("already-paid", "Already paid", error),
        E::PaymentOverdue { pay_by } => {
            conflict("payment-overdue", "Payment overdue", error).with("pay_by", json!(pay_by))
        }
        E::NotOverdue { pay_by } => conflict("not-overdue", "Not overdue", error).with("pay_by", json!(pay_by)),
    }
}

fn plan_problem(error: plan::Error) -> Problem {
    use plan::Error as E;
    let field = |pointer: &str, code| Problem::invalid_field(pointer, code, error.to_string());
    match error {
        E::NotFound => Problem::not_found("plan"),
        E::Free => rule("free-plan", "Not sold", error),
        E::Retired => conflict("plan-retired", "Retired", error),
        E::NotSoldIn { currency } => {
            rule("not-sold-in-currency", "Not sold in this currency", error).with("currency", currency.code())
        }
        E::PriceNotPositive { offered } => {
            rule("price-not-positive", "Price not above zero", error).with_money("offered", offered)
        }
        E::PriceTooHigh { limit, offered } => {
            rule("price-too-high", "Price too high", error).with_money("limit", limit).with_money("offered", offered)
        }
        E::CurrencyRepeated { .. } => field("/prices", "repeated"),
        E::NoPrice => field("/prices", "missing"),
        E::FreeHasPrice => field("/prices", "unexpected"),
        E::FreeStays => field("/retired", "unexpected"),
        E::FeeOutOfRange { maximum, offered } => fee_out_of_range(error, maximum, offered),
        E::PeriodOutOfRange { shortest, longest, offered } => rule("period-out-of-range", "Period out of range", error)
            .with("minimum", shortest)
            .with("maximum", longest)
            .with("offered", offered),
    }
}

fn seller_problem(error: seller::Error) -> Problem {
    use seller::Error as E;
    match error {
        E::TooManyOffers { most, there } => rule("listing-limit", "As many on offer as the plan allows", error)
            .with("maximum", most)
            .with("there", there),
        E::FeeOutOfRange { maximum, offered } => fee_out_of_range(error, maximum, offered),
    }
}

fn fee_rule_problem(error: fee_rule::Error) -> Problem {
    let fee_rule::Error::FeeOutOfRange { maximum, offered } = error;
    fee_out_of_range(error, maximum, offered)
}

fn fee_out_of_range(error: impl std::fmt::Display, maximum: u32, offered: u32) -> Problem {
    rule("fee-out-of-range", "Fee out of range", error).with("maximum", maximum).with("offered", offered)
}

fn subscription_problem(error: subscription::Error) -> Problem {
    use subscription::Error as E;
    match error {
        E::NotFound => Problem::not_found("subscription"),
        E::AlreadySubscribed { renews_at } => {
            conflict("already-subscribed", "Already subscribed", error).with("renews_at", json!(renews_at))
        }
        E::NotDue { at } => conflict("too-early", "Too early", error).with("at", json!(at)),
        E::Money(error) => money_problem(error),
    }
}

fn points_problem(error: points::Error) -> Problem {
    use points::Error as E;
    match error {
        E::NotEnough { available, requested } => rule("not-enough-points", "Not enough points", error)
            .with("available", available)
            .with("requested", requested),
        E::MoreThanPrice { maximum, offered } => rule("more-points-than-price", "More points than the price", error)
            .with("maximum", maximum)
            .with("offered", offered),
        E::WorthNothing { offered } => {
            rule("points-pay-nothing", "Points pay for nothing here", error).with("offered", offered)
        }
    }
}

fn stock_problem(error: stock::Error) -> Problem {
    use stock::Error as E;
    match error {
        E::OutOfStock { listing, available, requested } => conflict("out-of-stock", "Out of stock", error)
            .with("listing_id", listing.to_string())
            .with("available", available)
            .with("requested", requested),
        E::HeldForGuests { listing, available, requested } => conflict("held-for-guests", "Held for guests", error)
            .with("listing_id", listing.to_string())
            .with("available", available)
            .with("requested", requested),
        E::TooMany { maximum, offered } => {
            rule("stock-out-of-range", "Stock out of range", error).with("maximum", maximum).with("offered", offered)
        }
        E::AlreadyReserved => conflict("already-reserved", "Already reserved", error),
        E::NotReserved => conflict("not-reserved", "Not reserved", error),
    }
}

fn category_problem(error: category::Error) -> Problem {
    use category::Error as E;
    let field = |pointer: String, code| Problem::invalid_field(pointer, code, error.to_string());
    match error {
        E::NotFound => Problem::not_found("category"),
        E::AlreadyDefined => conflict("already-exists", "Already exists", error),
        E::Closed => conflict("category-closed", "Category closed", error),
        E::NoSuchParent => field("/parent".to_owned(), "unknown"),
        E::FeeOutOfRange { maximum, offered } => fee_out_of_range(error, maximum, offered),
        E::AttributeRepeated { .. } => field("/attributes".to_owned(), "repeated"),
        E::OptionsWrong { .. } => field("/attributes".to_owned(), "options"),
        E::UnknownAttribute { attribute } => field(format!("/attributes/{attribute}"), "unknown"),
        E::WrongKind { attribute, .. } => field(format!("/attributes/{attribute}"), "wrong-kind"),
        E::NotAnOption { attribute, .. } => field(format!("/attributes/{attribute}"), "not-an-option"),
        E::AttributeMissing { attribute } => field(format!("/attributes/{attribute}"), "missing"),
    }
}

fn category_tree_problem(error: category_tree::Error) -> Problem {
    use category_tree::Error as E;
    match error {
        E::Cycle => Problem::invalid_field("/parent".to_owned(), "cycle", error.to_string()),
        E::TooDeep { deepest } => rule("category-too-deep", "Too deep", error).with("maximum", deepest),
    }
}

fn store_problem(error: store::Error) -> Problem {
    use store::Error as E;
    let forbidden = |slug, title| Problem::new(StatusCode::FORBIDDEN, slug, title, sentence(error));
    match error {
        E::NotFound => Problem::not_found("store"),
        E::AlreadyOpen => conflict("already-exists", "Already exists", error),
        E::SealedForAnother => Problem::internal(),
        E::Suspended => forbidden("store-suspended", "Store suspended"),
        E::Removed => forbidden("store-removed", "Store removed"),
        E::OwnStore => forbidden("own-store", "Own store"),
        E::NotVerified { kyc } => forbidden("store-not-verified", "Store not verified").with("kyc", kyc.name()),
    }
}

fn listing_problem(error: listing::Error) -> Problem {
    use listing::Error as E;
    match error {
        E::NotFound => Problem::not_found("listing"),
        E::AlreadyDrafted => conflict("already-exists", "Already exists", error),
        E::PriceNotPositive { offered } => {
            rule("price-not-positive", "Price not above zero", error).with_money("offered", offered)
        }
        E::ShippingNegative { offered } => {
            rule("shipping-negative", "Shipping below zero", error).with_money("offered", offered)
        }
        E::WrongCurrency { expected, offered } => wrong_currency(error, expected, offered),
        E::SkuRepeated { variants, skus } => {
            rule("sku-repeated", "SKU repeated", error).with("variants", variants).with("skus", skus)
        }
        E::NoSuchVariant { variants } => rule("no-such-variant", "No such variant", error).with("variants", variants),
        E::NotOffered => conflict("not-offered", "Not offered", error),
        E::SoldByAuction => rule("sold-by-auction", "Sold by auction", error),
        E::Archived => conflict("listing-archived", "Archived", error),
        E::AuctionPublished => conflict("auction-published", "Published", error),
        E::AuctionRunning => conflict("auction-running", "Auction running", error),
        E::Removed => conflict("listing-removed", "Removed", error),
        E::AuctionReviewed => conflict("auction-reviewed", "Reviewed", error),
        E::NotPending => conflict("not-pending", "Not pending", error),
        E::OwnListing => Problem::new(StatusCode::FORBIDDEN, "own-listing", "Own listing", sentence(error)),
        E::ReviewOpen { review_until } => {
            conflict("too-early", "Too early", error).with("review_until", json!(review_until))
        }
        E::DiscountNotTurning { at } => conflict("too-early", "Too early", error).with("at", json!(at)),
        E::NoDiscount { price, offered } => {
            rule("no-discount", "No discount", error).with_money("price", price).with_money("offered", offered)
        }
        E::DiscountOutOfRange { maximum, offered } => rule("discount-out-of-range", "Discount out of range", error)
            .with("maximum", maximum)
            .with("offered", offered),
        E::DiscountOver { until, now } => {
            rule("discount-over", "Discount over", error).with("until", json!(until)).with("now", json!(now))
        }
        E::TooManyImages { maximum } => rule("too-many-images", "Too many images", error).with("maximum", maximum),
        E::NoSuchImage => Problem::not_found("image"),
    }
}

fn image_problem(error: image::Error) -> Problem {
    match error {
        image::Error::NotFound => Problem::not_found("image"),
        image::Error::AlreadyStored => conflict("already-exists", "Already exists", error),
    }
}

fn page_problem(error: page::Error) -> Problem {
    let page::Error::LengthOutOfRange { longest_title, longest_body } = error;
    rule("length-out-of-range", "Too long or empty", error)
        .with("longest_title", longest_title)
        .with("longest_body", longest_body)
}

fn money_problem(error: MoneyError) -> Problem {
    match error {
        MoneyError::OutOfRange => rule("amount-out-of-range", "Amount out of range", error),
        MoneyError::CurrencyMismatch { left, right } => wrong_currency(error, right, left),
    }
}

fn session_problem(error: session::Error) -> Problem {
    match error {
        session::Error::Ended | session::Error::Expired { .. } => {
            Problem::unauthenticated("The refresh token is not good.")
        }
        session::Error::AlreadyOpen => conflict("already-open", "Already open", error),
    }
}

fn wallet_problem(error: wallet::Error) -> Problem {
    use wallet::Error as E;
    match error {
        E::AmountNotPositive { offered } => {
            rule("amount-not-positive", "Amount not above zero", error).with_money("offered", offered)
        }
        E::WrongCurrency { expected, offered } => wrong_currency(error, expected, offered),
        E::InsufficientFunds { available, requested } => rule("insufficient-funds", "Insufficient funds", error)
            .with_money("available", available)
            .with_money("requested", requested),
        E::BalanceLimit { available, offered } => rule("balance-limit", "Balance limit", error)
            .with_money("available", available)
            .with_money("offered", offered),
        E::NotUnderWay => conflict("not-under-way", "Not under way", error),
        E::OperationReused => conflict("operation-reused", "Operation reused", error),
    }
}

fn wrong_currency(error: impl std::fmt::Display, expected: domain::Currency, offered: domain::Currency) -> Problem {
    rule("wrong-currency", "Wrong currency", error).with("expected", expected.code()).with("offered", offered.code())
}
