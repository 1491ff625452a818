-- Proof that the log is what it was: the hashes of a Merkle tree over the events, and its signed heads.
-- Serves: going on where hashing ended; the hashes that a proof consists of, by their places; the newest head, and the
-- first that covers an event; comparing everything with the log. Nodes add to these tables and read them, and cannot
-- rewrite them.

-- The hashes of events that follow one another in the log, at most 256, never across a multiple of 256.
create table proof_leaves (
    -- The position of the first.
    first bigint not null,
    -- What each was called, 16 bytes: tells one that was moved from one that was altered.
    event_ids bytea not null,
    -- 32 bytes each.
    hashes bytea not null,
    constraint proof_leaves_first primary key (first),
    constraint proof_leaves_whole check (
        length(hashes) between 32 and 8192 and length(hashes) % 32 = 0 and length(event_ids) * 2 = length(hashes)
    ),
    constraint proof_leaves_within check ((first - 1) % 256 + length(hashes) / 32 <= 256)
);

-- Hashes cannot be made smaller; trying to would only take time.
alter table proof_leaves alter column event_ids set storage external, alter column hashes set storage external;

-- The hashes of complete subtrees of 2^level events, at every eighth level; those between follow from them.
create table proof_nodes (
    level smallint not null,
    index bigint not null,
    hash bytea not null,
    constraint proof_nodes_place primary key (level, index),
    constraint proof_nodes_kept check (level > 0 and level % 8 = 0 and index >= 0 and length(hash) = 32)
);

-- What was signed of the tree when it had so many leaves: a text that stands for itself.
create table proof_heads (
    size bigint not null,
    note text not null,
    constraint proof_heads_size primary key (size),
    constraint proof_heads_from_one check (size >= 1)
);

grant select, insert on proof_leaves, proof_nodes, proof_heads to tradepost_service;
