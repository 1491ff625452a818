-- Where people's money may go, when it goes there by itself, and which merchants they are at providers. Nothing of whoever
-- is forgotten.
-- Serves: the payment methods, plans and merchants of one account.
create table methods (
    id uuid not null,
    owner_id uuid not null,
    provider text not null,
    token text not null,
    -- Null for a merchant of the provider's, and where it cannot be opened.
    label text,
    of_merchant boolean not null,
    paused boolean not null,
    added_at timestamptz not null,
    -- In the order in which they were added.
    added bigint not null,
    constraint methods_id primary key (id),
    constraint methods_once unique (owner_id, provider, token)
);

create table plans (
    owner_id uuid not null,
    currency text not null,
    schedule text not null,
    method_id uuid not null,
    due_at timestamptz,
    constraint plans_currency primary key (owner_id, currency)
);

create table merchants (
    id uuid not null,
    owner_id uuid not null,
    provider text not null,
    reference text not null,
    payouts boolean not null,
    -- What the provider still wants to know, in its own words.
    due jsonb not null,
    position bigint not null,
    constraint merchants_id primary key (id)
);

create index merchants_of_owner on merchants (owner_id, provider, position);

-- Of whom nothing is kept, whatever comes late.
create table forgotten (
    owner_id uuid not null,
    constraint forgotten_owner primary key (owner_id)
);

create table payees (
    owner_id uuid not null,
    version bigint not null,
    position bigint not null,
    constraint payees_owner primary key (owner_id)
);
