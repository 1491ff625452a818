//! What happens, over `WebSockets`.
//!
//! Every socket works alike, whatever it shows. It gets the state first, then one message per row of a read model that
//! concerns it, each with its `sequence`: once and in order. Since messages are rows, a socket on any node shows what any
//! node has accepted. One task per node and read model reads new rows and hands them to the sockets of their topic; a
//! socket that falls behind reads what it has missed from the table, and one that does not read at all is cut. Where
//! something is not shown to everybody any more, as the auctions of a store that was closed, the task says so before what
//! comes after that, and those sockets end whose holders may not see it.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `hub` | the sockets of a node by topic, and how news get to them; a read model that sockets show is a [`Channel`] |
//! | `visit` | opening a socket: who may, with which ticket, from where on; `holder` knows what ends it |
//! | `socket` | one open socket; what is told and answered there is a [`Show`] |
//! | `auctions` | auctions as they go, and bidding |
//! | `chats` | chats as they go, and writing |
//! | `notifications` | what somebody is told |
//!
//! [`Channel`]: hub::Channel
//! [`Show`]: socket::Show

use async_nats::Client;
use eventstore::progress::Progress;
use sqlx::PgPool;
use uuid::Uuid;

pub(crate) mod auctions;
pub(crate) mod chats;
mod holder;
mod hub;
pub(crate) mod notifications;
mod socket;
mod visit;

use auctions::Auctions;
use chats::Chats;
use hub::Hub;
use notifications::Notifications;

/// What the sockets of this node show. Clones share it.
#[derive(Clone, Debug)]
pub struct Live {
    /// The name of this node, by which it knows what it has told the others itself.
    node: Uuid,
    auctions: Hub<Auctions>,
    chats: Hub<Chats>,
    notifications: Hub<Notifications>,
}

impl Live {
    /// Of a node that goes by this name here, where nobody watches yet.
    pub fn at(node: Uuid) -> Self {
        Self { node, auctions: Hub::default(), chats: Hub::default(), notifications: Hub::default() }
    }

    /// Hands what is new to the sockets that it concerns, until the task is aborted.
    pub async fn watch(self, pool: PgPool, progress: Progress, nats: Option<Client>) {
        let Self { node, auctions, chats, notifications } = self;
        let hear_typing = async {
            if let Some(nats) = nats {
                chats::hear_typing(nats, node, &chats).await;
            }
        };
        tokio::join!(
            auctions.clone().watch(&pool, &progress),
            chats.clone().watch(&pool, &progress),
            notifications.clone().watch(&pool, &progress),
            hear_typing
        );
    }
}
