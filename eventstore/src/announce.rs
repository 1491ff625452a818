//! Announcements over NATS that the log has grown: the node that decides makes them, the others look at the log then
//! instead of waiting until they would have looked anyway. One that is lost costs that wait, and a false one a look.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use async_nats::client::SubscribeError;
use futures::StreamExt;
use tokio::sync::Notify;

use crate::lease::Holder;
use crate::log::Head;

/// Where announcements are made.
const SUBJECT: &str = "tradepost.head";
/// After a failure, how long until the next attempt.
const RETRY_PAUSE: Duration = Duration::from_millis(250);

/// Announces every move of `head` while this node decides, until the task is aborted.
pub async fn announce(client: Client, head: Head, deciding: Holder) {
    let mut heads = head.subscribe();
    while heads.changed().await.is_ok() {
        if deciding.is_mine()
            && let Err(error) = client.publish(SUBJECT, "".into()).await
        {
            tracing::debug!(%error, "others are not told that the log has grown; they look by themselves");
        }
    }
}

/// Passes the announcements of other nodes on to `hints`, until the task is aborted.
pub async fn listen(client: Client, hints: Arc<Notify>, deciding: Option<Holder>) {
    loop {
        if let Err(error) = listen_once(&client, &hints, deciding.as_ref()).await {
            tracing::debug!(%error, "announcements cannot be heard");
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

async fn listen_once(client: &Client, hints: &Notify, deciding: Option<&Holder>) -> Result<(), SubscribeError> {
    let mut announcements = client.subscribe(SUBJECT).await?;
    while announcements.next().await.is_some() {
        // Our own are no news.
        if !deciding.is_some_and(Holder::is_mine) {
            hints.notify_one();
        }
    }
    Ok(())
}
