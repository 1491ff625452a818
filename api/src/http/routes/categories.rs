//! The tree of categories, and its editing by the staff.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use commands::Change;
use commands::categories::{self as editing, CategoryChanges};
use domain::CategoryId;
use domain::category::{Attribute, AttributeKind, AttributeName, Category, Definition, MOST_ATTRIBUTES};
use domain::money::FULL_BPS;
use garde::Validate;
use projections::catalogue;
use projections::categories::{self, Tree};
use projections::past::{Question, View};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::listings::TAG;
use crate::app::App;
use crate::http::as_of::{AsOf, Look, TakesAsOf};
use crate::http::extract::{Command, Creation, Id, MaybeCaller, NoQuery, Read, Slug};
use crate::http::fields::{is_slug, is_title};
use crate::http::fresh::{Fresh, Tag};
use crate::http::openapi::{Conditional, Keyed, Revalidates, Waits, words};
use crate::http::problem::Problem;
use crate::http::reply::{Done, One};

const STAFF_TAG: &str = "Administration";

/// The routes of this file.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show))
        .routes(routes!(define))
        .routes(routes!(revise, close))
}

/// What the values of an attribute are.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KindBody {
    /// Any words, at most 200 characters.
    Text,
    /// Whole numbers.
    Integer,
    /// Yes or no.
    Boolean,
    /// One of the options.
    Choice,
}

words!(KindName: "text", "integer", "boolean", "choice");

/// Something that the listings of a category say of themselves.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct AttributeBody {
    /// Names it within the category.
    #[schema(value_type = String, example = "movement", pattern = "^[a-z0-9_]{1,32}$")]
    name: AttributeName,
    /// What people call it.
    #[garde(custom(is_title))]
    #[schema(
        example = "Movement",
        min_length = 1,
        max_length = 200,
        pattern = "^[^\\u0000]*[^\\s\\u0000\\u0085][^\\u0000]*$"
    )]
    label: String,
    /// What its values are.
    #[schema(value_type = KindName, inline, example = "choice")]
    kind: KindBody,
    /// Between what a choice is; of no other kind.
    #[garde(length(max = 100), inner(length(chars, min = 1, max = 100)))]
    #[serde(default)]
    #[schema(max_items = 100, schema_with = options_schema, example = json!(["quartz", "automatic"]))]
    options: Vec<String>,
    /// What whole numbers count.
    #[garde(length(chars, max = 20))]
    #[schema(max_length = 20, example = json!(null))]
    unit: Option<String>,
    /// Whether every listing has it.
    #[serde(default)]
    required: bool,
    /// Whether a search offers to filter by it.
    #[serde(default)]
    filterable: bool,
}

fn options_schema() -> utoipa::openapi::schema::Array {
    use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Type};
    let option = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(100));
    let options = ArrayBuilder::new().items(option).max_items(Some(100));
    options.description(Some("Between what a choice is; of no other kind.")).build()
}

impl AttributeBody {
    fn attribute(self, place: usize) -> Result<Attribute, Problem> {
        let Self { name, label, kind, options, unit, required, filterable } = self;
        if kind != KindBody::Choice && !options.is_empty() {
            let pointer = format!("/attributes/{place}/options");
            return Err(Problem::invalid_field(pointer, "unexpected", "only a choice has options"));
        }
        let kind = match kind {
            KindBody::Text => AttributeKind::Text,
            KindBody::Integer => AttributeKind::Integer,
            KindBody::Boolean => AttributeKind::Boolean,
            KindBody::Choice => AttributeKind::Choice { options },
        };
        Ok(Attribute { name, label, kind, unit, required, filterable })
    }
}

impl From<&Attribute> for AttributeBody {
    fn from(attribute: &Attribute) -> Self {
        let Attribute { name, label, kind, unit, required, filterable } = attribute.clone();
        let (kind, options) = match kind {
            AttributeKind::Text => (KindBody::Text, Vec::new()),
            AttributeKind::Integer => (KindBody::Integer, Vec::new()),
            AttributeKind::Boolean => (KindBody::Boolean, Vec::new()),
            AttributeKind::Choice { options } => (KindBody::Choice, options),
        };
        Self { name, label, kind, options, unit, required, filterable }
    }
}

fn attributes(bodies: Vec<AttributeBody>) -> Result<Vec<Attribute>, Problem> {
    bodies.into_iter().enumerate().map(|(place, body)| body.attribute(place)).collect()
}

/// A category and what is below it.
#[derive(Debug, Serialize, ToSchema)]
pub struct CategoryBody {
    #[schema(example = "watches")]
    slug: String,
    #[schema(example = "Watches")]
    name: String,
    /// The slug of the category that it is a part of.
    parent: Option<String>,
    sort_order: i32,
    /// Whether it takes no more listings: it is closed, or one above it is.
    closed: bool,
    /// What its listings say of themselves, by its own words and those of the categories above it.
    attributes: Vec<AttributeBody>,
    /// The marketplace's share of a sale in basis points, if it is another than usual.
    fee_bps: Option<i64>,
    /// How many active listings it has, those of the categories below it included.
    listings: i64,
    /// The open categories right below it, in order.
    #[schema(no_recursion)]
    children: Vec<CategoryBody>,
    /// For `If-Match`.
    version: u64,
}

fn body(tree: &Tree, counts: &BTreeMap<String, i64>, category: &categories::Category) -> CategoryBody {
    let slug = &category.slug;
    let below = tree.with_all_below(slug);
    let children = tree.children(Some(slug)).filter(|child| !child.closed);
    CategoryBody {
        slug: slug.clone(),
        name: category.name.clone(),
        parent: category.parent.clone(),
        sort_order: category.sort_order,
        closed: !tree.is_open(slug),
        attributes: tree.attributes(slug).into_iter().map(AttributeBody::from).collect(),
        fee_bps: tree.fee_bps(slug),
        listings: below.iter().filter_map(|slug| counts.get(slug)).sum(),
        children: children.map(|child| body(tree, counts, child)).collect(),
        version: category.version.unsigned_abs(),
    }
}

/// The tree of open categories.
#[derive(Debug, Serialize, ToSchema)]
pub struct CategoriesBody {
    /// Those that are part of no other, in order.
    items: Vec<CategoryBody>,
}

/// Waits for what is shown, and tells what that is.
async fn shown<Q>(app: &App, read: &Read<Q>) -> Result<Tag, Problem> {
    let models = [&categories::MODEL, &catalogue::MODEL];
    for model in models {
        read.wait_for(app, model.name).await?;
    }
    Ok(Tag::of_several(app, &models, None))
}

async fn read_tree(view: &mut View) -> Result<(Tree, BTreeMap<String, i64>), Problem> {
    let counts = catalogue::active_by_category(&mut *view).await?;
    Ok((categories::tree(view).await?, counts))
}

/// The tree of categories, with how many active listings each has.
#[utoipa::path(get, path = "/categories", tag = TAG, params(Waits, Revalidates),
    responses((status = OK, body = CategoriesBody, description = "The tree"),
        (status = NOT_MODIFIED, description = "As the client has it")))]
async fn list(State(app): State<App>, read: Read<NoQuery>) -> Result<Fresh<CategoriesBody>, Problem> {
    let tag = shown(&app, &read).await?;
    if read.known.has(&tag) {
        return Ok(Fresh::Unchanged(tag));
    }
    let (tree, counts) = read_tree(&mut View::now(&app.pool)).await?;
    let roots = tree.children(None).filter(|category| !category.closed);
    let items = roots.map(|category| body(&tree, &counts, category)).collect();
    Ok(Fresh::Changed(tag, CategoriesBody { items }))
}

/// A category. Its ETag changes with all that is shown of it, such as counts and what is below it; `If-Match` compares
/// its own version. A slug that listings name and the staff has not defined is none.
#[utoipa::path(get, path = "/categories/{slug}", tag = TAG, security((), ("bearer" = [])),
    params(("slug" = String, Path, pattern = "^[a-z0-9-]{1,64}$"), TakesAsOf, Waits, Revalidates),
    responses((status = OK, body = CategoryBody, description = "The category"),
        (status = NOT_MODIFIED, description = "As the client has it")))]
async fn show(
    State(app): State<App>,
    Id(Slug(slug)): Id<Slug>,
    MaybeCaller(caller): MaybeCaller,
    read: AsOf<NoQuery>,
) -> Result<Response, Problem> {
    read.admit(caller)?;
    let position = shown(&app, &read.read).await?.number();
    if !read.is_past()
        && let Some(version) = read.read.known.version_at(position)
    {
        return Ok(One::<CategoryBody>::unchanged(version, position));
    }
    let (slug, is_past) = (&*slug, read.is_past());
    let shown = |mut look: Look| async move {
        let (tree, counts) = read_tree(&mut look.view).await?;
        let category = tree.get(slug).ok_or_else(|| Problem::not_found("category"))?;
        let (version, position) = (category.version.unsigned_abs(), if is_past { category.position } else { position });
        Ok(One { body: body(&tree, &counts, category), version, position })
    };
    Ok(read.answer(&app, Question::Categories, shown).await?.into_response())
}

/// A category that is to be.
#[derive(Clone, Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct NewCategoryBody {
    /// What listings and addresses call it, for ever.
    #[garde(custom(is_slug))]
    #[schema(example = "watches", pattern = "^[a-z0-9-]{1,64}$")]
    slug: String,
    /// What people call it.
    #[garde(custom(is_title))]
    #[schema(
        example = "Watches",
        min_length = 1,
        max_length = 200,
        pattern = "^[^\\u0000]*[^\\s\\u0000\\u0085][^\\u0000]*$"
    )]
    name: String,
    /// The slug of the open category that it is a part of.
    #[garde(inner(custom(is_slug)))]
    #[schema(pattern = "^[a-z0-9-]{1,64}$", example = json!(null))]
    parent: Option<String>,
    /// Its place among its neighbours, lowest first.
    #[garde(range(min = -1_000_000, max = 1_000_000))]
    #[serde(default)]
    #[schema(minimum = -1_000_000, maximum = 1_000_000)]
    sort_order: i32,
    /// What its listings say of themselves.
    #[garde(dive, length(max = MOST_ATTRIBUTES))]
    #[serde(default)]
    #[schema(max_items = 50)]
    attributes: Vec<AttributeBody>,
    /// The marketplace's share of a sale in basis points; that of the category above it, or the usual one, unless told.
    #[garde(range(max = FULL_BPS))]
    #[schema(maximum = 10_000, example = 350)]
    fee_bps: Option<u32>,
    /// Why, for the record of what staff have done.
    #[garde(length(chars, min = 1, max = 1000))]
    #[schema(min_length = 1, max_length = 1000)]
    reason: Option<String>,
}

/// What a command has done to a category.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct CategoryChanged {
    slug: String,
    /// For `If-Match`.
    version: u64,
}

fn changed(world: &mut commands::World<'_>, slug: &str) -> Result<CategoryChanged, commands::Halt> {
    Ok(CategoryChanged { slug: slug.to_owned(), version: world.version::<Category>(CategoryId::of(slug))? })
}

/// Opens a category, or opens one anew that was closed.
#[utoipa::path(post, path = "/admin/categories", tag = STAFF_TAG, security(("bearer" = ["staff"])),
    request_body = NewCategoryBody, params(Keyed),
    responses((status = CREATED, body = CategoryChanged, description = "The category")))]
async fn define(
    State(app): State<App>,
    Creation(command): Creation<NewCategoryBody>,
) -> Result<Done<CategoryChanged>, Problem> {
    let request = command.request_because(&app, command.body.reason.as_deref()).await?;
    let by = command.caller.account;
    let NewCategoryBody { slug, name, parent, sort_order, attributes: bodies, fee_bps, reason: _ } = command.body;
    let definition = Definition { slug, name, parent, sort_order, attributes: attributes(bodies)?, fee_bps };
    let define = move |world: &mut commands::World<'_>| {
        editing::define(world, &definition, by)?;
        changed(world, &definition.slug)
    };
    let accepted = app.engine.submit(request, define).await?;
    let slug = accepted.value.slug.clone();
    Ok(Done::created(accepted, format!("/api/v1/categories/{slug}")))
}

/// What is to change. What is not named stays.
#[derive(Clone, Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct CategoryPatch {
    #[garde(inner(custom(is_title)))]
    #[schema(min_length = 1, max_length = 200, pattern = "^[^\\u0000]*[^\\s\\u0000\\u0085][^\\u0000]*$")]
    name: Option<String>,
    /// The slug of the open category that it is a part of from now on; `null` for none.
    #[serde(default, deserialize_with = "named")]
    #[schema(value_type = Option<String>, pattern = "^[a-z0-9-]{1,64}$")]
    parent: Change<String>,
    #[garde(range(min = -1_000_000, max = 1_000_000))]
    #[schema(minimum = -1_000_000, maximum = 1_000_000)]
    sort_order: Option<i32>,
    /// All its own attributes from now on.
    #[garde(dive, length(max = MOST_ATTRIBUTES))]
    #[schema(max_items = 50)]
    attributes: Option<Vec<AttributeBody>>,
    /// The marketplace's share of a sale in basis points; `null` for that of the category above it, or the usual one.
    #[serde(default, deserialize_with = "named")]
    #[schema(value_type = Option<u32>, maximum = 10_000)]
    fee_bps: Change<u32>,
    /// Why, for the record of what staff have done.
    #[garde(length(chars, min = 1, max = 1000))]
    #[schema(min_length = 1, max_length = 1000)]
    reason: Option<String>,
}

/// A field that is there, be it `null`.
fn named<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Change<T>, D::Error> {
    Option::deserialize(deserializer).map(Change::To)
}

/// Changes a category. Sales that are made before keep the fee that they were made under, and listings what they say.
#[utoipa::path(patch, path = "/admin/categories/{slug}", tag = STAFF_TAG, security(("bearer" = ["staff"])),
    params(("slug" = String, Path, pattern = "^[a-z0-9-]{1,64}$"), Conditional), request_body = CategoryPatch,
    responses((status = OK, body = CategoryChanged, description = "Changed")))]
async fn revise(
    State(app): State<App>,
    Id(Slug(slug)): Id<Slug>,
    command: Command<CategoryPatch>,
) -> Result<Done<CategoryChanged>, Problem> {
    let request = command.request_because(&app, command.body.reason.as_deref()).await?;
    let (by, expected) = (command.caller.account, command.expected_version);
    let CategoryPatch { name, parent, sort_order, attributes: bodies, fee_bps, reason: _ } = command.body;
    if let Change::To(Some(parent)) = &parent {
        is_slug(parent, &()).map_err(|wrong| Problem::invalid_field("/parent", "invalid", wrong.to_string()))?;
    }
    let changes =
        CategoryChanges { name, parent, sort_order, attributes: bodies.map(attributes).transpose()?, fee_bps };
    let revise = move |world: &mut commands::World<'_>| {
        world.get::<Category>(CategoryId::of(&slug))?.definition()?;
        world.expect_version::<Category>(CategoryId::of(&slug), expected)?;
        editing::revise(world, &slug, changes.clone(), by)?;
        changed(world, &slug)
    };
    Ok(Done::ok(app.engine.submit(request, revise).await?))
}

/// Why a category is closed, if that is to be told.
#[derive(Clone, Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct Closing {
    /// Why, for the record of what staff have done.
    #[garde(length(chars, min = 1, max = 1000))]
    #[schema(min_length = 1, max_length = 1000)]
    reason: Option<String>,
}

/// Closes a category, and with it all below it: they take no more listings and leave the tree. The listings that they
/// have stay as they are.
#[utoipa::path(delete, path = "/admin/categories/{slug}", tag = STAFF_TAG, security(("bearer" = ["staff"])),
    params(("slug" = String, Path, pattern = "^[a-z0-9-]{1,64}$"), Conditional), request_body = Closing,
    responses((status = OK, body = CategoryChanged, description = "Closed")))]
async fn close(
    State(app): State<App>,
    Id(Slug(slug)): Id<Slug>,
    command: Command<Closing>,
) -> Result<Done<CategoryChanged>, Problem> {
    let request = command.request_because(&app, command.body.reason.as_deref()).await?;
    let (by, expected) = (command.caller.account, command.expected_version);
    let close = move |world: &mut commands::World<'_>| {
        world.get::<Category>(CategoryId::of(&slug))?.definition()?;
        world.expect_version::<Category>(CategoryId::of(&slug), expected)?;
        editing::close(world, &slug, by)?;
        changed(world, &slug)
    };
    Ok(Done::ok(app.engine.submit(request, close).await?))
}
