//! The words of titles and brands: what a mistyped word was meant to be, and what somebody may be about to type.
//!
//! Words are never taken off the list. A word counts only while something that is shown has it, which is asked each time;
//! so nothing is suggested out of what is archived or removed, or of a seller who is closed.

use sqlx::{PgExecutor, QueryBuilder};

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

/// What a search meant: each word that no listing has is replaced by the most similar one that is on offer. Quotes,
/// minus signs and `or` stay as they are.
pub async fn corrected(executor: impl PgExecutor<'_>, typed: &str) -> Result<String, sqlx::Error> {
    let mut words: Vec<String> = words_of(typed).filter(|word| word.chars().count() >= SHORTEST_MISTAKE).collect();
    words.sort_unstable();
    words.dedup();
    words.truncate(MOST_MISTAKES);
    if words.is_empty() {
        return Ok(typed.to_owned());
    }
    let mistakes: Vec<(String, String)> = sqlx::query_as(
        "select typed.word, nearest.term
         from unnest($1::text[]) as typed (word), lateral (
            select near.term from (
                select term, public.similarity(term, typed.word) as likeness from catalogue.terms
                order by term operator(public.<->) typed.word limit $2
            ) as near
            where likeness >= $3 and exists (
                select from catalogue.listings
                where words @@ plainto_tsquery('english', near.term) and status = 'active'
                    and seller_id not in (select seller_id from catalogue.sellers where closed)
            )
            order by likeness desc, term limit 1
         ) as nearest
         where numnode(plainto_tsquery('english', typed.word)) > 0 and not exists (
            select from catalogue.listings where words @@ plainto_tsquery('english', typed.word)
         )",
    )
    .bind(words)
    .bind(NEAREST)
    .bind(LIKENESS)
    .fetch_all(executor)
    .await?;
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
    /// Words that end what was typed, the shortest first, then those that are similar to it.
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
    let terms = sqlx::query_scalar(
        "select near.term from (
            (select term, true as begins, 0::real as likeness from catalogue.terms
             where term like $1 || '%' order by length(term), term limit $2)
            union all
            (select term, false, public.similarity(term, $1) as likeness from catalogue.terms
             order by term operator(public.<->) $1 limit $2)
         ) as near
         where (begins or likeness >= $4 and term not like $1 || '%') and exists (
            select from catalogue.listings
            where words @@ plainto_tsquery('english', near.term) and status = 'active'
                and seller_id not in (select seller_id from catalogue.sellers where closed)
         )
         order by begins desc, likeness desc, length(term), term limit $3",
    )
    .bind(last)
    .bind(i64::from(limit) + NEAREST)
    .bind(i64::from(limit))
    .bind(LIKENESS)
    .fetch_all(executor)
    .await?;
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
