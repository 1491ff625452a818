-- Stores: what they say of themselves, and what staff have decided about them.
-- Serves: one store by its owner and by its slug; pages of stores by novelty and by name, of one state or status, and by
-- words.
create table stores (
    -- The account whose store it is.
    id uuid not null,
    state text not null,
    kyc text not null,
    -- These texts are null once the person is forgotten.
    slug text,
    brand_name text,
    biography text,
    logo text,
    business_address text,
    whatsapp text,
    instagram text,
    facebook text,
    payment_preference text not null,
    -- What staff decided last.
    ruled_by uuid,
    ruled_at timestamptz,
    reason text,
    opened_at timestamptz not null,
    verified_at timestamptz,
    erased_at timestamptz,
    version bigint not null,
    position bigint not null,
    words tsvector not null generated always as
        (to_tsvector('simple', coalesce(brand_name, '') || ' ' || coalesce(slug, '') || ' ' ||
            left(coalesce(biography, ''), 100000))) stored,
    constraint stores_id primary key (id)
);

-- A claim sees to it that no two have the same.
create index stores_by_slug on stores (slug);
create index stores_newest on stores (opened_at, id);
create index stores_newest_by_state on stores (state, opened_at, id);
-- Cut, because an entry of more than 2,700 bytes is an error.
create index stores_by_name on stores (lower(left(brand_name, 100)), id);
create index stores_words on stores using gin (words) with (fastupdate = off);
