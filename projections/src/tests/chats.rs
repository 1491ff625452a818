//! Chats: what is listed, what is unread, and the pages of what was written.

use std::collections::BTreeMap;

use domain::chat::{Chat, Event};
use domain::{AccountId, ChatId, MessageId};
use eventstore::event::DomainEvent;
use uuid::Uuid;

use super::database::TestDatabase;
use super::history::History;
use super::questions::walk;
use crate::chats::{self, Kind, Seen};

/// Of each chat: its events, as (place, author or reader, whether it is a message).
fn told(history: &History) -> BTreeMap<Uuid, Vec<(i64, AccountId, bool)>> {
    let mut told: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for recorded in history.recorded() {
        let DomainEvent::Chat(ChatId(id), event) = recorded.event else { continue };
        let (who, is_message) = match event {
            Event::ChatOpened { by, .. } => (by, false),
            Event::MessageSent { author, .. } => (author, true),
            Event::ChatRead { reader, .. } => (reader, false),
        };
        told.entry(id).or_default().push((recorded.sequence, who, is_message));
    }
    told
}

#[tokio::test]
async fn everybody_sees_their_own_chats_and_what_they_have_not_read() {
    let history = History::random(31, 4_000);
    let test = TestDatabase::showing(&history.units).await;
    let (pool, told) = (&test.pool, told(&history));
    let (mut listed, mut unread_somewhere) = (0, 0);
    for account in history.accounts.0.keys().copied().map(AccountId) {
        let all = walk(|cursor| chats::page(pool, account, false, cursor, 3)).await;
        let mut sorted = all.clone();
        sorted.sort_by_key(|seen| std::cmp::Reverse((seen.active_at, seen.chat.id)));
        assert_eq!(all, sorted);
        let unread = |seen: &Seen| {
            let theirs = |(place, who, is_message): &&(i64, AccountId, bool)| {
                *is_message && *who != account && *place > seen.read_upto
            };
            i64::try_from(told[&seen.chat.id].iter().filter(theirs).count()).unwrap()
        };
        for seen in &all {
            let Chat::Open(chat) = history.chats.state(ChatId(seen.chat.id)) else { panic!("{seen:?}") };
            assert_eq!(seen.read_upto, chat.read_by(account).cast_signed());
            assert_eq!(seen.other_read_upto, chat.read_by(chat.other(account)).cast_signed());
            assert_eq!(seen.unread, unread(seen));
            assert_eq!(chats::get(pool, ChatId(seen.chat.id), account).await.unwrap().as_ref(), Some(seen));
        }
        // Nobody is told of a chat in which somebody else has not written anything yet.
        let there = told.iter().filter(|(id, events)| {
            let Chat::Open(chat) = history.chats.state(ChatId(**id)) else { return false };
            let party = [chat.terms.buyer, chat.terms.seller].contains(&account);
            party && (events[0].1 == account || events.iter().any(|(_, _, is_message)| *is_message))
        });
        assert_eq!(all.len(), there.count());
        let with_unread = walk(|cursor| chats::page(pool, account, true, cursor, 3)).await;
        assert_eq!(with_unread, all.iter().filter(|seen| seen.unread > 0).cloned().collect::<Vec<_>>());
        assert_eq!(chats::unread(pool, account).await.unwrap(), all.iter().map(|seen| seen.unread).sum::<i64>());
        (listed, unread_somewhere) = (listed + all.len(), unread_somewhere + with_unread.len());
    }
    assert!(listed > 20 && unread_somewhere > 5, "{listed} {unread_somewhere}");
    let (chat, _) = told.first_key_value().unwrap();
    assert_eq!(chats::get(pool, ChatId(*chat), AccountId(Uuid::nil())).await.unwrap(), None);
}

#[tokio::test]
async fn every_message_is_on_exactly_one_page_either_way() {
    let history = History::random(31, 4_000);
    let test = TestDatabase::showing(&history.units).await;
    let pool = &test.pool;
    let mut seen = 0;
    for (id, events) in told(&history) {
        let chat = ChatId(id);
        let places: Vec<i64> = events.iter().filter(|(.., is_message)| *is_message).map(|(place, ..)| *place).collect();
        let newest = walk(|cursor| chats::messages_page(pool, chat, cursor, 2)).await;
        assert!(newest.iter().rev().map(|message| message.sequence).eq(places.iter().copied()));
        let oldest = walk(|cursor| chats::messages_after(pool, chat, cursor.unwrap_or(0), 2)).await;
        assert!(oldest.iter().eq(newest.iter().rev()));
        let all = chats::activity_after(pool, chat, 0, 10_000).await.unwrap();
        assert!(all.iter().map(|activity| activity.sequence).eq(1..=i64::try_from(events.len()).unwrap()));
        for message in all.iter().filter(|activity| activity.kind == Kind::Message) {
            let id = MessageId(message.message_id.unwrap());
            assert_eq!(chats::message(pool, id).await.unwrap().as_ref(), Some(message));
            seen += 1;
        }
    }
    assert!(seen > 50, "{seen}");
}
