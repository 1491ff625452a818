-- Who does what only one node should do at a time: decide commands, relay the log. A lease is good until it expires and
-- is kept by asking again; no session or lock is held, so it works through a connection pooler too.
-- Serves: taking a lease, keeping it, and telling who has it, in one statement each.

create table leases (
    name text not null,
    holder uuid not null,
    -- A node that is better suited takes a lease from one that is less.
    priority integer not null,
    expires_at timestamptz not null,
    constraint leases_name primary key (name)
) with (fillfactor = 50);

grant select, insert, update, delete on leases to tradepost_service;
