//! `tradepost verify-receipt`: whether a receipt is good, without the marketplace that gave it out.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use domain::{Currency, Money};
use eventstore::proof::TreeHead;
use eventstore::proof::head::{Published, follows};
use eventstore::proof::keys::PublicKey;
use eventstore::proof::receipt::{Deed, Receipt, Statement};
use reqwest::Url;
use serde_json::json;

use super::Failure;
use super::output::show;
use crate::{anchors, outgoing};

/// More than any receipt or head has.
const MOST_BYTES: u64 = 1 << 20;

/// Check a receipt of a bid or payment, as `GET /events/receipts/{id}` gives it, without asking the marketplace.
///
/// Shows that the statement in it was signed with the public key, and that its leaf is in the tree of the signed head that
/// is in it too. With `--head` also that this head agrees with one that was published: everybody who compares with the
/// same head sees the same log. Needs no database and no settings. The exit code is not zero unless all of it holds.
///
/// A published head is an address (`https://shop.example/api/v1/events/head`, which is asked for a proof that it grew out of
/// the receipt's), a file with such an answer, or a file with heads as they were kept (`proof.anchor_file`).
///
/// Examples:
///   tradepost verify-receipt bid.json --public-key 'shop+1a2b3c4d+AfQ…'
///   tradepost verify-receipt bid.json --public-key key.txt --head 'https://shop.example/api/v1/events/head'
///   tradepost verify-receipt bid.json --public-key key.txt --head heads.jsonl
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct VerifyReceipt {
    /// The receipt, as JSON.
    file: PathBuf,
    /// The public key of the log, or a file with one or more, on a line each.
    #[arg(long, value_name = "KEY|FILE")]
    public_key: String,
    /// A published tree head.
    #[arg(long, value_name = "FILE|URL")]
    head: Option<String>,
    /// Tell what was found as JSON.
    #[arg(long)]
    json: bool,
}

impl VerifyReceipt {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let believed = keys(&self.public_key)?;
        let receipt: Receipt = serde_json::from_str(&text(&self.file)?)
            .map_err(|error| format!("{} is no receipt: {error}", self.file.display()))?;
        let (statement, head) =
            receipt.check(&believed).map_err(|fault| format!("the receipt is not good: {fault}"))?;
        let published = match &self.head {
            Some(place) => Some(agreeing(place, &head, &believed).await?),
            None => None,
        };
        let told = json!({
            "good": true,
            "states": statement,
            "size": head.size,
            "root_hash": head.root,
            "signed_at": head.at,
            "agrees_with": published.map(|published| published.size),
        });
        show(self.json, &told, sentence(&statement, &head, published.as_ref()))?;
        Ok(())
    }
}

fn sentence(statement: &Statement, head: &TreeHead, published: Option<&TreeHead>) -> String {
    let Statement { deed, account, subject, amount, currency, at, position, .. } = statement;
    let what = match deed {
        Deed::Bid => "bid in auction",
        Deed::Payment => "payment of order",
        Deed::Deposit => "deposit",
        Deed::Charge => "charge",
    };
    let money = currency.parse::<Currency>().ok().and_then(|currency| Money::new(*amount, currency).ok());
    let money = money.map_or_else(|| format!("{amount} {currency}"), |money| money.to_string());
    let agreed = match published {
        Some(published) if published.size == head.size => " The published head is the same.".to_owned(),
        Some(published) => format!(" The published head of size {} has grown out of it.", published.size),
        None => " It was not compared with a published head: --head does.".to_owned(),
    };
    format!(
        "The receipt is good: the {what} {subject} of {money} by account {account} at {at} is event {position} of the log, \
         under the tree head of size {} of {}.{agreed}",
        head.size, head.at
    )
}

/// The keys that were given, or those in the file.
fn keys(given: &str) -> Result<Vec<PublicKey>, Failure> {
    if let Ok(key) = given.parse() {
        return Ok(vec![key]);
    }
    let file = Path::new(given);
    if !file.exists() {
        return Err(format!("`{given}` is neither a public key nor a file").into());
    }
    let text = text(file)?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let keys = lines.map(|line| line.parse().map_err(|fault| format!("{}: {fault}", file.display())));
    let keys: Vec<PublicKey> = keys.collect::<Result<_, String>>()?;
    if keys.is_empty() { Err(format!("there is no key in {}", file.display()).into()) } else { Ok(keys) }
}

/// The text of a file that is not too large.
fn text(file: &Path) -> Result<String, Failure> {
    let told = |error: std::io::Error| format!("{}: {error}", file.display());
    if fs::metadata(file).map_err(told)?.len() > MOST_BYTES {
        return Err(format!("{} is larger than any receipt or head", file.display()).into());
    }
    Ok(fs::read_to_string(file).map_err(told)?)
}

/// The published head, if the one of the receipt belongs to the same log.
async fn agreeing(place: &str, own: &TreeHead, believed: &[PublicKey]) -> Result<TreeHead, Failure> {
    let published = if place.starts_with("https://") || place.starts_with("http://") {
        vec![fetch(place, own.size).await?]
    } else {
        in_file(Path::new(place))?
    };
    let mut newest = None;
    for Published { note, from, consistency } in published {
        let (head, _) = TreeHead::open(&note, believed).map_err(|fault| format!("the published head: {fault}"))?;
        if head.size == own.size || (head.size > own.size && from == Some(own.size)) {
            follows(own, &head, &consistency)?;
            return Ok(head);
        }
        newest = newest.max(Some(head.size));
    }
    let own = own.size;
    Err(match newest {
        Some(size) => format!(
            "the published head of size {size} cannot be compared with that of the receipt, of size {own}: take \
             /events/head?from={own}, or a receipt with ?size={size}"
        ),
        None => format!("{place} holds no tree head"),
    }
    .into())
}

async fn fetch(place: &str, from: u64) -> Result<Published, Failure> {
    let mut url = Url::parse(place)?;
    if !url.query_pairs().any(|(name, _)| name == "from") {
        url.query_pairs_mut().append_pair("from", &from.to_string());
    }
    let answer = outgoing::client()?.get(url).send().await?.error_for_status()?;
    if answer.content_length().is_some_and(|length| length > MOST_BYTES) {
        return Err("the answer is larger than any head".into());
    }
    Ok(answer.json().await?)
}

fn in_file(file: &Path) -> Result<Vec<Published>, Failure> {
    if let Ok(published) = serde_json::from_str(&text(file)?) {
        return Ok(vec![published]);
    }
    let heads = anchors::read(file)?.into_iter();
    Ok(heads.map(|note| Published { note, from: None, consistency: Vec::new() }).collect())
}
