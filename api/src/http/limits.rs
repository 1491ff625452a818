//! How much one sender and one account may ask, so that nobody takes the node from the others or guesses at length.
//!
//! Each limit is a bucket per key that fills at its rate (GCRA): whoever keeps within the rate never notices it. A sender
//! is an IPv4 address or the /64 of one of IPv6. A request that another node has handed on was counted there. Keys whose
//! bucket is full again are forgotten every few seconds, which bounds the memory by what came in since.

use std::hash::Hash;
use std::num::NonZeroU32;
use std::time::Duration;

use axum::extract::Request;
use axum::http::Method;
use axum::response::{IntoResponse, Response};
use domain::AccountId;
use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use ipnet::IpNet;
use metrics::counter;

use super::paths::BASE;
use super::problem::Problem;
use super::sender::Sender;
use crate::app::App;
use crate::config;
use crate::forward::Forwarded;
use crate::observe::metrics::REQUESTS_REFUSED;

/// Where somebody may guess a password, a token or a code, under [`BASE`]. Those with a slash at their end are folders.
const GUESSES: [&str; 7] = [
    "/auth/login",
    "/auth/register",
    "/auth/refresh",
    "/auth/google",
    "/auth/password/",
    "/auth/email/",
    "/auth/account",
];
/// How many seconds' worth may come at once.
const BURST: NonZeroU32 = NonZeroU32::MIN.saturating_add(1);
/// How often keys are forgotten that no longer matter.
const FORGET_EVERY: Duration = Duration::from_secs(5);

/// The limits of this node.
#[derive(Debug)]
pub struct Limits {
    sender: Option<Limiter<IpNet>>,
    guesses: Option<Limiter<IpNet>>,
    guest_orders: Option<Limiter<IpNet>>,
    clicks: Option<(Limiter<IpNet>, Limiter<AccountId>)>,
    uploads: Option<(Limiter<IpNet>, Limiter<AccountId>)>,
    account: Option<Limiter<AccountId>>,
}

impl Limits {
    /// As they are set.
    pub fn new(settings: config::Limits) -> Self {
        let config::Limits {
            sender_per_s,
            guesses_per_min,
            guest_orders_per_min,
            clicks_per_min,
            uploads_per_min,
            account_per_s,
        } = settings;
        let per_s = |rate: NonZeroU32| Quota::per_second(rate).allow_burst(rate.saturating_mul(BURST));
        Self {
            sender: NonZeroU32::new(sender_per_s).map(|rate| Limiter::new("sender", per_s(rate))),
            guesses: NonZeroU32::new(guesses_per_min).map(|rate| Limiter::new("guesses", Quota::per_minute(rate))),
            guest_orders: NonZeroU32::new(guest_orders_per_min)
                .map(|rate| Limiter::new("guest_orders", Quota::per_minute(rate))),
            clicks: of_both("clicks", clicks_per_min),
            uploads: of_both("uploads", uploads_per_min),
            account: NonZeroU32::new(account_per_s).map(|rate| Limiter::new("account", per_s(rate))),
        }
    }

    /// Counts a command of an account.
    pub fn account(&self, account: AccountId) -> Result<(), Problem> {
        self.account.as_ref().map_or(Ok(()), |limit| limit.count(&account))
    }

    /// Counts an upload of an account.
    pub(super) fn upload(&self, account: AccountId) -> Result<(), Problem> {
        self.uploads.as_ref().map_or(Ok(()), |(_, limit)| limit.count(&account))
    }

    /// Counts an upload that has no place among those of its account.
    pub(super) fn upload_without_place() -> Problem {
        counter!(REQUESTS_REFUSED, "limit" => "uploads").increment(1);
        too_many(Duration::from_secs(1))
    }

    /// Counts a click of an account on an affiliate's link.
    pub(super) fn click(&self, account: AccountId) -> Result<(), Problem> {
        self.clicks.as_ref().map_or(Ok(()), |(_, limit)| limit.count(&account))
    }

    /// Counts a request by its canonical path.
    fn request(&self, sender: &Sender, method: &Method, path: &str) -> Result<(), Problem> {
        let sender = sender.counted();
        if let Some(limit) = self.guesses.as_ref().filter(|_| is_guess(method, path)) {
            limit.count(&sender)?;
        }
        if let Some(limit) = self.guest_orders.as_ref().filter(|_| is_guest_order(method, path)) {
            limit.count(&sender)?;
        }
        if let Some((limit, _)) = self.clicks.as_ref().filter(|_| is_click(method, path)) {
            limit.count(&sender)?;
        }
        if let Some((limit, _)) = self.uploads.as_ref().filter(|_| is_upload(method, path)) {
            limit.count(&sender)?;
        }
        self.sender.as_ref().map_or(Ok(()), |limit| limit.count(&sender))
    }

    fn forget(&self) {
        self.sender.iter().chain(&self.guesses).chain(&self.guest_orders).for_each(Limiter::forget);
        self.account.iter().for_each(Limiter::forget);
        for (senders, accounts) in self.clicks.iter().chain(&self.uploads) {
            senders.forget();
            accounts.forget();
        }
    }
}

/// So many a minute of one sender, and of one account.
fn of_both(name: &'static str, per_min: u32) -> Option<(Limiter<IpNet>, Limiter<AccountId>)> {
    let quota = Quota::per_minute(NonZeroU32::new(per_min)?);
    Some((Limiter::new(name, quota), Limiter::new(name, quota)))
}

/// Whether a request tries something that its sender may not know.
fn is_guess(method: &Method, path: &str) -> bool {
    let path = path.strip_prefix(BASE).unwrap_or_default();
    let is = |guess: &str| if guess.ends_with('/') { path.starts_with(guess) } else { path == guess };
    (*method == Method::POST || *method == Method::DELETE) && GUESSES.into_iter().any(is)
}

/// Whether a request keeps goods from others without an account, or tries a card so.
fn is_guest_order(method: &Method, path: &str) -> bool {
    let path = path.strip_prefix(BASE).unwrap_or_default();
    let of_store = path.strip_prefix("/store/").is_some_and(|rest| rest.ends_with("/orders"));
    let by_card = path.strip_prefix("/guest/orders/").is_some_and(|rest| rest.ends_with("/pay"));
    *method == Method::POST && (of_store || by_card)
}

/// Whether a request notes that somebody has followed a link.
fn is_click(method: &Method, path: &str) -> bool {
    *method == Method::POST && path.strip_prefix(BASE) == Some("/affiliate/clicks")
}

/// Whether a request brings pictures.
fn is_upload(method: &Method, path: &str) -> bool {
    let path = path.strip_prefix(BASE).unwrap_or_default();
    let of_listing = path.strip_prefix("/listings/").is_some_and(|rest| rest.ends_with("/images"));
    *method == Method::POST && (path.starts_with("/upload/") || of_listing)
}

/// One limit.
#[derive(Debug)]
struct Limiter<K: Eq + Hash + Clone, C: Clock = DefaultClock> {
    name: &'static str,
    buckets: RateLimiter<K, DashMapStateStore<K>, C, NoOpMiddleware<C::Instant>>,
}

impl<K: Eq + Hash + Clone> Limiter<K> {
    fn new(name: &'static str, quota: Quota) -> Self {
        Self { name, buckets: RateLimiter::dashmap(quota) }
    }
}

impl<K: Eq + Hash + Clone, C: Clock> Limiter<K, C> {
    fn count(&self, key: &K) -> Result<(), Problem> {
        self.buckets.check_key(key).map_err(|full| {
            counter!(REQUESTS_REFUSED, "limit" => self.name).increment(1);
            too_many(full.wait_time_from(self.buckets.clock().now()))
        })
    }

    fn forget(&self) {
        self.buckets.retain_recent();
        self.buckets.shrink_to_fit();
    }
}

fn too_many(wait: Duration) -> Problem {
    // Rounded up: whoever comes back then is admitted.
    let seconds = wait.as_nanos().div_ceil(Duration::from_secs(1).as_nanos()).max(1);
    let detail = "So many requests are not answered; Retry-After tells when the next will be.";
    Problem::too_many_requests(detail, seconds)
}

/// Answers no more of a sender than the limits allow.
pub(super) async fn admit(app: &App, request: Request, next: impl AsyncFnOnce(Request) -> Response) -> Response {
    let counted_elsewhere = request.extensions().get::<Forwarded>().is_some();
    let sender = request.extensions().get::<Sender>().filter(|_| !counted_elsewhere);
    let admitted = sender.map(|sender| app.limits.request(sender, request.method(), request.uri().path()));
    match admitted {
        None | Some(Ok(())) => next(request).await,
        Some(Err(problem)) => problem.into_response(),
    }
}

/// Forgets, until the task is aborted, who has not asked for long enough.
pub(crate) async fn keep_small(app: App) {
    loop {
        tokio::time::sleep(FORGET_EVERY).await;
        app.limits.forget();
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderMap;
    use governor::clock::FakeRelativeClock;
    use uuid::Uuid;

    use super::*;

    fn sender(ip: &str) -> Sender {
        Sender::of(ip.parse().unwrap(), &HeaderMap::new(), &config::Networks::default())
    }

    fn retry_after(problem: &Problem) -> String {
        problem.render("").headers()[axum::http::header::RETRY_AFTER].to_str().unwrap().to_owned()
    }

    #[test]
    fn whoever_is_refused_is_told_when_to_come_back_and_is_admitted_then() {
        let clock = FakeRelativeClock::default();
        let quota = Quota::per_minute(NonZeroU32::new(3).unwrap());
        let limiter = Limiter { name: "guesses", buckets: RateLimiter::dashmap_with_clock(quota, clock.clone()) };
        for _ in 0..3 {
            limiter.count(&1).unwrap();
        }
        let refused = limiter.count(&1).unwrap_err();
        assert_eq!((refused.status().as_u16(), refused.slug()), (429, "too-many-requests"));
        assert_eq!(retry_after(&refused), "20");
        limiter.count(&2).unwrap();
        clock.advance(Duration::from_millis(19_900));
        assert_eq!(retry_after(&limiter.count(&1).unwrap_err()), "1", "rounded up");
        clock.advance(Duration::from_millis(100));
        limiter.count(&1).unwrap();
    }

    #[test]
    fn whoever_has_not_asked_for_long_is_forgotten() {
        let clock = FakeRelativeClock::default();
        let quota = Quota::per_second(NonZeroU32::new(1).unwrap());
        let limiter = Limiter { name: "sender", buckets: RateLimiter::dashmap_with_clock(quota, clock.clone()) };
        for key in 0..1_000 {
            limiter.count(&key).unwrap();
        }
        limiter.forget();
        assert_eq!(limiter.buckets.len(), 1_000);
        clock.advance(Duration::from_secs(10));
        limiter.count(&7).unwrap();
        limiter.forget();
        assert_eq!(limiter.buckets.len(), 1);
    }

    #[test]
    fn an_account_is_counted_by_itself_and_twice_its_rate_at_once() {
        let limits = Limits::new(config::Limits { account_per_s: 1, ..config::Limits::OFF });
        let (ann, bob) = (AccountId(Uuid::from_u128(1)), AccountId(Uuid::from_u128(2)));
        let admitted = (0..100).take_while(|_| limits.account(ann).is_ok()).count();
        assert!((2..100).contains(&admitted), "{admitted}");
        limits.account(bob).unwrap();
    }

    #[test]
    fn guesses_are_counted_apart_and_by_the_64_of_an_address() {
        let limits = Limits::new(config::Limits { guesses_per_min: 1, ..config::Limits::OFF });
        let log_in = |ip: &str| limits.request(&sender(ip), &Method::POST, "/api/v1/auth/login");
        log_in("2001:db8::1").unwrap();
        log_in("2001:db8::2").unwrap_err();
        log_in("2001:db8:0:1::1").unwrap();
        limits.request(&sender("2001:db8::1"), &Method::POST, "/api/v1/auctions").unwrap();
    }

    #[test]
    fn orders_of_guests_are_counted_apart() {
        let limits = Limits::new(config::Limits { guest_orders_per_min: 1, ..config::Limits::OFF });
        let ask = |ip: &str, method: Method, path: &str| limits.request(&sender(ip), &method, path);
        ask("192.0.2.1", Method::POST, "/api/v1/store/corner/orders").unwrap();
        ask("192.0.2.1", Method::POST, "/api/v1/store/crossing/orders").unwrap_err();
        ask("192.0.2.1", Method::GET, "/api/v1/store/corner").unwrap();
        ask("192.0.2.1", Method::POST, "/api/v1/auth/login").unwrap();
        ask("192.0.2.2", Method::POST, "/api/v1/store/corner/orders").unwrap();
        ask("192.0.2.2", Method::POST, "/api/v1/guest/orders/token/pay").unwrap_err();
    }

    #[test]
    fn clicks_are_counted_by_sender_and_by_account() {
        let limits = Limits::new(config::Limits { clicks_per_min: 1, ..config::Limits::OFF });
        let ask = |ip: &str, path: &str| limits.request(&sender(ip), &Method::POST, path);
        ask("192.0.2.1", "/api/v1/affiliate/clicks").unwrap();
        ask("192.0.2.1", "/api/v1/affiliate/clicks").unwrap_err();
        ask("192.0.2.2", "/api/v1/affiliate/clicks").unwrap();
        ask("192.0.2.1", "/api/v1/affiliate").unwrap();
        let ann = AccountId(Uuid::from_u128(1));
        limits.click(ann).unwrap();
        limits.click(ann).unwrap_err();
        limits.upload(ann).unwrap();
    }

    #[test]
    fn uploads_are_counted_by_sender_and_by_account() {
        let limits = Limits::new(config::Limits { uploads_per_min: 1, ..config::Limits::OFF });
        let ask = |ip: &str, path: &str| limits.request(&sender(ip), &Method::POST, path);
        ask("192.0.2.1", "/api/v1/upload/image").unwrap();
        ask("192.0.2.1", "/api/v1/upload/images").unwrap_err();
        ask("192.0.2.2", "/api/v1/listings/7/images").unwrap();
        ask("192.0.2.2", "/api/v1/upload/image").unwrap_err();
        ask("192.0.2.2", "/api/v1/listings/7/publish").unwrap();
        let ann = AccountId(Uuid::from_u128(1));
        limits.upload(ann).unwrap();
        limits.upload(ann).unwrap_err();
        limits.upload(AccountId(Uuid::from_u128(2))).unwrap();
    }

    #[test]
    fn zero_turns_a_limit_off() {
        let limits = Limits::new(config::Limits::OFF);
        for _ in 0..10_000 {
            limits.request(&sender("192.0.2.1"), &Method::POST, "/api/v1/auth/login").unwrap();
            limits.account(AccountId(Uuid::nil())).unwrap();
        }
    }

    #[test]
    fn what_may_be_a_guess_is_told_by_the_path() {
        for (method, path, guess) in [
            ("POST", "/api/v1/auth/login", true),
            ("POST", "/api/v1/auth/register", true),
            ("POST", "/api/v1/auth/refresh", true),
            ("POST", "/api/v1/auth/google", true),
            ("POST", "/api/v1/auth/password/reset", true),
            ("POST", "/api/v1/auth/email/verify", true),
            ("POST", "/api/v1/auth/logout", false),
            ("POST", "/api/v1/auth/ws-ticket", false),
            ("POST", "/api/v1/auctions", false),
            ("GET", "/api/v1/auth/login", false),
        ] {
            assert_eq!(is_guess(&method.parse().unwrap(), path), guess, "{method} {path}");
        }
    }
}
