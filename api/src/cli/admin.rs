//! `tradepost admin`: what takes an administrator before there is one, or beside them.

use std::collections::BTreeSet;
use std::io::{BufRead, IsTerminal};

use clap::{Args, Subcommand, ValueEnum};
use commands::{CommandError, Engine, EngineSettings, Halt, Request, World, accounts};
use domain::account::{Capability, Granter};
use domain::claim::Kind;
use domain::{AccountId, Refusal, claim};
use eventstore::clock::Clock;
use eventstore::event::Metadata;
use eventstore::feed::Feed;
use eventstore::log::Head;
use eventstore::mint;
use eventstore::sealing::PersonKey;
use eventstore::secrets::RootSecret;
use garde::Validate;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Failure, Place, secret};
use crate::auth::newcomer::{Registration, newcomer};
use crate::auth::passwords;
use crate::config::{Config, wrapping};

mod analyst;

#[derive(Debug, Subcommand)]
pub(super) enum Admin {
    /// Say who may ask the database with SQL: the views of the schema `analytics`, and nothing else.
    #[command(subcommand)]
    Analyst(analyst::Analyst),
    /// Create an account that may do everything: buy, sell, staff, admin, audit.
    ///
    /// The password is read from standard input, so that it is in no history and no process list:
    ///   echo 'correct horse battery' | tradepost admin create --email root@example.com --user-name root
    /// Works beside a running server.
    #[command(verbatim_doc_comment)]
    Create {
        /// The address to log in with.
        #[arg(long)]
        email: String,
        /// The public name.
        #[arg(long)]
        user_name: String,
    },
    /// Allow an account more. Counts at once, on every node.
    Grant {
        #[command(flatten)]
        whom: Whom,
        /// What to allow: buy, sell, staff, admin, audit; several with commas.
        #[arg(long, value_delimiter = ',', required = true)]
        capability: Vec<May>,
    },
    /// Allow an account less. Counts at once, on every node; its open sockets close.
    Revoke {
        #[command(flatten)]
        whom: Whom,
        /// What not to allow any more: buy, sell, staff, admin, audit; several with commas.
        #[arg(long, value_delimiter = ',', required = true)]
        capability: Vec<May>,
    },
    /// Let an account trade no more until it is reinstated: it may read, and settle what it owes.
    Suspend {
        #[command(flatten)]
        whom: Whom,
        /// Why, for staff: it is kept in the history.
        #[arg(long)]
        reason: String,
    },
    /// Let an account trade again, whatever it was blocked for.
    Reinstate {
        #[command(flatten)]
        whom: Whom,
    },
}

/// An account.
#[derive(Debug, Args)]
pub(super) struct Whom {
    /// The address that the account logs in with.
    #[arg(long)]
    email: String,
}

/// A capability, as it is written on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum May {
    Buy,
    Sell,
    Staff,
    Admin,
    Audit,
}

impl From<May> for Capability {
    fn from(may: May) -> Self {
        match may {
            May::Buy => Self::Buy,
            May::Sell => Self::Sell,
            May::Staff => Self::Staff,
            May::Admin => Self::Admin,
            May::Audit => Self::Audit,
        }
    }
}

impl Admin {
    pub(super) async fn run(self, config: &Config) -> Result<(), Failure> {
        let by = Granter::Operator;
        let all = |capability: Vec<May>| capability.into_iter().map(Capability::from).collect::<BTreeSet<_>>();
        match self {
            Self::Analyst(command) => command.run(config).await,
            Self::Create { email, user_name } => create(config, email, user_name).await,
            Self::Grant { whom, capability } => {
                let more = all(capability);
                change(config, whom, "may do more", move |world, it| accounts::grant(world, it, more.clone(), by)).await
            }
            Self::Revoke { whom, capability } => {
                let less = all(capability);
                change(config, whom, "may do less", move |world, it| accounts::revoke(world, it, less.clone(), by))
                    .await
            }
            Self::Suspend { whom, reason } => {
                let reason = reason.trim().to_owned();
                if reason.is_empty() {
                    return Err("a reason is needed: it is kept in the history".into());
                }
                suspend(config, &whom, &reason).await
            }
            Self::Reinstate { whom } => {
                change(config, whom, "may trade", move |world, it| accounts::reinstate(world, it, by)).await
            }
        }
    }
}

/// Creates an account that may do everything.
async fn create(config: &Config, email: String, user_name: String) -> Result<(), Failure> {
    let password = read_password()?;
    let registration = Registration { email, user_name, password, sell: true, store: None, click_id: None };
    if let Err(report) = registration.validate() {
        let wrong = report.iter().map(|(field, error)| format!("{field}: {error}")).collect::<Vec<_>>();
        return Err(format!("such an account cannot be made ({})", wrong.join("; ")).into());
    }
    let Registration { email, user_name, password, .. } = registration;
    if passwords::is_common(&password, &[email.clone(), user_name.clone()]) {
        return Err("such an account cannot be made (password: it is too easy to guess)".into());
    }
    let secret = secret(config)?;
    let account = AccountId(mint::id());
    let hash = passwords::hash(&password)?;
    let (wrapping, key, everything) = (wrapping(config)?, PersonKey::mint(account), BTreeSet::from(Capability::ALL));
    let newcomer = newcomer(&secret, &wrapping, &key, &email, &user_name, Some(&hash), everything);
    let register = move |world: &mut World<'_>| {
        accounts::register(world, &newcomer)?;
        accounts::trust_email(world, account)
    };
    match submit(config, register).await? {
        Ok(()) => {
            println!("{email} may do everything; account {account}.");
            Ok(())
        }
        Err(Refusal::Claim(claim::Error::Taken { kind: Kind::UserName })) => {
            Err(format!("the user name {user_name} belongs to an account already").into())
        }
        Err(Refusal::Claim(claim::Error::Taken { .. })) => {
            Err(format!("the e-mail address {email} belongs to an account already").into())
        }
        Err(refusal) => Err(refusal.into()),
    }
}

/// Changes what an account may do, and says so.
async fn change<F>(config: &Config, whom: Whom, outcome: &str, mut what: F) -> Result<(), Failure>
where
    F: FnMut(&mut World<'_>, AccountId) -> Result<(), Halt> + Send + 'static,
{
    let secret: RootSecret = secret(config)?;
    let address = secret.claim(Kind::Email, &whom.email);
    let change = move |world: &mut World<'_>| match accounts::holder_of(world, address)? {
        Some((account, _)) => what(world, account).map(|()| Some(account)),
        None => Ok(None),
    };
    let account = submit(config, change).await??;
    let account = account.ok_or_else(|| format!("no account has the e-mail address {}", whom.email))?;
    println!("{} {outcome}; account {account}.", whom.email);
    Ok(())
}

/// Suspends an account. Why is sealed with the key of whom it is about, so who that is comes first.
async fn suspend(config: &Config, whom: &Whom, reason: &str) -> Result<(), Failure> {
    let address = secret(config)?.claim(Kind::Email, &whom.email);
    let place = Place::beside(config).await?;
    let suspended = async {
        let find = move |world: &mut World<'_>| Ok(accounts::holder_of(world, address)?.map(|(account, _)| account));
        let account = submit_at(&place, find).await??;
        let account = account.ok_or_else(|| format!("no account has the e-mail address {}", whom.email))?;
        let mut connection = place.database.connect(None).await?;
        let key = PersonKey::load(&mut connection, place.database.wrapping(), account).await?;
        let reason = key.ok_or("the account is forgotten")?.seal(reason);
        let suspend = move |world: &mut World<'_>| accounts::suspend(world, account, reason.clone(), Granter::Operator);
        submit_at(&place, suspend).await??;
        println!("{} is suspended; account {account}.", whom.email);
        Ok(())
    };
    let suspended = suspended.await;
    place.leave(suspended).await
}

fn read_password() -> Result<String, Failure> {
    if std::io::stdin().is_terminal() {
        eprintln!("Password (it is shown as you type):");
    }
    let mut password = String::new();
    std::io::stdin().lock().read_line(&mut password)?;
    Ok(password.trim_end_matches(['\r', '\n']).to_owned())
}

/// Carries a command out beside whoever serves the database.
async fn submit<T, F>(config: &Config, command: F) -> Result<Result<T, Refusal>, Failure>
where
    T: Serialize + DeserializeOwned + Send + 'static,
    F: FnMut(&mut World<'_>) -> Result<T, Halt> + Send + 'static,
{
    let place = Place::beside(config).await?;
    let submitted = submit_at(&place, command).await;
    place.leave(submitted).await
}

async fn submit_at<T, F>(place: &Place, command: F) -> Result<Result<T, Refusal>, Failure>
where
    T: Serialize + DeserializeOwned + Send + 'static,
    F: FnMut(&mut World<'_>) -> Result<T, Halt> + Send + 'static,
{
    place.database.migrate().await?;
    let settings = EngineSettings::default();
    let (engine, deciding) =
        Engine::start(&place.database, settings, Clock::new(), Head::at(0), Feed::default()).await?;
    let submitted = engine.submit(Request::once(Metadata::by_operator()), command).await;
    drop(engine);
    let ended = deciding.await;
    match submitted {
        Ok(accepted) => Ok(ended.map(|()| Ok(accepted.value))?),
        Err(CommandError::Refused { refusal, .. }) => Ok(Err(refusal)),
        Err(error) => Err(error.into()),
    }
}
