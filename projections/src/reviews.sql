-- What buyers say of what they have bought and of how they were served, and what that comes to.
-- Serves: one review; pages of reviews of a listing, a seller, an author or all, by novelty, helpfulness and rating; how
-- listings and sellers are rated; pages of a seller's feedback, and what it comes to.
create table reviews (
    id uuid not null,
    order_id uuid not null,
    listing_id uuid not null,
    sku text not null,
    seller_id uuid not null,
    author_id uuid not null,
    -- shown, or hidden by staff.
    status text not null,
    rating smallint not null,
    -- These are null once their author is forgotten.
    title text,
    text text,
    -- Names of files, which are gone once their author is forgotten.
    images json not null,
    -- Null once the seller is forgotten.
    reply text,
    replied_at timestamptz,
    written_at timestamptz not null,
    revised_at timestamptz,
    hidden_by uuid,
    -- Why; null once whoever has hidden it is forgotten.
    hidden_reason text,
    version bigint not null,
    position bigint not null,
    -- How many find it helpful, as `helpful` has it.
    votes bigint not null default 0,
    constraint reviews_id primary key (id),
    -- By these `apply` finds what somebody has written who is forgotten.
    constraint reviews_of_author unique (author_id, written_at, id),
    constraint reviews_of_seller unique (seller_id, written_at, id),
    constraint reviews_hidden_by unique (hidden_by, id)
);

create index reviews_newest on reviews (written_at, id);
create index reviews_helpful on reviews (votes, id);
create index reviews_rated on reviews (rating, written_at, id);
create index reviews_of_listing on reviews (listing_id, written_at, id);

-- How many find each review helpful, also one whose own events are yet to come.
create table helpful (
    review_id uuid not null,
    votes bigint not null,
    constraint helpful_review primary key (review_id)
);

create table people (
    id uuid not null,
    -- Null once the person is forgotten.
    user_name text,
    constraint people_id primary key (id)
);

-- How many shown reviews there are with each number of stars: of a listing, and of all that somebody sells.
create table listing_ratings (
    listing_id uuid not null,
    one bigint not null,
    two bigint not null,
    three bigint not null,
    four bigint not null,
    five bigint not null,
    constraint listing_ratings_listing primary key (listing_id)
);

create table seller_ratings (
    seller_id uuid not null,
    one bigint not null,
    two bigint not null,
    three bigint not null,
    four bigint not null,
    five bigint not null,
    constraint seller_ratings_seller primary key (seller_id)
);

create table feedback (
    order_id uuid not null,
    buyer_id uuid not null,
    seller_id uuid not null,
    -- Stars.
    communication smallint not null,
    shipping smallint not null,
    accuracy smallint not null,
    platform smallint not null,
    -- These are null once the buyer is forgotten.
    comment text,
    platform_comment text,
    given_at timestamptz not null,
    position bigint not null,
    constraint feedback_order primary key (order_id),
    constraint feedback_of_buyer unique (buyer_id, order_id)
);

create index feedback_of_seller on feedback (seller_id, given_at, order_id);

-- How many have said something of each seller, and how many stars that were together.
create table seller_feedback (
    seller_id uuid not null,
    orders bigint not null,
    communication bigint not null,
    shipping bigint not null,
    accuracy bigint not null,
    platform bigint not null,
    constraint seller_feedback_seller primary key (seller_id)
);
