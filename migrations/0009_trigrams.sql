-- How similar two words are, by the letters that they share: what a mistyped word in a search was meant to be.
-- Serves: the vocabulary of the catalogue. The extension is trusted, so the owner of the database may make it; its files
-- come with Postgres, or in the package `postgresql-contrib` of systems that part it.
create extension if not exists pg_trgm schema public;
