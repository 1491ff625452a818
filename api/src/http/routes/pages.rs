//! Content pages: written by staff in Markdown, read by anybody.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use domain::PageId;
use domain::page::{Content, LONGEST_BODY, Page};
use garde::Validate;
use projections::pages;
use projections::past::Question;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::http::as_of::{AsOf, Look, TakesAsOf};
use crate::http::extract::{Command, Id, MaybeCaller, Slug};
use crate::http::fields::is_title;
use crate::http::markdown;
use crate::http::openapi::{Conditional, Revalidates, Waits};
use crate::http::problem::Problem;
use crate::http::reply::{Done, One};

const TAG: &str = "Content";

/// The routes of this file.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(show)).routes(routes!(publish))
}

/// A version of a page.
#[derive(Debug, Serialize, ToSchema)]
pub struct PageBody {
    #[schema(example = "terms")]
    slug: String,
    title: String,
    /// Markdown (`CommonMark` with tables and strikethrough), as it was written.
    body: String,
    /// The same as HTML that is safe to be shown as it is: without scripts, handlers, styles, frames and forms.
    html: String,
    published_at: DateTime<Utc>,
    /// Which version this is, from 1. For `If-Match`, if it is the last one.
    version: u64,
}

/// Which version.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct PageQuery {
    /// The last one unless told.
    #[param(minimum = 1, maximum = 9_223_372_036_854_775_807_i64)]
    version: Option<i64>,
}

/// A page, as it is now or as it was.
#[utoipa::path(get, path = "/pages/{slug}", tag = TAG, security((), ("bearer" = [])),
    params(("slug" = String, Path, pattern = "^[a-z0-9-]{1,64}$", example = "terms"), PageQuery, TakesAsOf, Waits,
        Revalidates),
    responses((status = OK, body = PageBody, description = "The page"),
        (status = NOT_MODIFIED, description = "As the client has it")))]
async fn show(
    State(app): State<App>,
    Id(Slug(slug)): Id<Slug>,
    MaybeCaller(caller): MaybeCaller,
    read: AsOf<PageQuery>,
) -> Result<Response, Problem> {
    read.admit(caller)?;
    let wanted = read.read.query.version;
    if wanted.is_some_and(|version| version < 1) {
        return Err(Problem::invalid_field("?version", "out-of-range", "must be at least 1"));
    }
    read.wait_for(&app, pages::MODEL.name).await?;
    let page = &*slug;
    let shown = |mut look: Look| async move {
        pages::get(&mut look.view, page, wanted).await?.ok_or_else(|| Problem::not_found("page"))
    };
    let row = read.answer(&app, Question::Page(page), shown).await?;
    let (version, position) = (row.version.unsigned_abs(), row.position);
    if read.read.known.has_version(version, position) {
        return Ok(One::<PageBody>::unchanged(version, position));
    }
    let pages::Version { slug, title, body, published_at, .. } = row;
    let html = app.rendered.html(&slug, version, &body).await?;
    let html = html.to_string();
    Ok(One { body: PageBody { slug, title, body, html, published_at, version }, version, position }.into_response())
}

/// What a page is to say.
#[derive(Clone, Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct PageText {
    #[garde(custom(is_title))]
    #[schema(
        example = "Terms",
        min_length = 1,
        max_length = 200,
        pattern = "^[^\\u0000]*[^\\s\\u0000\\u0085][^\\u0000]*$"
    )]
    title: String,
    /// Markdown: `CommonMark` with tables and strikethrough. At most 32 elements are within each other, those of HTML that
    /// are left open included.
    #[garde(length(chars, max = LONGEST_BODY))]
    #[schema(example = "# Be kind", max_length = 100_000)]
    body: String,
    /// Why, for the record of what staff have done.
    #[garde(length(chars, min = 1, max = 1000))]
    #[schema(min_length = 1, max_length = 1000)]
    reason: Option<String>,
}

/// The version that is shown from now on.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
pub struct PagePublished {
    version: u64,
    /// Whether this is the first one.
    created: bool,
}

/// Publishes a page, or its next version. Nothing changes if it says the same already.
#[utoipa::path(put, path = "/admin/pages/{slug}", tag = TAG, security(("bearer" = ["staff"])),
    params(("slug" = String, Path, pattern = "^[a-z0-9-]{1,64}$", example = "terms"), Conditional),
    request_body = PageText,
    responses((status = OK, body = PagePublished, description = "The next version, or the same as before"),
        (status = CREATED, body = PagePublished, description = "The first version")))]
async fn publish(
    State(app): State<App>,
    Id(Slug(slug)): Id<Slug>,
    command: Command<PageText>,
) -> Result<Done<PagePublished>, Problem> {
    let (by, expected) = (command.caller.account, command.expected_version);
    let request = command.request_because(&app, command.body.reason.as_deref()).await?;
    let PageText { title, body, reason: _ } = command.body;
    if markdown::is_too_deep(&body) {
        let detail = format!("may have at most {} elements within each other", markdown::DEEPEST);
        return Err(Problem::invalid_field("/body", "too-deep", detail));
    }
    let location = format!("/api/v1/pages/{slug}");
    let page = PageId::of(&slug);
    let content = Content { slug, title, body };
    let publish = move |world: &mut commands::World<'_>| {
        world.expect_version::<Page>(page, expected)?;
        let created = commands::pages::publish(world, content.clone(), by)?;
        Ok(PagePublished { version: world.version::<Page>(page)?, created })
    };
    let accepted = app.engine.submit(request, publish).await?;
    Ok(if accepted.value.created { Done::created(accepted, location) } else { Done::ok(accepted) })
}
