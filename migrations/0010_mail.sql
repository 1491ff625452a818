-- Messages to mailboxes: what is to be sent, what was, and what could not be.
-- Serves: the next letters that are due, the urgent ones first; how many somebody was sent on a day; what operators look
-- at. Addresses are sealed with the key of the person, here as in the log, so nobody who is forgotten is written to.
create table letters (
    -- That of the notice: sent twice, it is the same message.
    id uuid not null,
    account_id uuid not null,
    kind text not null,
    urgent boolean not null,
    -- The address, sealed.
    mailbox text not null,
    notice json not null,
    -- The event that it tells of, and when that was, by the marketplace's clock.
    position bigint not null,
    at timestamptz not null,
    -- All that follows is real time.
    expires_at timestamptz,
    state text not null default 'waiting',
    attempts integer not null default 0,
    due_at timestamptz not null default now(),
    sent_at timestamptz,
    error text,
    constraint letters_id primary key (id),
    constraint letters_state check (state in ('waiting', 'sent', 'parked'))
);

create index letters_due on letters (urgent desc, due_at, position) where state = 'waiting';
create index letters_account on letters (account_id, at);
create index letters_sent on letters (sent_at) where state = 'sent';
create index letters_parked on letters (position) where state = 'parked';

-- What is to be sent to several: letters are made of it a few at a time.
create table mailings (
    event_id uuid not null,
    -- Null for everybody.
    capability text,
    kind text not null,
    notice json not null,
    position bigint not null,
    at timestamptz not null,
    -- Who has got theirs: everybody up to this account.
    reached uuid not null,
    constraint mailings_event primary key (event_id)
);

-- Who can be written to, and what they want to hear of: derived from the log.
create table mail_people (
    account_id uuid not null,
    email text not null,
    verified boolean not null,
    preferences json not null,
    capabilities text[] not null,
    since bigint not null,
    constraint mail_people_account primary key (account_id)
);

create index mail_people_capabilities on mail_people using gin (capabilities);

-- What has to be remembered to tell of what happens: derived from the log.
create table mail_contexts (
    id uuid not null,
    context json not null,
    constraint mail_contexts_id primary key (id)
);

-- What was sent before these tables were there, or were made anew, is not sent again.
create table mail_quiet (
    upto bigint not null
);

insert into mail_quiet values (0);

grant select, insert, update, delete on letters, mailings, mail_people, mail_contexts to tradepost_service;
grant select, update on mail_quiet to tradepost_service;
