//! Who reads the schema `analytics` with SQL: the role that may, and the logins that are given out.
//!
//! A login is a member of the role and nothing else. It reads only, and gives up on what takes long: what a rebuild has put
//! aside is dropped once nobody reads it any more.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use sqlx::{Connection, Executor, PgConnection};
use thiserror::Error;

use crate::mint;

/// The role that may read the views of `analytics`, and nothing else.
pub const ANALYST_ROLE: &str = "tradepost_analyst";

/// What a session of an analyst begins with. They may change it: it keeps from mistakes; what they may read, the role says.
const SESSION: &str = "alter role %1$I set search_path = analytics;
    alter role %1$I set timezone = 'UTC';
    alter role %1$I set default_transaction_read_only = on;
    alter role %1$I set statement_timeout = '10min';
    alter role %1$I set idle_in_transaction_session_timeout = '1min'";
/// How many sessions a login may have at once, so that it leaves some to the marketplace.
const SESSIONS: i32 = 10;
/// Rounds of hashing, as Postgres itself takes.
const ITERATIONS: u32 = 4_096;

/// Why there is no such login.
#[derive(Debug, Error)]
pub enum AnalystError {
    /// The name is none that an analyst may have.
    #[error(
        "an analyst's name begins with a letter, has at most 63 letters a-z, digits and underscores, and does not begin \
         with pg_ or tradepost; `{0}` does"
    )]
    Name(String),
    /// Somebody else on this server has it.
    #[error("the role `{0}` is there already, and may do other things than analyse")]
    Taken(String),
    /// There is nobody to take away.
    #[error("there is no analyst `{0}`")]
    Unknown(String),
    /// Whoever has it may do other things too, so it is not ours to drop.
    #[error("`{0}` may do other things than analyse: use `revoke {ANALYST_ROLE} from {0}` in SQL")]
    MoreThanAnalyst(String),
    /// There is nothing to read.
    #[error("there is no role {ANALYST_ROLE} yet: migrate first")]
    NotMigrated,
    /// Postgres refuses. Whoever the address names must be allowed to create roles.
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
}

/// What the roles of this server are to a name.
enum Known {
    Nobody,
    Analyst,
    /// It may read as an analyst, and do other things.
    More,
    Other,
}

/// Lets somebody log in under this name, and answers with the password, which is kept nowhere else. Whoever is an analyst
/// already gets a new one.
pub async fn admit(owner: &mut PgConnection, name: &str) -> Result<String, AnalystError> {
    check(name)?;
    let password = URL_SAFE_NO_PAD.encode(mint::secret::<24>());
    // Hashed here, so that the password is in no statement that the server may write down.
    let verifier = verifier(password.as_bytes(), &mint::secret::<16>());
    let mut transaction = owner.begin().await?;
    let how = match known(&mut transaction, name).await? {
        Known::More | Known::Other => return Err(AnalystError::Taken(name.to_owned())),
        Known::Nobody => "create role %1$I login password %2$L connection limit %3$s in role %4$I",
        Known::Analyst => "alter role %1$I login password %2$L connection limit %3$s",
    };
    run(&mut transaction, how, &[name, &verifier, &SESSIONS.to_string(), ANALYST_ROLE]).await?;
    run(&mut transaction, SESSION, &[name]).await?;
    transaction.commit().await?;
    Ok(password)
}

/// Lets somebody log in no more, and ends their sessions.
pub async fn dismiss(owner: &mut PgConnection, name: &str) -> Result<(), AnalystError> {
    check(name)?;
    let mut transaction = owner.begin().await?;
    match known(&mut transaction, name).await? {
        Known::Analyst => {}
        Known::More => return Err(AnalystError::MoreThanAnalyst(name.to_owned())),
        Known::Nobody | Known::Other => return Err(AnalystError::Unknown(name.to_owned())),
    }
    // Whoever is no superuser may end the sessions of those alone of whom they are a member.
    run(&mut transaction, "alter role %1$I nologin; grant %1$I to current_user", &[name]).await?;
    transaction.commit().await?;
    sqlx::query("select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename = $1")
        .bind(name)
        .execute(&mut *owner)
        .await?;
    run(owner, "drop role %I", &[name]).await?;
    Ok(())
}

/// Everybody on this server who may log in and read as an analyst, whatever else they may do, but its administrators.
pub async fn list(owner: &mut PgConnection) -> Result<Vec<String>, AnalystError> {
    let names = sqlx::query_scalar(
        "select distinct member.rolname::text from pg_auth_members
            join pg_roles as member on member.oid = pg_auth_members.member
            join pg_roles as granted on granted.oid = pg_auth_members.roleid
         where granted.rolname = $1 and member.rolcanlogin and not member.rolsuper and not member.rolcreaterole
         order by 1",
    )
    .bind(ANALYST_ROLE)
    .fetch_all(owner)
    .await?;
    Ok(names)
}

fn check(name: &str) -> Result<(), AnalystError> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let begins_well = name.starts_with(|c: char| c.is_ascii_lowercase());
    let ours = ["pg_", "tradepost"].iter().any(|prefix| name.starts_with(prefix)) || name == "postgres";
    if begins_well && !ours && name.len() <= 63 && name.chars().all(plain) {
        Ok(())
    } else {
        Err(AnalystError::Name(name.to_owned()))
    }
}

async fn known(connection: &mut PgConnection, name: &str) -> Result<Known, AnalystError> {
    let migrated: bool = sqlx::query_scalar("select exists (select from pg_roles where rolname = $1)")
        .bind(ANALYST_ROLE)
        .fetch_one(&mut *connection)
        .await?;
    if !migrated {
        return Err(AnalystError::NotMigrated);
    }
    // Somebody who may do more than analyse is not an analyst, whatever else they are a member of.
    // The same membership may be granted more than once.
    let member: Option<(bool, bool)> = sqlx::query_as(
        "select coalesce(bool_or(granted.rolname = $2), false),
            not (member.rolsuper or member.rolcreaterole or member.rolcreatedb or member.rolreplication
                or member.rolbypassrls) and coalesce(bool_and(granted.rolname = $2), false)
         from pg_roles as member
            left join pg_auth_members on pg_auth_members.member = member.oid
            left join pg_roles as granted on granted.oid = pg_auth_members.roleid
         where member.rolname = $1
         group by member.oid, member.rolsuper, member.rolcreaterole, member.rolcreatedb, member.rolreplication,
            member.rolbypassrls",
    )
    .bind(name)
    .bind(ANALYST_ROLE)
    .fetch_optional(connection)
    .await?;
    Ok(match member {
        None => Known::Nobody,
        Some((_, true)) => Known::Analyst,
        Some((true, false)) => Known::More,
        Some((false, false)) => Known::Other,
    })
}

/// Runs statements about names, which cannot be parameters: Postgres itself quotes them into the template.
async fn run(connection: &mut PgConnection, template: &str, names: &[&str]) -> Result<(), sqlx::Error> {
    let statements: String = sqlx::query_scalar("select format($1, variadic $2::text[])")
        .bind(template)
        .bind(names)
        .fetch_one(&mut *connection)
        .await?;
    connection.execute(sqlx::raw_sql(&statements)).await?;
    Ok(())
}

/// What Postgres keeps of a password (RFC 5803): by it a password can be known again, and not found out.
fn verifier(password: &[u8], salt: &[u8]) -> String {
    let mut last = mac(password, &[salt, &1_u32.to_be_bytes()].concat());
    let mut salted = last;
    for _ in 1..ITERATIONS {
        last = mac(password, &last);
        for (sum, byte) in salted.iter_mut().zip(last) {
            *sum ^= byte;
        }
    }
    let stored = Sha256::digest(mac(&salted, b"Client Key"));
    let server = mac(&salted, b"Server Key");
    let [salt, stored, server] = [salt, &stored, &server].map(|bytes| STANDARD.encode(bytes));
    format!("SCRAM-SHA-256${ITERATIONS}:{salt}${stored}:{server}")
}

fn mac(key: &[u8], message: &[u8]) -> [u8; 32] {
    // A key of any length is one.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    mac.update(message);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exchange of RFC 7677, section 3: what its client and server prove to each other follows from the verifier.
    #[test]
    fn a_verifier_is_what_the_standard_says() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let verifier = verifier(b"pencil", &salt);
        let (stored, server) = verifier.rsplit_once('$').unwrap().1.split_once(':').unwrap();
        let [stored, server] = [stored, server].map(|text| STANDARD.decode(text).unwrap());
        let exchanged = b"n=user,r=rOprNGfwEbeRWgbNEkqO,\
            r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,\
            c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        assert_eq!(STANDARD.encode(mac(&server, exchanged)), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        let proof = STANDARD.decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=").unwrap();
        let signature = mac(&stored, exchanged);
        let client: Vec<u8> = proof.iter().zip(signature).map(|(proof, signature)| proof ^ signature).collect();
        assert_eq!(Sha256::digest(client).as_slice(), stored);
    }

    #[test]
    fn an_analyst_has_a_plain_name_and_nobody_elses() {
        for name in ["ann", "bi_tool_2"] {
            assert!(check(name).is_ok(), "{name}");
        }
        for name in
            ["", "Ann", "2nd", "a-b", "a b", "pg_read_all_data", "tradepost_service", "postgres", &"a".repeat(64)]
        {
            assert!(check(name).is_err(), "{name}");
        }
    }
}
