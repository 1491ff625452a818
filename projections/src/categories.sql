-- The tree of categories, as the staff has defined it.
-- Serves: all of it at once, since it is small.
create table categories (
    id uuid not null,
    slug text not null,
    name text not null,
    -- The slug of the category that it is a part of.
    parent text,
    sort_order integer not null,
    -- What its listings say of themselves: name, label, kind, unit, required and filterable of each.
    attributes json not null,
    -- Basis points; null where nothing else than usual is said.
    fee_bps bigint,
    closed boolean not null,
    version bigint not null,
    position bigint not null,
    constraint categories_id primary key (id)
);
