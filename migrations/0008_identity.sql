-- Guessing passwords, and sockets that end with their session.
-- Serves: counting the log-ins that failed under a hashed address, whether an account has it or not.
create table login_attempts (
    -- The keyed hash of the address, or the account that is asked for its password again.
    subject uuid not null,
    failures integer not null,
    last_at timestamptz not null,
    constraint login_attempts_subject primary key (subject)
);

-- Serves: sweeping out what is over.
create index login_attempts_last on login_attempts (last_at);

grant select, insert, update, delete on login_attempts to tradepost_service;

-- A ticket opens a socket of its session, until the access token expires that it was given for.
alter table socket_tickets add column session_id uuid, add column session_until timestamptz;
