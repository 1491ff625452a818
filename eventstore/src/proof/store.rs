//! The hashes as they are kept in the database, and the rows of the log as they are hashed.

use futures::TryStreamExt;
use sqlx::{FromRow, PgConnection, PgExecutor};

use super::leaf::{Hash, StoredEvent};
use super::tree::{Hashes, Node, Plan, fold};
use crate::Position;

/// The most leaves in a row, and a row never crosses a multiple of it.
pub const ROW_LEAVES: u64 = 256;

/// The rows of the log after `from` up to and including `to`, in order, with everything in them.
pub async fn stored(
    connection: &mut PgConnection,
    from: Position,
    to: Position,
) -> Result<Vec<StoredEvent>, sqlx::Error> {
    sqlx::query_as(
        "select position, commit_position, recorded_at, sequence, event_id, aggregate_type, aggregate_id, event_type,
            event_version, payload::text as payload, metadata::text as metadata
         from public.events where position > $1 and position <= $2 order by position, event_id",
    )
    .bind(from)
    .bind(to)
    .fetch_all(connection)
    .await
}

/// The row of one event, with everything in it.
pub async fn stored_at(executor: impl PgExecutor<'_>, at: Position) -> Result<Option<StoredEvent>, sqlx::Error> {
    sqlx::query_as(
        "select position, commit_position, recorded_at, sequence, event_id, aggregate_type, aggregate_id, event_type,
            event_version, payload::text as payload, metadata::text as metadata
         from public.events where position = $1",
    )
    .bind(at)
    .fetch_optional(executor)
    .await
}

/// Hashes of events that follow one another in the log.
#[derive(Clone, Debug, Eq, FromRow, PartialEq)]
pub struct LeafRow {
    /// The position of the first.
    pub first: Position,
    /// What each was called, 16 bytes.
    pub event_ids: Vec<u8>,
    /// 32 bytes each.
    pub hashes: Vec<u8>,
}

impl LeafRow {
    /// The hashes.
    pub fn hashes(&self) -> impl Iterator<Item = Hash> {
        self.hashes.as_chunks().0.iter().map(|bytes| Hash(*bytes))
    }

    /// The position behind its last.
    pub fn end(&self) -> Position {
        self.first + i64::try_from(self.hashes.len() / Hash::BYTES).unwrap_or(i64::MAX)
    }
}

/// The rows of hashes that have any of the events after `from` up to and including `to`, in order.
pub async fn leaf_rows(
    connection: &mut PgConnection,
    from: Position,
    to: Position,
) -> Result<Vec<LeafRow>, sqlx::Error> {
    sqlx::query_as(
        "select first, event_ids, hashes from public.proof_leaves
         where first > $1::bigint - 256 and first <= $2 and first + length(hashes) / 32 > $1 + 1 order by first",
    )
    .bind(from)
    .bind(to)
    .fetch_all(connection)
    .await
}

/// How many events have been hashed.
pub async fn size(executor: impl PgExecutor<'_>) -> Result<Position, sqlx::Error> {
    let end: Option<Position> = sqlx::query_scalar(
        // A row beyond all positions, which only the owner can put there, is one of very many events.
        "select least(first, 1::bigint << 62) + length(hashes) / 32 - 1
         from public.proof_leaves order by first desc limit 1",
    )
    .fetch_optional(executor)
    .await?;
    Ok(end.unwrap_or(0))
}

/// How many rows of hashes there are that begin before the first event, or after `end`.
pub(super) async fn rows_outside(executor: impl PgExecutor<'_>, end: Position) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("select count(*) from public.proof_leaves where first < 1 or first > $1")
        .bind(end)
        .fetch_one(executor)
        .await
}

/// How many events there are, or how many hashes if those are more.
pub(super) async fn most(executor: impl PgExecutor<'_>) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(
        "select greatest(
            (select count(*) from public.events),
            (select coalesce(sum(length(hashes) / 32), 0)::bigint from public.proof_leaves)
         )",
    )
    .fetch_one(executor)
    .await
}

/// The newest signed head, as a note.
pub async fn newest_head(executor: impl PgExecutor<'_>) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar("select note from public.proof_heads order by size desc limit 1").fetch_optional(executor).await
}

/// The size of the newest signed head; 0 without any.
pub async fn signed(executor: impl PgExecutor<'_>) -> Result<Position, sqlx::Error> {
    sqlx::query_scalar("select coalesce(max(size), 0) from public.proof_heads").fetch_one(executor).await
}

/// The signed head of a size, as a note.
pub async fn head_of_size(executor: impl PgExecutor<'_>, size: i64) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar("select note from public.proof_heads where size = $1").bind(size).fetch_optional(executor).await
}

/// The hashes of the nodes of `plans`, as far as they are there.
pub async fn hashes(connection: &mut PgConnection, plans: &[&Plan]) -> Result<Hashes, sqlx::Error> {
    let mut wanted: Vec<Node> = plans.iter().flat_map(|plan| plan.nodes()).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let mut kept = Hashes::new();
    for level_of_made in wanted.chunk_by(|one, next| one.made_of().0 == next.made_of().0) {
        let Some(level) = level_of_made.first().map(|node| node.made_of().0) else { continue };
        let ranges = level_of_made.iter().map(|node| node.made_of());
        let (from, to): (Vec<i64>, Vec<i64>) =
            ranges.map(|(_, first, end)| (first.cast_signed(), end.cast_signed())).unzip();
        if level == 0 {
            kept.extend(leaves(connection, from, to).await?);
        } else {
            kept.extend(nodes(connection, level, from, to).await?);
        }
    }
    let made = wanted.into_iter().filter_map(|node| {
        let (level, first, end) = node.made_of();
        let hashes: Option<Vec<Hash>> = (first..end).map(|index| kept.get(&Node { level, index }).copied()).collect();
        Some((node, fold(hashes?)?))
    });
    Ok(made.collect())
}

async fn leaves(connection: &mut PgConnection, from: Vec<i64>, to: Vec<i64>) -> Result<Hashes, sqlx::Error> {
    let rows: Vec<LeafRow> = sqlx::query_as(
        "select distinct on (l.first) l.first, l.event_ids, l.hashes
         from unnest($1::bigint[], $2::bigint[]) as r (first, behind)
         join public.proof_leaves as l on l.first > r.first + 1 - 256 and l.first <= r.behind
            and l.first + length(l.hashes) / 32 > r.first + 1
         order by l.first",
    )
    .bind(from)
    .bind(to)
    .fetch_all(connection)
    .await?;
    let leaves = rows.iter().flat_map(|row| {
        let first = (row.first - 1).cast_unsigned();
        (first..).zip(row.hashes()).map(|(index, hash)| (Node { level: 0, index }, hash))
    });
    Ok(leaves.collect())
}

async fn nodes(connection: &mut PgConnection, level: u8, from: Vec<i64>, to: Vec<i64>) -> Result<Hashes, sqlx::Error> {
    let rows: Vec<(i64, Vec<u8>)> = sqlx::query_as(
        "select n.index, n.hash from unnest($2::bigint[], $3::bigint[]) as r (first, behind)
         join public.proof_nodes as n on n.level = $1 and n.index >= r.first and n.index < r.behind",
    )
    .bind(i16::from(level))
    .bind(from)
    .bind(to)
    .fetch_all(connection)
    .await?;
    let nodes = rows
        .iter()
        .filter_map(|(index, hash)| Some((Node { level, index: index.cast_unsigned() }, Hash::from_slice(hash)?)));
    Ok(nodes.collect())
}

/// Every node that is kept, in order.
pub(super) async fn every_node(connection: &mut PgConnection) -> Result<Vec<(Node, Hash)>, sqlx::Error> {
    sqlx::query_as::<_, (i16, i64, Vec<u8>)>("select level, index, hash from public.proof_nodes order by level, index")
        .fetch(connection)
        .try_filter_map(async |(level, index, hash)| {
            let node = u8::try_from(level).ok().map(|level| Node { level, index: index.cast_unsigned() });
            Ok(node.zip(Hash::from_slice(&hash)))
        })
        .try_collect()
        .await
}

/// The signed heads of sizes after `from` up to and including `to`, by their sizes, in order.
pub(super) async fn heads(
    connection: &mut PgConnection,
    from: i64,
    to: i64,
) -> Result<Vec<(i64, String)>, sqlx::Error> {
    sqlx::query_as("select size, note from public.proof_heads where size > $1 and size <= $2 order by size")
        .bind(from)
        .bind(to)
        .fetch_all(connection)
        .await
}

/// Adds hashes, the nodes that they make complete, and a signed head if there is one; all, or nothing.
pub(super) async fn add(
    connection: &mut PgConnection,
    rows: &[LeafRow],
    nodes: &[(Node, Hash)],
    head: Option<(u64, &str)>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "with leaves as (
            insert into public.proof_leaves (first, event_ids, hashes)
            select * from unnest($1::bigint[], $2::bytea[], $3::bytea[])
         ), nodes as (
            insert into public.proof_nodes (level, index, hash)
            select * from unnest($4::smallint[], $5::bigint[], $6::bytea[])
         )
         insert into public.proof_heads (size, note) select $7, $8 where $7 is not null",
    )
    .bind(rows.iter().map(|row| row.first).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.event_ids.as_slice()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.hashes.as_slice()).collect::<Vec<_>>())
    .bind(nodes.iter().map(|(node, _)| i16::from(node.level)).collect::<Vec<_>>())
    .bind(nodes.iter().map(|(node, _)| node.index.cast_signed()).collect::<Vec<_>>())
    .bind(nodes.iter().map(|(_, hash)| hash.0.as_slice()).collect::<Vec<_>>())
    .bind(head.map(|(size, _)| size.cast_signed()))
    .bind(head.map(|(_, note)| note))
    .execute(connection)
    .await?;
    Ok(())
}
