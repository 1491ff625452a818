-- Every version of every content page.
-- Serves: one version of a page by its slug, the last one unless told.
create table versions (
    slug text not null,
    version bigint not null,
    title text not null,
    -- Markdown, as it was written.
    body text not null,
    published_by uuid not null,
    published_at timestamptz not null,
    position bigint not null,
    constraint versions_of_page primary key (slug, version)
);
