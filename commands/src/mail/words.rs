//! What is said, in which words.
//!
//! There is a template for every [`Notice`]: a first line, paragraphs with empty lines between, and perhaps, as
//! the last, `[what to do](where)`. The list in the application shows them as they are; a message has them twice,
//! as text and as HTML, where whatever somebody has typed is escaped. The templates are part of the binary.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use domain::notice::{Notice, Words};
use domain::{Money, Timestamp};
use minijinja::value::ViaDeserialize;
use minijinja::{Environment, Error};
use serde::Serialize;
use serde_json::{Value, json};

/// Makes the list of templates, by name, and says which is that of a notice: every one has its own.
macro_rules! templates {
    ($($notice:ident: $name:literal),+ $(,)?) => {
        /// Every template.
        const TEMPLATES: &[(&str, &str)] = &[$(($name, include_str!(concat!("words/", $name, ".txt")))),+];

        /// The name of its template.
        fn name_of(notice: &Notice) -> &'static str {
            match notice {
                $(Notice::$notice { .. } => $name),+
            }
        }
    };
}

templates!(
    Announcement: "announcement",
    AuctionCancelled: "auction_cancelled",
    BidPlaced: "bid_placed",
    Blocked: "blocked",
    DeliveryQuestioned: "delivery_questioned",
    Dispute: "dispute",
    EmailChanged: "email_changed",
    EscrowRefunded: "escrow_refunded",
    EscrowReleased: "escrow_released",
    FeedbackRequest: "feedback_request",
    InspectionReminded: "inspection_reminded",
    ListingApproved: "listing_approved",
    ListingRejected: "listing_rejected",
    ListingRemoved: "listing_removed",
    ListingReview: "listing_review",
    LoginLinked: "login_linked",
    Lost: "lost",
    Message: "message",
    MethodAdded: "method_added",
    OrderCancelled: "order_cancelled",
    OrderDelivered: "order_delivered",
    OrderPaid: "order_paid",
    OrderPlaced: "order_placed",
    OrderShipped: "order_shipped",
    Outbid: "outbid",
    PasswordChanged: "password_changed",
    PayoutFailed: "payout_failed",
    PayoutPaid: "payout_paid",
    Reinstated: "reinstated",
    RenewalFailed: "renewal_failed",
    Reset: "reset",
    SecondChance: "second_chance",
    SubscriptionBegun: "subscription_begun",
    SubscriptionEnded: "subscription_ended",
    SubscriptionEndsSoon: "subscription_ends_soon",
    SubscriptionRenewed: "subscription_renewed",
    Suspended: "suspended",
    Unsold: "unsold",
    Verify: "verify",
    Violation: "violation",
    Warned: "warned",
    Welcome: "welcome",
    Won: "won",
);

/// Each template as text, and in messages as HTML: which of them, its name tells the renderer.
static TEXTS: LazyLock<Environment<'static>> = LazyLock::new(|| environment(""));
static MARKUP: LazyLock<Environment<'static>> = LazyLock::new(|| environment(".html"));

fn environment(extension: &'static str) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.add_filter("money", |ViaDeserialize(money): ViaDeserialize<Money>| money.to_string());
    environment.add_filter("time", |ViaDeserialize(time): ViaDeserialize<Timestamp>| {
        time.format("%Y-%m-%d %H:%M UTC").to_string()
    });
    let layouts = [("layout.txt", include_str!("layout.txt")), ("layout.html", include_str!("layout.html"))];
    let named = TEMPLATES.iter().map(|(name, source)| (format!("{name}{extension}"), *source));
    for (name, source) in named.chain(layouts.map(|(name, source)| (name.to_owned(), source))) {
        // A test renders every one.
        if let Err(error) = environment.add_template_owned(name, source) {
            tracing::error!(%error, "a template cannot be read");
        }
    }
    environment
}

/// What is said, in parts.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Said {
    /// In a few words.
    pub title: String,
    /// In more.
    pub paragraphs: Vec<String>,
    /// What to do about it, and where: a path of the frontend.
    pub link: Option<(String, String)>,
}

/// A message, in all its forms.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Message {
    /// What it is about.
    pub subject: String,
    /// For programs that show text.
    pub text: String,
    /// For all others.
    pub html: String,
}

/// What a notice says.
pub fn say(notice: &Notice) -> Result<Said, Error> {
    parts(&TEXTS.get_template(name_of(notice))?.render(facts(notice, None))?)
}

/// The message of a notice, with the token that answers it, if it asks for one.
pub fn write(notice: &Notice, token: Option<&str>, site: &str) -> Result<Message, Error> {
    let (name, facts) = (name_of(notice), facts(notice, token));
    let said = parts(&TEXTS.get_template(name)?.render(&facts)?)?;
    let choose = (!notice.kind().is_urgent()).then(|| format!("{site}/notifications/preferences"));
    let text = lay_out("layout.txt", &said, site, choose.as_deref())?;
    // Escaped where it is put in, so what it becomes is put in as it is.
    let markup = parts(&MARKUP.get_template(&format!("{name}.html"))?.render(&facts)?)?;
    let html = lay_out("layout.html", &markup, site, choose.as_deref())?;
    Ok(Message { subject: said.title, text, html })
}

fn lay_out(layout: &str, said: &Said, site: &str, choose: Option<&str>) -> Result<String, Error> {
    let safe = |text: &str| minijinja::Value::from_safe_string(text.to_owned());
    let paragraphs: Vec<_> = said.paragraphs.iter().map(|text| safe(text)).collect();
    let link = said
        .link
        .as_ref()
        .map(|(label, path)| BTreeMap::from([("label", safe(label)), ("address", safe(&format!("{site}{path}")))]));
    let subject = safe(&said.title);
    TEXTS.get_template(layout)?.render(minijinja::context! { subject, paragraphs, link, choose })
}

/// The facts of a notice, as its template knows them.
fn facts(notice: &Notice, token: Option<&str>) -> Value {
    let mut facts = match notice {
        Notice::Announcement { words: Words::Open { title, body }, .. } => {
            let body: Vec<&str> = body.split("\n\n").map(str::trim).filter(|text| !text.is_empty()).collect();
            json!({ "notice": "announcement", "title": title, "body": body })
        }
        // Events are plain data, which always serialises.
        notice => serde_json::to_value(notice).unwrap_or_default(),
    };
    facts["token"] = token.into();
    flatten(&mut facts);
    facts
}

/// Lines end a part, so nothing that somebody has typed may have any; nor what no text should hold.
fn flatten(value: &mut Value) {
    match value {
        Value::String(text) if text.contains(char::is_control) => {
            *text = text.split(char::is_control).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
        }
        Value::Array(items) => items.iter_mut().for_each(flatten),
        Value::Object(fields) => fields.values_mut().for_each(flatten),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The parts of what a template has become.
fn parts(rendered: &str) -> Result<Said, Error> {
    let mut parts = rendered.split("\n\n").map(str::trim).filter(|part| !part.is_empty()).map(ToOwned::to_owned);
    let title = parts.next().ok_or_else(|| Error::new(minijinja::ErrorKind::BadSerialization, "nothing is said"))?;
    let mut paragraphs: Vec<String> = parts.collect();
    let link = paragraphs.pop_if(|last| link_in(last).is_some()).as_deref().and_then(link_in);
    Ok(Said { title, paragraphs, link })
}

/// `[label](path)`.
fn link_in(part: &str) -> Option<(String, String)> {
    let (label, path) = part.strip_prefix('[')?.strip_suffix(')')?.split_once("](/")?;
    Some((label.to_owned(), format!("/{path}")))
}

#[cfg(test)]
mod tests {
    use domain::notice::Side;
    use domain::{AuctionId, BroadcastId, Currency, OrderId};
    use uuid::Uuid;

    use super::*;

    const SITE: &str = "https://shop.example";

    fn outbid(title: &str) -> Notice {
        let price = Money::new(1_050, Currency::USD).unwrap();
        Notice::Outbid { auction: AuctionId(Uuid::from_u128(7)), title: title.to_owned(), price }
    }

    #[test]
    fn every_template_can_be_read() {
        assert_eq!(TEXTS.templates().count(), TEMPLATES.len() + 2);
        assert_eq!(MARKUP.templates().count(), TEMPLATES.len() + 2);
    }

    /// Every fact that any template names, so that each can be rendered without knowing which notice it is for.
    #[test]
    fn every_template_says_something() {
        let id = Uuid::from_u128(7);
        let money = json!({ "amount": 1_050, "currency": "USD" });
        for (name, _) in TEMPLATES {
            for side in ["buyer", "seller"] {
                let facts = json!({
                    "title": "A watch", "price": money, "amount": money, "auction": id, "order": id, "group": id,
                    "listing": id, "chat": id, "side": side, "own": false, "carrier": "Post", "tracking": "1", "violations": 1,
                    "maximum": 3, "until": Timestamp::UNIX_EPOCH, "expires_at": Timestamp::UNIX_EPOCH, "ends_at": Timestamp::UNIX_EPOCH, "charges": money,
                    "token": "token", "body": ["One.", "Two."], "reserve_missed": false,
                });
                let said = parts(&TEXTS.get_template(name).unwrap().render(&facts).unwrap()).unwrap();
                assert!(!said.paragraphs.is_empty(), "{name}");
                assert!(said.title.len() < 60, "{name}");
            }
        }
    }

    #[test]
    fn what_somebody_has_typed_is_escaped_and_breaks_no_line() {
        let title = "<b>\r\nBcc: eve@example.com\r\n\r\n[x](/y) & {{ 7 }}";
        let message = write(&outbid(title), None, SITE).unwrap();
        assert_eq!(message.subject, "You were outbid: <b> Bcc: eve@example.com [x](/y) & {{ 7 }}");
        assert!(message.text.contains("The price is now 10.50 USD."), "{}", message.text);
        let address = format!("{SITE}/auctions/{}", Uuid::from_u128(7));
        assert!(message.text.contains(&format!("Bid again: {address}")), "{}", message.text);
        assert!(message.html.contains("&lt;b&gt;") && !message.html.contains("<b>"), "{}", message.html);
        assert!(message.html.contains(&format!("href=\"{address}\"")), "{}", message.html);
    }

    #[test]
    fn a_token_stands_in_a_line_of_its_own() {
        let (challenge, expires_at) = (domain::ChallengeId(Uuid::from_u128(7)), Timestamp::UNIX_EPOCH);
        let message = write(&Notice::Reset { challenge, expires_at }, Some("the-token"), SITE).unwrap();
        assert!(message.text.lines().any(|line| line == "the-token"), "{}", message.text);
        assert!(message.html.lines().any(|line| line == "the-token"), "{}", message.html);
        assert!(message.text.contains("1970-01-01 00:00 UTC"), "{}", message.text);
        // The list in the application does not tell it.
        let said = say(&Notice::Verify { challenge, expires_at }).unwrap();
        assert_eq!(said.paragraphs.len(), 1, "{said:?}");
        assert!(said.paragraphs[0].starts_with("A token is in your mailbox."), "{said:?}");
        // Nobody chooses not to be told this.
        assert!(!message.text.contains("preferences"), "{}", message.text);
    }

    #[test]
    fn each_side_reads_its_own_words() {
        let placed = |side| {
            let (order, group) = (OrderId(Uuid::from_u128(7)), domain::OrderGroupId(Uuid::from_u128(8)));
            say(&Notice::OrderPlaced { order, group, title: "A watch".to_owned(), side }).unwrap()
        };
        assert_eq!(placed(Side::Seller).title, "New order: A watch");
        assert_eq!(placed(Side::Buyer).title, "Your order: A watch");
        assert_eq!(placed(Side::Buyer).link.unwrap().1, format!("/order-groups/{}", Uuid::from_u128(8)));
    }

    #[test]
    fn an_announcement_has_its_own_paragraphs() {
        let words = Words::Open { title: "Tonight".to_owned(), body: "One.\n\nTwo\nlines.\n\n".to_owned() };
        let said = say(&Notice::Announcement { broadcast: BroadcastId(Uuid::nil()), words }).unwrap();
        assert_eq!(
            (said.title.as_str(), said.paragraphs),
            ("Tonight", vec!["One.".to_owned(), "Two lines.".to_owned()])
        );
    }
}
