//! Which layer wins, what is refused, and that no error repeats a secret.

use figment::{error::Kind, providers::Serialized, value::Value};
use serde_json::json;
use tempfile::TempDir;

use super::*;

const SECRET: &str = "a secret that must never be printed";

fn nowhere() -> ConfigFile {
    ConfigFile::Optional("/nonexistent/tradepost.toml".into())
}

fn file(folder: &TempDir, text: &str) -> ConfigFile {
    let path = folder.path().join("tradepost.toml");
    std::fs::write(&path, text).unwrap();
    ConfigFile::Required(path)
}

fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn load(file: ConfigFile, pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::load(&Sources { file, env: env(pairs) }, Serialized::defaults(json!({})))
}

#[track_caller]
fn refusal(text: &str, pairs: &[(&str, &str)]) -> String {
    let folder = TempDir::new().unwrap();
    let sentence = load(file(&folder, text), pairs).unwrap_err().to_string();
    sentence.replace(&format!("{}/", folder.path().display()), "")
}

#[test]
fn without_any_source_everything_has_its_default() {
    assert_eq!(load(nowhere(), &[]).unwrap(), Config::default());
}

#[test]
fn each_layer_goes_over_the_one_before() {
    let folder = TempDir::new().unwrap();
    let text = "[http]\nbind = '127.0.0.1:1'\nrequest_timeout_ms = 1\nbody_limit_bytes = 2000\n[engine]\nqueue = 1";
    let variables = env(&[("TRADEPOST_HTTP__BIND", "127.0.0.1:2"), ("TRADEPOST_HTTP__REQUEST_TIMEOUT_MS", "2")]);
    let flags = Serialized::defaults(json!({ "http": { "bind": "127.0.0.1:3", "body_limit_bytes": null } }));

    let config = Config::load(&Sources { file: file(&folder, text), env: variables }, flags).unwrap();

    assert_eq!(config.http.bind.port(), 3, "the command line goes over the environment");
    assert_eq!(config.http.request_timeout_ms, 2, "the environment goes over the file");
    assert_eq!(config.http.body_limit_bytes, 2000, "an option that was not given changes nothing");
    assert_eq!(config.engine.queue, 1, "the file goes over the defaults");
    assert_eq!(config.engine.batch_max, 256, "the rest keeps its default");
}

#[test]
fn database_url_sets_the_database_and_our_own_variable_goes_over_it() {
    let url = |pairs: &[(&str, &str)]| load(nowhere(), pairs).unwrap().database.url.map(|url| url.expose().clone());
    assert_eq!(url(&[("DATABASE_URL", "postgres://a/b")]).as_deref(), Some("postgres://a/b"));
    let both = [("TRADEPOST_DATABASE__URL", "postgres://c/d"), ("DATABASE_URL", "postgres://a/b")];
    assert_eq!(url(&both).as_deref(), Some("postgres://c/d"));
    assert_eq!(url(&[("DATABASE_URL", "")]), None, "an empty variable counts as not set");
}

#[test]
fn an_unknown_key_in_the_file_is_refused_with_the_keys_there_are() {
    assert_eq!(
        refusal("[http]\nbnd = '127.0.0.1:1'", &[]),
        "unknown setting `http.bnd` (in tradepost.toml): `http` has bind, request_timeout_ms, body_limit_bytes, \
         header_timeout_ms, write_timeout_ms, connections, connections_per_sender, trusted_proxies, origins"
    );
    assert_eq!(
        refusal("[htp]\n", &[]),
        "unknown setting `htp` (in tradepost.toml): \
         the sections are affiliate, auctions, auth, catalogue, database, engine, feed, google, http, limits, log, mail, media, metrics, \
         nats, node, orders, past, payouts, places, plans, points, proof, reports, sandbox, sealing, stores, stripe, traces"
    );
}

#[test]
fn an_unknown_variable_is_refused_by_its_name() {
    assert_eq!(
        refusal("", &[("TRADEPOST_HTTP__BND", "127.0.0.1:1")]),
        "unknown setting `http.bnd` (environment variable TRADEPOST_HTTP__BND): \
         `http` has bind, request_timeout_ms, body_limit_bytes, header_timeout_ms, write_timeout_ms, connections, \
         connections_per_sender, trusted_proxies, origins"
    );
    let sentence = refusal("", &[("TRADEPOST_HTTP_BIND", "127.0.0.1:1")]);
    assert!(sentence.contains("environment variable TRADEPOST_HTTP_BIND"), "{sentence}");
    assert!(sentence.ends_with("followed by two underscores"), "{sentence}");
}

#[test]
fn the_variable_that_names_the_postgresql_programs_is_no_setting() {
    assert_eq!(load(nowhere(), &[("TRADEPOST_PG_BIN", "/opt/pg/bin")]).unwrap(), Config::default());
}

#[test]
fn an_unknown_option_of_the_command_line_is_refused() {
    let flags = Serialized::defaults(json!({ "engine": { "batch": 1 } }));
    let refused = Config::load(&Sources { file: nowhere(), env: Vec::new() }, flags).unwrap_err().to_string();
    assert_eq!(
        refused,
        "unknown setting `engine.batch` (command line): `engine` has batch_max, cache_aggregates, queue"
    );
}

#[test]
fn increments_are_a_table_per_currency_in_the_file_and_in_the_environment() {
    let folder = TempDir::new().unwrap();
    let text = "[auctions.increments]\nEUR = [{ below = 100, step = 5 }, { step = 25 }]\n";
    let at = |config: Config| config.auctions.increments[&"EUR".parse().unwrap()].at(100);
    assert_eq!(at(load(file(&folder, text), &[]).unwrap()), 25);
    let variable = ("TRADEPOST_AUCTIONS__INCREMENTS", "{EUR=[{below=100,step=5},{step=7}]}");
    assert_eq!(at(load(nowhere(), &[variable]).unwrap()), 7);
    for wrong in ["[auctions.increments]\nEUR = [{ below = 100, step = 5 }]\n", "[auctions.increments]\nEURO = []\n"] {
        let refused = refusal(wrong, &[]);
        assert!(refused.contains("`auctions.increments"), "{refused}");
    }
}

#[test]
fn what_goes_out_is_bounded_per_currency_in_the_file_and_in_the_environment() {
    let folder = TempDir::new().unwrap();
    let bound = |config: Config| {
        let limits = config.payouts.rules().limits(Currency::JPY);
        (
            limits.least.map(domain::Money::minor),
            limits.most_per_day.map(domain::Money::minor),
            limits.cooling.num_hours(),
        )
    };
    assert_eq!(bound(load(nowhere(), &[]).unwrap()), (None, None, 24));
    let text = "[payouts]\ncooling_s = 7200\n[payouts.limits]\nJPY = { least = 500, most_per_day = 90000 }\n";
    assert_eq!(bound(load(file(&folder, text), &[]).unwrap()), (Some(500), Some(90_000), 2));
    let variable = ("TRADEPOST_PAYOUTS__LIMITS", "{JPY={least=7}}");
    assert_eq!(bound(load(nowhere(), &[variable]).unwrap()), (Some(7), None, 24));
    for wrong in [
        "[payouts.limits]\nJPY = { least = 0 }\n",
        "[payouts.limits]\nJPY = { least = 8, most_per_day = 7 }\n",
        "[payouts.limits]\nYEN = {}\n",
        "[payouts.limits]\nJPY = { most = 7 }\n",
    ] {
        let refused = refusal(wrong, &[]);
        assert!(refused.contains("`payouts.limits"), "{refused}");
    }
    assert!(refusal("[payouts]\ncooling_s = 2592001", &[]).contains("`payouts.cooling_s`"));
}

#[test]
fn a_value_of_the_wrong_kind_is_refused_with_its_place() {
    assert_eq!(
        refusal("", &[("TRADEPOST_ENGINE__QUEUE", "many")]),
        "the setting `engine.queue` (environment variable TRADEPOST_ENGINE__QUEUE) cannot be used: \
         it is string \"many\", not usize"
    );
    assert_eq!(
        refusal("[log]\nformat = 'xml'", &[]),
        "the setting `log.format` (in tradepost.toml) cannot be used: \
         unknown variant: found `xml`, expected ``text` or `json``"
    );
}

#[test]
fn a_value_out_of_bounds_is_refused_with_its_bounds() {
    assert_eq!(
        refusal("[database]\npool_size = 3", &[]),
        "the setting `database.pool_size` (in tradepost.toml) cannot be used: it must be from 4 to 1000"
    );
    for (text, key) in [
        ("[engine]\nbatch_max = 0", "engine.batch_max"),
        ("[engine]\nbatch_max = 4097", "engine.batch_max"),
        ("[engine]\ncache_aggregates = 1023", "engine.cache_aggregates"),
        ("[auth]\nsecret = 'short'", "auth.secret"),
        ("[auth]\naccess_token_ttl_s = 700000", "auth.access_token_ttl_s"),
        ("[auth]\nkey_rotation_s = 60", "auth.key_rotation_s"),
        ("[google]\nissuer = 'accounts.google.com'", "google.issuer"),
        ("[mail]\nfrom = 'nobody'", "mail.from"),
        ("[mail]\nfolder_days = 0", "mail.folder_days"),
        ("[mail]\nsite_url = 'https://shop.example/'", "mail.site_url"),
        ("[mail]\nsmtp_url = 'mail.example'", "mail.smtp_url"),
        ("[mail]\nsmtp_url = 'smtp://shop:password@mail.example'", "mail.smtp_url"),
        ("[mail]\nsmtp_connections = 0", "mail.smtp_connections"),
        ("[database]\nurl = 'mysql://a/b'", "database.url"),
        ("[log]\nfilter = 'a=b=c'", "log.filter"),
        ("[feed]\npoll_ms = 0", "feed.poll_ms"),
        ("[past]\nat_once = 0", "past.at_once"),
        ("[past]\nevents = 99", "past.events"),
        ("[past]\ntimeout_ms = 25001", "past.timeout_ms"),
        ("[sandbox]\nwebhook_secrets = 'whsec_a_long_enough_one, short'", "sandbox.webhook_secrets"),
        ("[sealing]\nwrapping_key = 'short'", "sealing.wrapping_key"),
        ("[sealing]\nwrapping_key = 'long enough to be a key, but for the comma'", "sealing.wrapping_key"),
        ("[sealing]\nformer_wrapping_keys = 'short'", "sealing.former_wrapping_keys"),
        (
            "[sealing]\nwrapping_key = 'a wrapping key of more than 32 characters'\nwrapping_key_file = 'x'",
            "sealing.wrapping_key_file",
        ),
        ("[proof]\nname = 'my log'", "proof.name"),
        ("[proof]\nformer_keys = 'tradepost+00000000+AAAA'", "proof.former_keys"),
        ("[proof]\nhead_every_ms = 9", "proof.head_every_ms"),
        ("[proof]\nhead_events = 0", "proof.head_events"),
        ("[proof]\nshare_percent = 101", "proof.share_percent"),
        ("[proof]\nanchor_url = 'http://example.com'", "proof.anchor_url"),
        ("[proof]\nanchor_every_s = 0", "proof.anchor_every_s"),
        ("[stripe]\napi_base = 'http://api.stripe.com'", "stripe.api_base"),
        ("[stripe]\napi_base = 'http://localhost.example/'", "stripe.api_base"),
        ("[stripe]\napi_key = 'pk_test_123'", "stripe.api_key"),
        ("[stripe]\napi_key = 'sk_live_123'\n[sandbox]\nenabled = true", "stripe.api_key"),
        ("[stripe]\napi_key = 'sk_live_123'", "stripe.api_key"),
        ("[stripe]\nwebhook_secrets = 'whsec_a_long_enough_one, short'", "stripe.webhook_secrets"),
        ("[stripe]\nreturn_url = 'shop.example'", "stripe.return_url"),
        ("[traces]\notlp_endpoint = 'localhost:4318'", "traces.otlp_endpoint"),
        ("[traces]\nsample_percent = 101", "traces.sample_percent"),
        ("[http]\nconnections = 0", "http.connections"),
        ("[http]\ntrusted_proxies = 'everybody'", "http.trusted_proxies"),
        ("[http]\norigins = '*'", "http.origins"),
        ("[limits]\nsender_per_s = 1000001", "limits.sender_per_s"),
    ] {
        let sentence = refusal(text, &[]);
        assert!(sentence.starts_with(&format!("the setting `{key}` (in tradepost.toml)")), "{text}: {sentence}");
    }
}

#[test]
fn a_file_that_is_named_must_exist() {
    let named = ConfigFile::Required("/nonexistent/tradepost.toml".into());
    let sentence = load(named, &[]).unwrap_err().to_string();
    assert_eq!(
        sentence,
        "the configuration file /nonexistent/tradepost.toml does not exist; it was named with --config"
    );
}

#[test]
fn a_secret_is_in_no_output_and_no_error() {
    let config =
        load(nowhere(), &[("TRADEPOST_AUTH__SECRET", SECRET), ("DATABASE_URL", "postgres://u:pw@h/d")]).unwrap();
    let as_json = serde_json::to_string(&config).unwrap();
    let shown = format!("{config:?} {as_json} {} {:?}", config.auth.secret.clone().unwrap(), config.auth.secret);
    assert!(!shown.contains(SECRET) && !shown.contains("pw"), "{shown}");
    assert!(shown.contains("<secret>"));
    assert_eq!(config.auth.secret.unwrap().expose(), SECRET);

    let of_the_wrong_kind = refusal("[auth]\nsecret = 123456789", &[]);
    assert!(
        of_the_wrong_kind.ends_with("it must be text") && !of_the_wrong_kind.contains("1234"),
        "{of_the_wrong_kind}"
    );
    let cut_short = refusal(&format!("[http]\n[auth]\nsecret = '{SECRET}"), &[]);
    assert!(cut_short.contains("line 3") && !cut_short.contains(SECRET), "{cut_short}");
}

#[test]
fn text_made_of_digits_stays_text() {
    let config = load(nowhere(), &[("TRADEPOST_AUTH__ISSUER", "2024"), ("TRADEPOST_AUTH__AUDIENCE", "true")]).unwrap();
    assert_eq!((config.auth.issuer.as_str(), config.auth.audience.as_str()), ("2024", "true"));
}

#[test]
fn the_description_lists_every_key_with_its_default() {
    let Value::Dict(_, defaults) = Value::serialize(Config::default()).unwrap() else { panic!("a struct is a dict") };
    let mut real = Vec::new();
    for (section, values) in defaults {
        let Value::Dict(_, values) = values else { panic!("{section} is a section") };
        real.extend(values.into_iter().map(|(key, value)| (format!("{section}.{key}"), shown(&value))));
    }
    let mut described: Vec<_> =
        describe().iter().map(|(key, default, _)| ((*key).to_owned(), (*default).to_owned())).collect();
    described.sort();
    real.sort();
    assert_eq!(described, real);
    assert!(describe().iter().all(|(_, _, meaning)| meaning.ends_with('.')), "a meaning is a sentence");
}

fn shown(value: &Value) -> String {
    let number = value.to_u128().map(|number| number.to_string());
    let flag = value.to_bool().map(|flag| flag.to_string());
    let table = value.as_dict().map(|_| "{}".to_owned());
    number.or(flag).or(table).or(value.as_str().map(str::to_owned)).unwrap_or_default()
}

#[test]
fn serde_refuses_an_unknown_key_in_every_section_too() {
    for section in [
        "http", "limits", "database", "auth", "google", "mail", "auctions", "orders", "engine", "feed", "metrics",
        "nats", "node", "sandbox", "sealing", "stripe", "traces", "log",
    ] {
        let refused =
            Figment::from(Serialized::defaults(json!({ section: { "?": 1 } }))).extract::<Config>().unwrap_err();
        assert!(matches!(refused.kind, Kind::UnknownField(..)), "{section}: {refused}");
    }
}

mod stripe {
    use super::*;

    const KEY: &str = "sk_test_that_nobody_must_ever_see";
    const SECRETS: &str = "whsec_the_first_of_them, whsec_the_second_of_them";

    #[test]
    fn is_agreed_with_once_there_is_a_key() {
        let site = "https://shop.example";
        assert!(load(nowhere(), &[]).unwrap().stripe.agreed(site).is_none());
        let set = [("TRADEPOST_STRIPE__API_KEY", KEY), ("TRADEPOST_STRIPE__WEBHOOK_SECRETS", SECRETS)];
        let agreed = load(nowhere(), &set).unwrap().stripe.agreed(site).unwrap();
        assert_eq!((agreed.api_base.as_str(), agreed.api_key.expose()), ("https://api.stripe.com", KEY));
        let secrets: Vec<_> = agreed.webhook_secrets.iter().map(commands::payments::Secret::expose).collect();
        assert_eq!(secrets, ["whsec_the_first_of_them", "whsec_the_second_of_them"]);
        let here = [("TRADEPOST_STRIPE__API_KEY", KEY), ("TRADEPOST_STRIPE__API_BASE", "http://127.0.0.1:8420")];
        assert!(load(nowhere(), &here).is_ok());
    }

    #[test]
    fn shows_its_secrets_to_nobody() {
        let set = [("TRADEPOST_STRIPE__API_KEY", KEY), ("TRADEPOST_STRIPE__WEBHOOK_SECRETS", SECRETS)];
        let config = load(nowhere(), &set).unwrap();
        let agreed = config.stripe.agreed("https://shop.example").unwrap();
        let shown = format!("{config:?} {} {agreed:?}", serde_json::to_string(&config).unwrap());
        assert!(!shown.contains(KEY) && !shown.contains("whsec_"), "{shown}");
    }
}

mod the_root_secret {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn embedded_in(folder: &TempDir) -> Config {
        let mut config = Config::default();
        config.database.embedded_dir = folder.path().join(".tradepost/postgres");
        config
    }

    #[test]
    fn is_the_one_that_is_set() {
        let mut config = Config::default();
        config.auth.secret = Some(Secret::new(SECRET.to_owned()));
        assert_eq!(root_secret(&config).unwrap().expose(), SECRET);
    }

    #[test]
    fn is_made_once_beside_the_private_database() {
        let folder = TempDir::new().unwrap();
        let first = root_secret(&embedded_in(&folder)).unwrap();
        let file = folder.path().join(".tradepost/secret");

        assert_eq!(root_secret(&embedded_in(&folder)).unwrap(), first);
        assert_eq!(first.expose().len(), 64);
        assert!(first.expose().bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(file.parent().unwrap()).unwrap().count(), 1, "no draft stays behind");
    }

    #[test]
    fn is_the_same_for_all_who_make_it_at_the_same_time() {
        let folder = TempDir::new().unwrap();
        let config = embedded_in(&folder);
        let made: Vec<_> = std::thread::scope(|scope| {
            let all: Vec<_> = (0..8).map(|_| scope.spawn(|| root_secret(&config).unwrap())).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert!(made.iter().all(|secret| *secret == made[0]));
    }

    #[test]
    fn is_not_replaced_when_its_file_is_cut_short() {
        let folder = TempDir::new().unwrap();
        root_secret(&embedded_in(&folder)).unwrap();
        std::fs::write(folder.path().join(".tradepost/secret"), "cut").unwrap();
        assert!(matches!(root_secret(&embedded_in(&folder)), Err(ConfigError::SecretFile { .. })));
    }

    #[test]
    fn must_be_set_for_a_database_elsewhere() {
        let mut config = Config::default();
        config.database.url = Some(Secret::new("postgres://a/b".to_owned()));
        let sentence = root_secret(&config).unwrap_err().to_string();
        assert!(sentence.contains("openssl rand -hex 32") && sentence.contains("TRADEPOST_AUTH__SECRET"), "{sentence}");
    }
}

mod the_wrapping_keys {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const FIRST: &str = "the first wrapping key of the tests";
    const SECOND: &str = "the second wrapping key of the tests";

    fn keys(pairs: &[(&str, &str)]) -> Result<eventstore::wrapping::Wrapping, ConfigError> {
        wrapping(&load(nowhere(), pairs)?)
    }

    #[test]
    fn are_none_unless_set() {
        let none = keys(&[]).unwrap();
        assert!(none.current().is_none() && none.former().next().is_none());
    }

    #[test]
    fn come_from_the_environment_or_a_file_without_the_space_around_them() {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("key");
        std::fs::write(&file, format!("{FIRST}\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let in_file = keys(&[("TRADEPOST_SEALING__WRAPPING_KEY_FILE", file.to_str().unwrap())]).unwrap();
        let set = keys(&[("TRADEPOST_SEALING__WRAPPING_KEY", FIRST)]).unwrap();
        assert!(set.current().is_some() && in_file.current() == set.current());

        let former = format!("{FIRST}, {SECOND} ");
        let later = keys(&[("TRADEPOST_SEALING__FORMER_WRAPPING_KEYS", &*former)]).unwrap();
        assert_eq!((later.current(), later.former().next()), (None, set.current()));
        assert_eq!(later.former().nth(1), keys(&[("TRADEPOST_SEALING__WRAPPING_KEY", SECOND)]).unwrap().current());
    }

    #[test]
    fn a_file_that_holds_none_is_named() {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("key");
        let refusal = || keys(&[("TRADEPOST_SEALING__WRAPPING_KEY_FILE", file.to_str().unwrap())]).unwrap_err();
        assert!(refusal().to_string().starts_with("could not read the wrapping key ("), "{}", refusal());
        for wrong in ["short", "long enough to be a key, but for the comma"] {
            std::fs::write(&file, wrong).unwrap();
            let sentence = refusal().to_string();
            assert!(sentence.contains(file.to_str().unwrap()) && !sentence.contains(wrong), "{sentence}");
        }
    }

    #[test]
    fn are_in_no_output_and_no_error() {
        let set = [("TRADEPOST_SEALING__WRAPPING_KEY", FIRST), ("TRADEPOST_SEALING__FORMER_WRAPPING_KEYS", SECOND)];
        let config = load(nowhere(), &set).unwrap();
        let shown = format!("{config:?} {} {:?}", serde_json::to_string(&config).unwrap(), wrapping(&config).unwrap());
        assert!(!shown.contains(FIRST) && !shown.contains(SECOND), "{shown}");
        for key in ["wrapping_key", "former_wrapping_keys"] {
            let refused = refusal(&format!("[sealing]\n{key} = 123456789"), &[]);
            assert!(refused.ends_with("it must be text") && !refused.contains("1234"), "{refused}");
        }
    }
}

mod the_proof_keys {
    //! Which key signs the heads of the log, and that what is no key is refused.

    use eventstore::proof::keys::ProofKey;
    use eventstore::secrets::RootSecret;

    use super::*;

    #[test]
    fn without_a_file_the_key_follows_from_the_root_secret_and_the_name() {
        let secret = RootSecret::new(SECRET.as_bytes());
        let key =
            |config: &Config, secret: &RootSecret| proof_keys(config, secret).unwrap().current().public().to_string();
        let config = Config::default();
        assert_eq!(key(&config, &secret), key(&config, &secret));
        assert_ne!(key(&config, &secret), key(&config, &RootSecret::new(b"another")));
        let named = load(nowhere(), &[("TRADEPOST_PROOF__NAME", "shop.example/log")]).unwrap();
        assert!(key(&named, &secret).starts_with("shop.example/log+"));
    }

    #[test]
    fn a_key_in_a_file_signs_and_the_former_ones_are_believed_too() {
        let (secret, folder) = (RootSecret::new(SECRET.as_bytes()), tempfile::tempdir().unwrap());
        let (file, minted) = (folder.path().join("key"), ProofKey::mint("shop").unwrap());
        std::fs::write(&file, format!("{}\n", minted.expose())).unwrap();
        let (one, two) = (ProofKey::mint("a").unwrap().public(), ProofKey::mint("b").unwrap().public());
        let (path, former) = (file.display().to_string(), format!("{one}, {two}"));
        let set = [("TRADEPOST_PROOF__KEY_FILE", path.as_str()), ("TRADEPOST_PROOF__FORMER_KEYS", &former)];
        let config = load(nowhere(), &set).unwrap();
        assert_eq!(proof_keys(&config, &secret).unwrap().public(), [minted.public(), one, two]);
        std::fs::write(&file, minted.expose().replace("shop", "shap")).unwrap();
        let refused = proof_keys(&config, &secret).unwrap_err().to_string();
        assert!(refused.contains("`proof.key_file`") && !refused.contains("PRIVATE"), "{refused}");
        std::fs::remove_file(&file).unwrap();
        assert!(matches!(proof_keys(&config, &secret), Err(ConfigError::File { .. })));
    }
}
