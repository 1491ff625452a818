//! What can be set, for documentation and for messages about what cannot: each key, its default, and what it means.

/// Every setting: its key, its default, and what it means. [`describe`] gives it out.
pub(super) const SETTINGS: &[(&str, &str, &str)] = &[
    ("http.bind", "127.0.0.1:8080", "Address and port that the server listens on."),
    ("http.request_timeout_ms", "30000", "Milliseconds after which a request is answered with an error."),
    ("http.body_limit_bytes", "1048576", "Largest request body that is accepted, in bytes."),
    (
        "http.header_timeout_ms",
        "75000",
        "Milliseconds within which the head of a request must have come, counted also while a connection is idle; then it is closed. Longer than a proxy or client keeps one, or a request may meet its end.",
    ),
    (
        "http.write_timeout_ms",
        "30000",
        "Milliseconds for which a client may take nothing of an answer; then its connection is closed.",
    ),
    ("http.connections", "10000", "Most connections at once, sockets included; more are closed."),
    ("http.connections_per_sender", "1000", "Most of them from one IPv4 address or IPv6 /64 that is no trusted proxy."),
    (
        "http.trusted_proxies",
        "",
        "Addresses or networks, with commas between, whose `X-Forwarded-For` is believed: `10.0.0.0/8,192.0.2.7`.",
    ),
    (
        "http.origins",
        "",
        "Web origins, with commas between, whose pages may use the API and its sockets: `https://shop.example`; its own always may.",
    ),
    (
        "limits.sender_per_s",
        "200",
        "Requests per second from one IPv4 address or IPv6 /64, twice as many in a burst; 0 turns this off.",
    ),
    (
        "limits.guesses_per_min",
        "30",
        "Of these, per minute, those that try a password, a token or a code; 0 turns this off.",
    ),
    ("limits.guest_orders_per_min", "10", "Orders per minute of one sender without an account; 0 turns this off."),
    (
        "limits.clicks_per_min",
        "30",
        "Clicks on affiliates' links per minute of one sender, and of one account; 0 turns this off.",
    ),
    ("limits.uploads_per_min", "20", "Uploads per minute of one sender, and of one account; 0 turns this off."),
    ("limits.account_per_s", "100", "Commands per second of one account, twice as many in a burst; 0 turns this off."),
    (
        "database.url",
        "",
        "postgres:// URL of the database; without it a private PostgreSQL is run. DATABASE_URL sets it too.",
    ),
    ("database.pool_size", "16", "Connections held to the database, at least 4."),
    ("database.embedded_dir", ".tradepost/postgres", "Folder of the private PostgreSQL."),
    (
        "auth.secret",
        "",
        "Root secret of at least 32 characters, from which all keys are derived; without it, and with the private PostgreSQL, one is made and kept in .tradepost/secret.",
    ),
    ("auth.issuer", "tradepost", "`iss` of the access tokens."),
    ("auth.audience", "tradepost", "`aud` of the access tokens."),
    ("auth.access_token_ttl_s", "900", "Seconds that an access token is good for."),
    ("auth.refresh_token_ttl_s", "604800", "Seconds that a refresh token is good for."),
    (
        "auth.key_rotation_s",
        "86400",
        "Seconds after which access tokens are signed with a new key, which all nodes derive from the root secret.",
    ),
    (
        "auth.key_generation",
        "1",
        "Raised on every node, it makes all access tokens worthless that were given out before; refresh tokens stay.",
    ),
    (
        "google.client_id",
        "",
        "The client id that Google has given this marketplace; without it nobody logs in with Google.",
    ),
    (
        "google.issuer",
        "https://accounts.google.com",
        "Who issues the ID tokens: another OpenID provider can stand in its place.",
    ),
    (
        "mail.folder",
        ".tradepost/mail",
        "Folder into which messages to mailboxes are written, a file each, unless an SMTP server is named.",
    ),
    ("mail.folder_days", "30", "Days that a file is kept there: 1 to 3650."),
    ("mail.from", "Tradepost <tradepost@localhost>", "Whom messages are from."),
    ("mail.site_url", "http://localhost:8080", "Where the frontend is that links in messages lead to."),
    (
        "mail.smtp_url",
        "",
        "SMTP server that messages are sent by, with user and password: `smtps://user:password@mail.example`, or `smtp://…:587?tls=required`.",
    ),
    ("mail.smtp_connections", "4", "Connections held to that server: 1 to 100."),
    ("media.folder", ".tradepost/media", "Folder in which uploaded pictures are kept, unless a bucket is named."),
    ("media.pictures_per_account", "10000", "Pictures that one account may have uploaded: 1 to 100000."),
    ("media.s3_bucket", "", "Bucket of S3, or of a storage that speaks as it does, in which they are kept instead."),
    ("media.s3_endpoint", "", "http:// or https:// address of that storage; Amazon's unless set."),
    ("media.s3_region", "us-east-1", "Region of the bucket."),
    (
        "media.s3_access_key",
        "",
        "Who we are there; without it, what the surroundings say: `AWS_ACCESS_KEY_ID` and what belongs to it, or the role of a task, a pod or a machine.",
    ),
    ("media.s3_secret_key", "", "And what proves it."),
    (
        "auctions.soft_close_window_s",
        "120",
        "A bid in the last so many seconds moves the end of the auction; 0 turns this off.",
    ),
    (
        "auctions.increments",
        "{}",
        "By how much a bid must top the price, per currency in minor units: `EUR = [{ below = 100, step = 5 }, { step = 25 }]`; the public table unless set.",
    ),
    (
        "auctions.second_chance_s",
        "86400",
        "Seconds that an underbidder has to take a second chance: an hour to 30 days.",
    ),
    (
        "catalogue.review",
        "false",
        "Let the staff look at a listing before it is offered, and at its new words and pictures.",
    ),
    (
        "catalogue.review_s",
        "86400",
        "Seconds after which a listing that waits for the staff is offered all the same: a minute to 30 days.",
    ),
    (
        "affiliate.commission_bps",
        "500",
        "What an affiliate earns of the price and shipping of an order of somebody who came by its link, in basis points; frozen into an order when it is placed, 0 turns this off.",
    ),
    (
        "affiliate.within_fee",
        "false",
        "Never let an affiliate earn more than the marketplace's fee on the order, whatever its share is.",
    ),
    (
        "affiliate.attribution_days",
        "30",
        "Days after a click on an affiliate's link in which an order counts: 1 to 365.",
    ),
    (
        "reports.per_day",
        "20",
        "How many listings, people, messages and reviews an account may report on a day (UTC): 1 to 1000.",
    ),
    (
        "orders.fee_bps",
        "200",
        "The marketplace's share of a sale, in basis points, until staff say another, and unless its category, its seller's plan or its seller has one; frozen into an order when it is placed.",
    ),
    (
        "orders.confirm_within_s",
        "172800",
        "Seconds that a seller has to confirm what a guest has ordered, for which its pieces are kept: an hour to 30 days.",
    ),
    (
        "orders.cash_ship_within_s",
        "1209600",
        "Seconds that a seller has, once the time to confirm is over, to send what a guest has ordered; else it is called off: a day to 60 days.",
    ),
    (
        "orders.cash_deliver_within_s",
        "3888000",
        "Seconds after that in which a seller must say that it was brought; else it counts as called off: a day to 90 days.",
    ),
    (
        "orders.inspection_physical_s",
        "1209600",
        "Seconds that a buyer may inspect what was shipped, from its delivery: 1 to 30 days.",
    ),
    (
        "orders.inspection_digital_s",
        "172800",
        "Seconds that a buyer may inspect what is digital, from its delivery: 1 to 30 days.",
    ),
    (
        "past.at_once",
        "2",
        "Answers about the past (`as_of`) that are worked out at once: 1 to 64; who comes then waits, and is told to come again.",
    ),
    ("past.events", "20000", "Most events that one of them may rest on: 100 to 1000000."),
    ("past.timeout_ms", "8000", "Milliseconds that one of them may take: 100 to 25000."),
    (
        "payouts.cooling_s",
        "86400",
        "Seconds that a payment method must have been kept before money goes out to it, and that must have passed since a password, an address or a log-in was changed; 0 turns this off, and lets money go to methods that are not kept.",
    ),
    (
        "payouts.limits",
        "{}",
        "How much goes out at once at least, and of one account on a day (UTC) at most, per currency in minor units: `USD = { least = 1000, most_per_day = 500000 }`; whatever there is unless set.",
    ),
    (
        "points.per_major_unit",
        "1",
        "Bonus points that a completed order earns per whole major unit of its currency, but at least a hundred minor ones; frozen into an order when it is placed, 0 turns this off.",
    ),
    (
        "points.worth_minor_units",
        "1",
        "What a bonus point pays at a checkout, in minor units of its currency; frozen into an order when it is placed, 0 lets points pay for nothing.",
    ),
    (
        "places.files",
        "",
        "Files, with commas between, of the provinces and cities of further countries, each in the form of api/places/pk.toml; one of a country that is part of the program takes its place.",
    ),
    (
        "plans.free_listings",
        "200",
        "Listings that a seller without a subscription may have on offer at once, until staff define the plan `free`; 0 for as many as they like.",
    ),
    ("stores.needs_verification", "false", "Whether only sellers may publish whose store staff have verified."),
    ("stripe.api_base", "https://api.stripe.com", "Where Stripe's API is."),
    (
        "stripe.api_key",
        "",
        "Secret or restricted key of Stripe's; with it Stripe is the payment provider, and the sandbox only with `sandbox.enabled`.",
    ),
    (
        "stripe.webhook_secrets",
        "",
        "What Stripe's webhooks are signed with, with commas between: one for each endpoint there, two while one is replaced.",
    ),
    (
        "stripe.return_url",
        "",
        "Where a payer comes back to whom the bank has asked on its page who they are; without it the frontend asks by Stripe's library.",
    ),
    ("engine.batch_max", "256", "Most commands decided and committed together."),
    ("engine.cache_aggregates", "100000", "Most aggregates kept in memory."),
    ("engine.queue", "4096", "Most commands that wait; more are refused with 503."),
    ("feed.poll_ms", "200", "Milliseconds between looks at the log when nothing wakes a follower."),
    ("feed.batch_events", "1000", "Most events that a follower takes at a time."),
    (
        "node.roles",
        "api,relay,projections,processes",
        "What this node does, with commas between; without `api` it answers only for its own health.",
    ),
    (
        "nats.url",
        "",
        "nats:// URL of the NATS that carries events to other nodes and systems; without it there is none.",
    ),
    ("nats.replicas", "1", "Copies of the stream in a NATS cluster, for a stream that is made: 1 to 5."),
    (
        "metrics.bind",
        "",
        "Address and port that answers `/metrics` without authentication, for Prometheus; on `http.bind` it is there for staff.",
    ),
    (
        "sealing.wrapping_key",
        "",
        "Wraps the keys that seal people's data, in at least 32 characters without a comma; without it those keys lie in the database as they are.",
    ),
    ("sealing.wrapping_key_file", "", "File that holds this key instead."),
    (
        "sealing.former_wrapping_keys",
        "",
        "Keys that still open what they have wrapped before, with commas between; see `tradepost keys --help`.",
    ),
    (
        "proof.name",
        "tradepost",
        "The name of the log in its signed tree heads, without spaces and plus signs; never changed later.",
    ),
    (
        "proof.key_file",
        "",
        "File with the key that signs tree heads, as `tradepost proof mint-key` makes it; without it the key follows from the root secret.",
    ),
    (
        "proof.former_keys",
        "",
        "Public keys that signed before and are still believed, with commas between; see `tradepost proof --help`.",
    ),
    (
        "proof.head_every_ms",
        "60000",
        "Milliseconds after which a tree head is signed, if the log has grown; sooner when somebody asks for a receipt.",
    ),
    ("proof.head_events", "10000", "Events after which one is signed in any case."),
    (
        "proof.share_percent",
        "3",
        "How much of its time the notary may work while the log grows, in per cent: what it leaves over it does when the log rests.",
    ),
    ("proof.anchor_file", "", "File outside the database to which tree heads are added, a line of JSON each."),
    (
        "proof.anchor_url",
        "",
        "https:// address outside to which tree heads are posted as they are signed, as text; what it answers does not matter, but for its status.",
    ),
    ("proof.anchor_every_s", "3600", "Seconds between tree heads that go outside."),
    ("sandbox.enabled", "false", "Offer the sandbox's clock, which can be set forward."),
    (
        "sandbox.webhook_secrets",
        "",
        "What webhooks of the sandbox's payment provider are signed with, with commas between; without any, none are taken.",
    ),
    (
        "traces.otlp_endpoint",
        "",
        "http:// address to which traces are sent (OTLP, protobuf), such as `http://localhost:4318/v1/traces`; without it nothing is traced.",
    ),
    (
        "traces.sample_percent",
        "100",
        "How many of the requests that are not part of a trace already are traced, in per cent.",
    ),
    ("log.format", "text", "`text` for people, `json` for machines."),
    ("log.filter", "info,sqlx=warn", "What is logged, as in RUST_LOG: `info,sqlx=warn`."),
];

/// Settings whose values are never repeated, not even in an error.
pub(super) const SECRETS: [&str; 11] = [
    "database.url",
    "auth.secret",
    "nats.url",
    "mail.smtp_url",
    "media.s3_access_key",
    "media.s3_secret_key",
    "sandbox.webhook_secrets",
    "sealing.wrapping_key",
    "sealing.former_wrapping_keys",
    "stripe.api_key",
    "stripe.webhook_secrets",
];

/// Every setting as (key, default, meaning), in the order of the documentation. An empty default means "not set".
pub fn describe() -> Vec<(&'static str, &'static str, &'static str)> {
    SETTINGS.to_vec()
}
