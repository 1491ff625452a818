//! The words of titles and brands: what a mistyped word was meant to be, and what somebody may be about to type.
//!
//! Each is kept with the number of listings that have it, of those that everybody can buy now; so nothing is suggested out
//! of what is a draft, paused, sold out, archived or removed, or of a seller who is closed.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{PgConnection, PgExecutor, QueryBuilder};
use uuid::Uuid;

use super::search::{Viewer, push_visible};
use crate::rows;

/// The shortest and the longest word that is kept, in characters.
const LENGTHS: std::ops::RangeInclusive<usize> = 2..=40;
/// How many of the most similar words are looked at.
const NEAREST: i64 = 10;
/// How much of the groups of three letters of two words must be the same: two letters of a short word that have changed
/// places leave a fifth.
const LIKENESS: f32 = 0.19;
/// Shorter words are taken as they are typed: almost any other is as similar.
const SHORTEST_MISTAKE: usize = 3;

/// How many words of one search are put right.
const MOST_MISTAKES: usize = 10;

/// The words of a text, in small letters.
pub(super) fn words_of(text: &str) -> impl Iterator<Item = String> {
    let words = text.split(|letter: char| !letter.is_alphanumeric()).map(str::to_lowercase);
    words.filter(|word| LENGTHS.contains(&word.chars().count()))
}

/// How many listings have each word, of these listings and of those of these sellers, as far as everybody can buy them.
pub(super) async fn count(
    connection: &mut PgConnection,
    listings: &[Uuid],
    sellers: &[Uuid],
) -> Result<BTreeMap<String, i64>, sqlx::Error> {
    let mut counts = BTreeMap::new();
    if listings.is_empty() && sellers.is_empty() {
        return Ok(counts);
    }
    // While a rebuild fills the table it has no index of sellers: they are looked for only if there are some.
    let mut query = QueryBuilder::new("select title, brand from listings where (id = any(");
    query.push_bind(listings).push(")");
    if !sellers.is_empty() {
        query.push(" or seller_id = any(").push_bind(sellers).push(")");
    }
    query.push(") and status = 'active' and not seller_id = any(array(select seller_id from sellers where closed))");
    let offered: Vec<(String, Option<String>)> = query.build_query_as().fetch_all(connection).await?;
    for (title, brand) in offered {
        let words: BTreeSet<String> = words_of(&title).chain(words_of(brand.as_deref().unwrap_or_default())).collect();
        for word in words {
            *counts.entry(word).or_default() += 1;
        }
    }
    Ok(counts)
}

/// Writes down how the counts of some listings have changed.
pub(super) async fn store(
    connection: &mut PgConnection,
    before: &BTreeMap<String, i64>,
    after: &BTreeMap<String, i64>,
) -> Result<(), sqlx::Error> {
    let words: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let of = |counts: &BTreeMap<String, i64>, word| counts.get(word).copied().unwrap_or_default();
    let changes = words.into_iter().map(|word| (word.as_str(), of(after, word) - of(before, word)));
    let (words, changes): (Vec<&str>, Vec<i64>) = changes.filter(|(_, change)| *change != 0).unzip();
    if words.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into terms (term, listings) select * from unnest($1::text[], $2::bigint[])
         on conflict on constraint terms_term do update set listings = terms.listings + excluded.listings",
    )
    .bind(&words)
    .bind(&changes)
    .execute(&mut *connection)
    .await?;
    if changes.iter().any(|change| *change < 0) {
        let statement = "delete from terms where term = any($1) and listings = 0";
        sqlx::query(statement).bind(&words).execute(connection).await?;
    }
    Ok(())
}

/// What a search meant: each word of neither the titles and brands that are on offer nor anything else that the viewer may
/// see is replaced by the most similar one of the former. Quotes, minus signs and `or` stay as they are.
pub async fn corrected(executor: impl PgExecutor<'_>, typed: &str, viewer: Viewer) -> Result<String, sqlx::Error> {
    let mut words: Vec<String> = words_of(typed).filter(|word| word.chars().count() >= SHORTEST_MISTAKE).collect();
    words.sort_unstable();
    words.dedup();
    words.truncate(MOST_MISTAKES);
    if words.is_empty() {
        return Ok(typed.to_owned());
    }
    // One step after the other: what is similar is looked for only of mistakes, and a word of something on offer is none.
    // In all that can be searched it is then looked for no more, where an index reads each listing that has it.
    let mut query = QueryBuilder::new("with mistakes as materialized (select word from unnest(");
    query.push_bind(words);
    query.push(
        "::text[]) as typed (word)
            where case
                when exists (select from catalogue.terms where term = typed.word) then false
                when numnode(plainto_tsquery('english', word)) = 0 then false
                else not exists (
                    select from catalogue.listings where words @@ plainto_tsquery('english', typed.word) and (",
    );
    push_visible(&mut query, viewer);
    query.push(
        ")) end)
         select word, nearest.term from mistakes, lateral (
            select term from (
                select term, listings, public.similarity(term, word) as likeness from catalogue.terms
                order by term operator(public.<->) word limit ",
    );
    query.push_bind(NEAREST).push(") as near where likeness >= ").push_bind(LIKENESS);
    query.push(" order by likeness desc, listings desc, term limit 1) as nearest");
    let mistakes: Vec<(String, String)> = query.build_query_as().fetch_all(executor).await?;
    Ok(mistakes.into_iter().fold(typed.to_owned(), |text, (mistake, meant)| replaced(&text, &mistake, &meant)))
}

/// The text with one word for another, wherever it is a whole word.
fn replaced(text: &str, word: &str, other: &str) -> String {
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|letter: char| !letter.is_alphanumeric()).unwrap_or(rest.len());
        let (this, more) = rest.split_at(end);
        replaced.push_str(if this.to_lowercase() == word { other } else { this });
        let gap = more.find(char::is_alphanumeric).unwrap_or(more.len());
        let (between, more) = more.split_at(gap);
        replaced.push_str(between);
        rest = more;
    }
    replaced
}

/// What somebody may be about to type.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Suggestions {
    /// Words that the last one may become, in most listings first; if there are none, those that are similar to it.
    pub terms: Vec<String>,
    /// Titles of what is offered that have all the words, the most popular first.
    pub titles: Vec<String>,
}

/// What somebody may be about to type who has typed this: the last word may be a beginning, or mistyped.
pub async fn suggestions<'e, E>(executor: E, typed: &str, limit: u32) -> Result<Suggestions, sqlx::Error>
where
    E: PgExecutor<'e> + Copy,
{
    let typed = rows::stored(typed);
    let words: Vec<String> = words_of(&typed).collect();
    let Some(last) = words.last() else { return Ok(Suggestions { terms: vec![], titles: vec![] }) };
    // Words have letters and digits alone, so nothing in them means anything to `like` or to a search.
    let beginning = "select term from catalogue.terms where term like $1 || '%' order by listings desc, term limit $2";
    let mut terms: Vec<String> =
        sqlx::query_scalar(beginning).bind(last).bind(i64::from(limit)).fetch_all(executor).await?;
    if terms.is_empty() {
        terms = sqlx::query_scalar(
            "select term from (
                select term, listings, public.similarity(term, $1) as likeness from catalogue.terms
                order by term operator(public.<->) $1 limit $2
             ) as near
             where likeness >= $4 order by likeness desc, listings desc, term limit $3",
        )
        .bind(last)
        .bind(NEAREST)
        .bind(i64::from(limit))
        .bind(LIKENESS)
        .fetch_all(executor)
        .await?;
    }
    let begun: Vec<String> = words.iter().map(|word| format!("{word}:*")).collect();
    let mut query = QueryBuilder::new(
        "select title from (
            select title, max(popularity) as popularity from catalogue.listings
            where status = 'active' and seller_id not in (select seller_id from catalogue.sellers where closed)
                and words @@ to_tsquery('english', ",
    );
    query.push_bind(begun.join(" & ")).push(") group by title) as titles order by popularity desc, title limit ");
    query.push_bind(i64::from(limit));
    let titles = query.build_query_scalar().fetch_all(executor).await?;
    Ok(Suggestions { terms, titles })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_letters_and_digits_and_are_neither_short_nor_long() {
        let words = |text: &str| words_of(text).collect::<Vec<_>>();
        assert_eq!(words("Cartier's \"Tank\", a 1989 時計!"), ["cartier", "tank", "1989", "時計"]);
        assert_eq!(words(&"x".repeat(41)), Vec::<String>::new());
    }

    #[test]
    fn a_whole_word_is_replaced_and_what_is_around_it_stays() {
        assert_eq!(replaced("\"Tnak\" -tnakz or tnak", "tnak", "tank"), "\"tank\" -tnakz or tank");
        assert_eq!(replaced(" ", "tnak", "tank"), " ");
    }
}
