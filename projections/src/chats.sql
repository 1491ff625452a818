-- Who talks about what, and what was written.
-- Serves: one chat by its id.
create table chats (
    id uuid not null,
    buyer_id uuid not null,
    seller_id uuid not null,
    -- `listing` or `order`, and which.
    about text not null,
    subject_id uuid not null,
    opened_by uuid not null,
    opened_at timestamptz not null,
    messages bigint not null,
    -- The place of the last message in the chat; null before there is any.
    last_message bigint,
    version bigint not null,
    position bigint not null,
    constraint chats_id primary key (id)
);

-- What a chat is to each of its parties.
-- Serves: pages of the chats of one account, by when something was written last; how much an account has not read.
create table members (
    chat_id uuid not null,
    account_id uuid not null,
    other_id uuid not null,
    -- Up to which place in the chat they have read.
    read_upto bigint not null,
    -- How many messages of the other are behind that.
    unread bigint not null,
    active_at timestamptz not null,
    -- Whoever was not written to yet has no such chat in their list.
    listed boolean not null,
    constraint members_account primary key (chat_id, account_id)
);

create index members_active on members (account_id, active_at, chat_id) where listed;
create index members_unread on members (account_id, active_at, chat_id) include (unread) where unread > 0;

-- What has happened in chats, event by event.
-- Serves: pages of one chat's messages; what came after a place in a chat, and after a position of the log; one message
-- by its id; all that somebody has written.
create table activity (
    chat_id uuid not null,
    sequence bigint not null,
    position bigint not null,
    at timestamptz not null,
    kind text not null,
    -- Whose doing it is.
    account_id uuid not null,
    message_id uuid,
    -- What was written; null once the author is forgotten.
    body text,
    -- Up to which place in the chat was read.
    upto bigint,
    constraint activity_sequence primary key (chat_id, sequence),
    constraint activity_position unique (position),
    constraint activity_of_account unique (account_id, chat_id, sequence)
);

create index activity_messages on activity (chat_id, sequence) where kind = 'message';
create index activity_message on activity (message_id) where message_id is not null;
