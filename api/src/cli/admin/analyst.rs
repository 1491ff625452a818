//! `tradepost admin analyst`: logins for whoever asks the marketplace with SQL.

use clap::Subcommand;
use eventstore::analysts;
use eventstore::database::Database;
use serde_json::json;

use crate::cli::{Failure, Place};
use crate::config::Config;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Analyst {
    /// Let somebody log in to the database under a name, or give them a new password. Prints the address to connect to.
    ///
    /// The password is made here, printed once, and kept nowhere. Such a login may read the views of the schema
    /// `analytics`, which docs/analytics.md lists, and nothing else: no events, no names, no addresses. It reads only, has at
    /// most 10 sessions at once, and gives up on what takes 10 minutes. Whoever the address of the database names must be
    /// allowed to create roles. The private PostgreSQL answers at this address while a server runs it.
    ///
    /// Examples:
    ///   tradepost admin analyst admit ann
    ///   psql "$(tradepost admin analyst admit ann)" -c 'table sellers'
    #[command(verbatim_doc_comment)]
    Admit {
        /// The name: letters a-z, digits and underscores.
        name: String,
        /// As a JSON object with `url`, `user` and `password`.
        #[arg(long)]
        json: bool,
    },
    /// Let somebody log in no more, and end their sessions.
    Dismiss {
        /// The name.
        name: String,
    },
    /// List who may log in to this server as an analyst.
    List {
        /// As a JSON array.
        #[arg(long)]
        json: bool,
    },
}

impl Analyst {
    pub(in crate::cli) async fn run(self, config: &Config) -> Result<(), Failure> {
        let place = Place::beside(config).await?;
        let done = self.run_at(&place.database, config.database.url.is_none()).await;
        place.leave(done).await
    }

    async fn run_at(self, database: &Database, embedded: bool) -> Result<(), Failure> {
        let mut owner = database.connect_as_owner().await?;
        match self {
            Self::Admit { name, json } => {
                let password = analysts::admit(&mut owner, &name).await?;
                // The socket of a private Postgres is for whoever runs it alone.
                let host = embedded.then_some("127.0.0.1");
                let url = database.address_of(host, &name, &password);
                if json {
                    println!("{}", json!({ "url": url, "user": name, "password": password }));
                } else {
                    println!("{url}");
                }
            }
            Self::Dismiss { name } => {
                analysts::dismiss(&mut owner, &name).await?;
                println!("{name} cannot log in any more.");
            }
            Self::List { json } => {
                let names = analysts::list(&mut owner).await?;
                if json {
                    println!("{}", json!(names));
                } else {
                    for name in names {
                        println!("{name}");
                    }
                }
            }
        }
        Ok(())
    }
}
