//! Which categories are there?
//!
//! Those that the staff has defined, closed ones too. Whoever asks gets all of them, as a tree: there are few.

use std::collections::{BTreeMap, BTreeSet};

use domain::category::{self, Attribute, Definition, Event};
use domain::{Aggregate, CategoryId};
use eventstore::Position;
use eventstore::event::DomainEvent;
use eventstore::follower::{Batch, FollowError, Recorded};
use serde::Serialize;
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection, PgExecutor};
use uuid::Uuid;

use crate::{ReadModel, rows};

/// The read model.
pub const MODEL: ReadModel = ReadModel {
    name: "categories",
    next: "categories_next",
    version: 1,
    about: &[category::Category::TYPE],
    ddl: include_str!("categories.sql"),
    apply: |connection, batch| Box::pin(apply(connection, batch)),
};

/// A category.
#[derive(Clone, Debug, FromRow, PartialEq, Serialize)]
pub struct Category {
    /// The category.
    pub id: Uuid,
    /// What listings and addresses call it.
    pub slug: String,
    /// What people call it.
    pub name: String,
    /// The slug of the category that it is a part of.
    pub parent: Option<String>,
    /// Its place among its neighbours, lowest first.
    pub sort_order: i32,
    /// What its listings say of themselves, beside what those above it say.
    pub attributes: Json<Vec<Attribute>>,
    /// The marketplace's share of a sale in basis points, where it says another than those above it.
    pub fee_bps: Option<i64>,
    /// Whether it takes no more listings.
    pub closed: bool,
    /// How many events it has.
    pub version: i64,
    /// Where the last of them is.
    pub position: Position,
}

async fn apply(connection: &mut PgConnection, batch: &Batch) -> Result<(), FollowError> {
    let ids = rows::touched(&batch.events, |event| match event {
        DomainEvent::Category(id, _) => Some(id.0),
        _ => None,
    });
    let known: Vec<Category> =
        sqlx::query_as("select * from categories where id = any($1)").bind(ids).fetch_all(&mut *connection).await?;
    let mut categories: BTreeMap<Uuid, Category> = known.into_iter().map(|row| (row.id, row)).collect();
    for recorded in &batch.events {
        if let DomainEvent::Category(id, event) = &recorded.event {
            take(&mut categories, *id, event, recorded);
        }
    }
    let statement = "
        insert into categories select * from json_populate_recordset(null::categories, $1::json)
        on conflict on constraint categories_id do update set
            (name, parent, sort_order, attributes, fee_bps, closed, version, position)
            = row (excluded.name, excluded.parent, excluded.sort_order, excluded.attributes, excluded.fee_bps,
                excluded.closed, excluded.version, excluded.position)";
    Ok(rows::write(connection, statement, categories.into_values()).await?)
}

fn take(categories: &mut BTreeMap<Uuid, Category>, id: CategoryId, event: &Event, recorded: &Recorded) {
    match event {
        Event::CategoryDefined { definition, .. } | Event::CategoryRevised { definition, .. } => {
            categories.insert(id.0, Category::of(id, definition.clone()));
        }
        Event::CategoryClosed { .. } => {
            if let Some(category) = categories.get_mut(&id.0) {
                category.closed = true;
            }
        }
    }
    if let Some(category) = categories.get_mut(&id.0) {
        (category.version, category.position) = (recorded.sequence, recorded.position);
    }
}

impl Category {
    fn of(id: CategoryId, definition: Definition) -> Self {
        let Definition { slug, name, parent, sort_order, attributes, fee_bps } = definition;
        Self {
            id: id.0,
            slug,
            name,
            parent,
            sort_order,
            attributes: Json(attributes),
            fee_bps: fee_bps.map(i64::from),
            closed: false,
            version: 0,
            position: 0,
        }
    }
}

/// All categories, each below its parent.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    by_slug: BTreeMap<String, Category>,
    /// By the slug of the parent, in order.
    below: BTreeMap<Option<String>, Vec<String>>,
}

/// All categories.
pub async fn tree(executor: impl PgExecutor<'_>) -> Result<Tree, sqlx::Error> {
    let rows = sqlx::query_as("select * from categories.categories").fetch_all(executor).await?;
    Ok(Tree::of(rows))
}

/// Those with a fee of their own, by their slugs, from behind one on, at most `limit`; closed ones too, whose listings are
/// sold all the same.
pub async fn with_fee(
    executor: impl PgExecutor<'_>,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<Category>, sqlx::Error> {
    let statement = "
        select * from categories.categories
        where fee_bps is not null and ($1::text is null or slug > $1) order by slug limit $2";
    sqlx::query_as(statement).bind(after.map(rows::stored)).bind(i64::from(limit)).fetch_all(executor).await
}

impl Tree {
    fn of(mut rows: Vec<Category>) -> Self {
        rows.sort_by(|a, b| (a.sort_order, &a.name, &a.slug).cmp(&(b.sort_order, &b.name, &b.slug)));
        let mut below = BTreeMap::<Option<String>, Vec<String>>::new();
        for row in &rows {
            below.entry(row.parent.clone()).or_default().push(row.slug.clone());
        }
        Self { by_slug: rows.into_iter().map(|row| (row.slug.clone(), row)).collect(), below }
    }

    /// The category of this slug, if it was ever defined.
    pub fn get(&self, slug: &str) -> Option<&Category> {
        self.by_slug.get(slug)
    }

    /// The categories right below this one, or those below none, in order.
    pub fn children(&self, parent: Option<&str>) -> impl Iterator<Item = &Category> {
        let slugs = self.below.get(&parent.map(str::to_owned));
        slugs.into_iter().flatten().filter_map(|slug| self.by_slug.get(slug))
    }

    /// The category and those above it, from the nearest on.
    pub fn upwards<'a>(&'a self, slug: &str) -> Vec<&'a Category> {
        let (mut upwards, mut seen) = (Vec::new(), BTreeSet::new());
        let mut next = self.get(slug);
        while let Some(category) = next.filter(|category| seen.insert(category.id)) {
            upwards.push(category);
            next = category.parent.as_deref().and_then(|parent| self.get(parent));
        }
        upwards
    }

    /// Whether the category takes listings: neither it nor one above it is closed.
    pub fn is_open(&self, slug: &str) -> bool {
        self.upwards(slug).iter().all(|category| !category.closed)
    }

    /// What the listings of a category say of themselves, by its own words and those of the categories above it.
    pub fn attributes(&self, slug: &str) -> Vec<&Attribute> {
        let mut attributes: Vec<&Attribute> = Vec::new();
        for attribute in self.upwards(slug).into_iter().flat_map(|category| category.attributes.iter()) {
            if attributes.iter().all(|known| known.name != attribute.name) {
                attributes.push(attribute);
            }
        }
        attributes
    }

    /// The names of the attributes by which a search offers to filter, of all categories.
    pub fn filterable(&self) -> BTreeSet<&str> {
        let attributes = self.by_slug.values().flat_map(|category| category.attributes.iter());
        attributes.filter(|attribute| attribute.filterable).map(|attribute| attribute.name.as_str()).collect()
    }

    /// The marketplace's share of sales in a category, in basis points, if it is another than usual.
    pub fn fee_bps(&self, slug: &str) -> Option<i64> {
        self.upwards(slug).iter().find_map(|category| category.fee_bps)
    }

    /// The slugs of a category and of all below it; of one that was never defined its own alone.
    pub fn with_all_below(&self, slug: &str) -> Vec<String> {
        let mut all = vec![slug.to_owned()];
        let mut place = 0;
        while let Some(parent) = all.get(place).cloned() {
            let children = self.children(Some(&parent)).map(|child| child.slug.clone());
            let new: Vec<String> = children.filter(|child| !all.contains(child)).collect();
            all.extend(new);
            place += 1;
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(slug: &str, parent: Option<&str>, sort_order: i32) -> Category {
        let definition = Definition {
            slug: slug.to_owned(),
            name: slug.to_owned(),
            parent: parent.map(str::to_owned),
            sort_order,
            attributes: vec![],
            fee_bps: None,
        };
        Category::of(CategoryId::of(slug), definition)
    }

    fn tree() -> Tree {
        let dear = Category { fee_bps: Some(500), ..row("clothes", None, 2) };
        let gone = Category { closed: true, ..row("hats", Some("clothes"), 1) };
        Tree::of(vec![
            row("jumpers", Some("clothes"), 2),
            dear,
            gone,
            row("caps", Some("hats"), 0),
            row("books", None, 1),
        ])
    }

    fn slugs<'a>(categories: impl IntoIterator<Item = &'a Category>) -> Vec<&'a str> {
        categories.into_iter().map(|category| category.slug.as_str()).collect()
    }

    #[test]
    fn children_are_in_order_and_ancestors_from_the_nearest_on() {
        let tree = tree();
        assert_eq!(slugs(tree.children(None)), ["books", "clothes"]);
        assert_eq!(slugs(tree.children(Some("clothes"))), ["hats", "jumpers"]);
        assert_eq!(slugs(tree.upwards("caps")), ["caps", "hats", "clothes"]);
        assert_eq!(tree.with_all_below("clothes"), ["clothes", "hats", "jumpers", "caps"]);
        assert_eq!(tree.with_all_below("nowhere"), ["nowhere"]);
    }

    #[test]
    fn what_is_said_above_counts_below() {
        let tree = tree();
        assert_eq!(["books", "caps"].map(|slug| tree.fee_bps(slug)), [None, Some(500)]);
        assert_eq!(["books", "jumpers", "hats", "caps"].map(|slug| tree.is_open(slug)), [true, true, false, false]);
    }
}
