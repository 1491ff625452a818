//! `tradepost admin`: what takes an administrator before there is one.

use std::collections::BTreeSet;
use std::io::{BufRead, IsTerminal};

use clap::Subcommand;
use commands::{CommandError, Engine, EngineSettings, Request, accounts};
use domain::account::Capability;
use domain::claim::Kind;
use domain::{AccountId, Refusal, claim};
use eventstore::clock::Clock;
use eventstore::event::Metadata;
use eventstore::feed::Feed;
use eventstore::log::Head;
use eventstore::mint;
use eventstore::sealing::PersonKey;
use garde::Validate;

use super::{Failure, Place, secret};
use crate::auth::newcomer::{Registration, newcomer};
use crate::auth::passwords;
use crate::config::Config;

#[derive(Debug, Subcommand)]
pub(super) enum Admin {
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
}

impl Admin {
    pub(super) async fn run(self, config: &Config) -> Result<(), Failure> {
        let Self::Create { email, user_name } = self;
        let registration = Registration { email, user_name, password: read_password()?, sell: true };
        if let Err(report) = registration.validate() {
            let wrong = report.iter().map(|(field, error)| format!("{field}: {error}")).collect::<Vec<_>>();
            return Err(format!("such an account cannot be made ({})", wrong.join("; ")).into());
        }
        let place = Place::beside(config).await?;
        let created = create(config, &place, &registration).await;
        let account = place.leave(created).await?;
        println!("{} may do everything; account {account}.", registration.email);
        Ok(())
    }
}

fn read_password() -> Result<String, Failure> {
    if std::io::stdin().is_terminal() {
        eprintln!("Password (it is shown as you type):");
    }
    let mut password = String::new();
    std::io::stdin().lock().read_line(&mut password)?;
    Ok(password.trim_end_matches(['\r', '\n']).to_owned())
}

async fn create(config: &Config, place: &Place, registration: &Registration) -> Result<AccountId, Failure> {
    let Registration { email, user_name, password, .. } = registration;
    let secret = secret(config)?;
    place.database.migrate().await?;
    let settings = EngineSettings::default();
    let (engine, deciding) =
        Engine::start(&place.database, settings, Clock::new(), Head::at(0), Feed::default()).await?;
    let account = AccountId(mint::id());
    let password_hash = passwords::hash(password)?;
    let (wrapping, everything) = (place.database.wrapping(), BTreeSet::from(Capability::ALL));
    let newcomer = newcomer(&secret, wrapping, &PersonKey::mint(account), email, user_name, &password_hash, everything);
    let register = move |world: &mut commands::World<'_>| accounts::register(world, &newcomer);
    let registered = engine.submit(Request::once(Metadata::by_operator()), register).await;
    drop(engine);
    let ended = deciding.await;
    match registered {
        Ok(_) => Ok(ended.map(|()| account)?),
        Err(CommandError::Refused { refusal: Refusal::Claim(claim::Error::Taken { kind }), .. }) => {
            let what = match kind {
                Kind::Email => format!("the e-mail address {email}"),
                Kind::UserName => format!("the user name {user_name}"),
            };
            Err(format!("{what} belongs to an account already").into())
        }
        Err(error) => Err(error.into()),
    }
}
