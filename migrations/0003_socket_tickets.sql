-- One-use tickets for opening a socket as an account, on whichever node the socket arrives.
-- Serves: taking a ticket by its hash.
create table socket_tickets (
    ticket_hash bytea not null,
    account_id uuid not null,
    expires_at timestamptz not null,
    constraint socket_tickets_hash primary key (ticket_hash)
);

create index socket_tickets_expiry on socket_tickets (expires_at);

grant select, insert, delete on socket_tickets to tradepost_service;
