-- What people were told, what of it they have read, and what they want to be told. Whoever is forgotten has nothing of it.
-- Serves: the newest of what somebody was told, how much of it is unread, and what is new for those who look right now.
create table notifications (
    -- An account, or the name of everybody who may see it: that comes first, since `apply` finds whole lists by it, and
    -- what of them is unread.
    recipient uuid not null,
    position bigint not null,
    id uuid not null,
    -- Null if it is for one account.
    audience text,
    kind text not null,
    -- The listing that the staff is asked to look at. They are asked once at a time, so `apply` finds the row by it.
    waiting uuid,
    notice json not null,
    in_app boolean not null,
    live boolean not null,
    at timestamptz not null,
    -- Of one account only; see `marks`.
    read_at timestamptz,
    constraint notifications_recipient primary key (recipient, position),
    constraint notifications_id unique (id),
    constraint notifications_waiting unique (waiting)
);

create index notifications_unread on notifications (recipient) where in_app and read_at is null and audience is null;
create index notifications_position on notifications (position);

-- Who has read what is not for them alone.
create table marks (
    account_id uuid not null,
    notification_id uuid not null,
    read_at timestamptz not null,
    constraint marks_account primary key (account_id, notification_id),
    constraint marks_notification unique (notification_id, account_id)
);

-- Who may see what is for several: what came later than that they belong to these.
create table holdings (
    account_id uuid not null,
    recipient uuid not null,
    audience text not null,
    since bigint not null,
    constraint holdings_account primary key (account_id, recipient),
    constraint holdings_recipient unique (recipient, account_id)
);

create table people (
    account_id uuid not null,
    -- Where that is not as usual, by kind.
    preferences json not null,
    -- Everything up to there was read.
    all_read bigint not null,
    all_read_at timestamptz,
    erased boolean not null,
    version bigint not null,
    position bigint not null,
    constraint people_account primary key (account_id)
);

-- What has to be remembered to tell of what happens: see `domain::notice`.
create table contexts (
    id uuid not null,
    context json not null,
    constraint contexts_id primary key (id)
);
