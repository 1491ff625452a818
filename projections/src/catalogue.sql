-- What is offered, and who offers it.
-- Serves: one listing by its id, and pages of listings by status, seller, category, price, end and words.
create table listings (
    id uuid not null,
    seller_id uuid not null,
    kind text not null,
    status text not null,
    title text not null,
    description text not null,
    category text not null,
    brand text,
    condition text not null,
    delivery text not null,
    -- Minor units: what sending one piece costs.
    shipping bigint,
    -- Minor units: the fixed price, or what an auction stands at.
    price_minor bigint not null,
    -- Minor units: what is asked while it is on sale.
    sale_minor bigint,
    currency text not null,
    discount json,
    -- What it says of itself under the names that its category has given.
    attributes jsonb not null,
    images json not null,
    featured boolean not null,
    -- The forms in which it comes: sku, options, price and free pieces of each.
    variants json not null,
    -- Free pieces of all forms; null for an auction. Without one the status is sold_out.
    stock bigint,
    starts_at timestamptz,
    ends_at timestamptz,
    bids integer not null,
    created_at timestamptz not null,
    published_at timestamptz,
    archived_at timestamptz,
    review_until timestamptz,
    reason text,
    version bigint not null,
    position bigint not null,
    -- What is free of each form and what is kept for which order, from which variants, stock and status follow.
    pieces json not null,
    -- Where it is in its life, whatever its stock.
    stage text not null,
    -- Whether the window of its discount is open.
    on_sale boolean not null,
    -- Pieces sold, less those that came back unsent.
    sold bigint not null,
    -- First views of each viewer and day, and favourites that are ones now.
    views bigint not null default 0,
    favorites bigint not null default 0,
    -- Reviews that everybody sees, and how many stars they have together.
    ratings bigint not null default 0,
    stars bigint not null default 0,
    -- The one number by which lists are by popularity: a bid counts as ten views, a favourite as twenty, a piece sold as
    -- fifty. In no index here: a view would be a new entry in each of them.
    popularity bigint not null generated always as (50 * sold + 20 * favorites + 10 * bids + views) stored,
    -- The one number by which lists are by rating: thousandths of the average number of stars, and of those that are alike
    -- what more have rated; nothing is last. A rating is rare enough for an index.
    rating bigint not null generated always as
        (coalesce(stars * 1000 / nullif(ratings, 0), 0) * 1000000 + least(ratings, 999999)) stored,
    -- By what lists compare prices.
    asked_minor bigint not null generated always as (coalesce(sale_minor, price_minor)) stored,
    -- Since when it is new to the reader.
    listed_at timestamptz not null generated always as (coalesce(published_at, created_at)) stored,
    -- Cut, because a tsvector of more than a megabyte is an error.
    words tsvector not null generated always as
        (setweight(to_tsvector('english', title), 'A') || setweight(to_tsvector('english', coalesce(brand, '')), 'B')
            || setweight(to_tsvector('english', left(description, 100000)), 'C')) stored,
    constraint listings_id primary key (id),
    constraint listings_stock_not_negative check (stock >= 0)
);

create index listings_newest on listings (status, listed_at, id);
create index listings_of_seller on listings (seller_id, listed_at, id);
-- Cut, because an entry of more than 2,700 bytes is an error.
create index listings_in_category on listings (left(category, 64), status, listed_at, id);
create index listings_in_category_by_price on listings (left(category, 64), status, currency, asked_minor, id);
create index listings_by_price on listings (status, currency, asked_minor, id);
create index listings_by_rating on listings (status, rating, id);
create index listings_ending_soon on listings (status, ends_at, id) where ends_at is not null;
-- Without a list of pending entries, which whoever finds it full has to work off: a tenth of a second.
create index listings_words on listings using gin (words) with (fastupdate = off);
-- Postgres has to know rare words as rare, or it walks through the whole list for one.
alter table listings alter column words set statistics 1000;

create table sellers (
    seller_id uuid not null,
    -- Null once the person is forgotten.
    user_name text,
    -- Whether staff have closed their store: to others, nothing of theirs is there.
    closed boolean not null,
    -- Whether the person is forgotten, and so has no favourites any more.
    forgotten boolean not null,
    constraint sellers_id primary key (seller_id)
);

-- They are few.
create index sellers_closed on sellers (seller_id) where closed;

-- The words of titles and brands of what everybody can buy now.
-- Serves: words that are similar to one, or begin with it, the most frequent first.
create table terms (
    term text not null,
    -- How many listings have it; none without one.
    listings bigint not null,
    constraint terms_term primary key (term)
);

create index terms_similar on terms using gist (term public.gist_trgm_ops);
create index terms_beginning on terms (term text_pattern_ops);

-- What somebody wants to find again.
-- Serves: somebody's, the last first.
create table favorites (
    account_id uuid not null,
    listing_id uuid not null,
    added_at timestamptz not null,
    constraint favorites_of_account primary key (account_id, listing_id)
);

create index favorites_last on favorites (account_id, added_at, listing_id);

-- How much interest there is in each listing and how it is rated, also one whose own events are yet to come.
-- Serves: pages by popularity.
create table interest (
    listing_id uuid not null,
    views bigint not null,
    favorites bigint not null,
    ratings bigint not null,
    stars bigint not null,
    -- Where the last event is of a view, a favourite or a rating.
    position bigint not null,
    -- As the listing has them; null while it is yet to come.
    status text,
    popularity bigint,
    constraint interest_of_listing primary key (listing_id)
);

create index interest_popular on interest (status, popularity, listing_id);
