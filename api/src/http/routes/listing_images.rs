//! The pictures of a listing: brought by its seller, and taken off again.

use axum::extract::State;
use commands::images::{self, NewImage};
use commands::{World, listings};
use domain::image::{Image, RemovalCause};
use domain::listing::Listing;
use domain::{ImageId, ListingId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::listings::{ListingChanged, TAG, changed};
use super::uploads::{ImagesForm, UploadedImage, keep, uploaded};
use crate::app::App;
use crate::http::extract::{Command, Id, Ids, Nothing};
use crate::http::openapi::{Conditional, Keyed};
use crate::http::problem::Problem;
use crate::http::reply::Done;
use crate::http::upload::{Files, Upload};

/// The routes of this file.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(attach)).routes(routes!(detach))
}

/// The pictures that a listing has got.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct ListingImages {
    items: Vec<UploadedImage>,
    /// The listing's, for `If-Match`.
    version: u64,
}

/// Uploads up to five pictures of a listing, which has ten at most: all of them, or none.
///
/// They are shown after those that it has; the first of a listing is its cover.
#[utoipa::path(post, path = "/listings/{id}/images", tag = TAG, security(("bearer" = [])),
    params(("id" = Uuid, Path), Keyed),
    request_body(content = ImagesForm, content_type = "multipart/form-data"),
    responses((status = CREATED, body = ListingImages, description = "Shown; Location is the first one's"),
        (status = PAYLOAD_TOO_LARGE, description = "A file or the form is too large"),
        (status = UNSUPPORTED_MEDIA_TYPE, description = "The body is no form")))]
async fn attach(
    State(app): State<App>,
    Id(listing): Id<ListingId>,
    upload: Upload<Files>,
) -> Result<Done<ListingImages>, Problem> {
    let seller = upload.command.caller.account;
    // Nothing is decoded for whom the listing does not concern.
    app.engine
        .read(move |world| {
            world.get::<Listing>(listing)?.owned_by(seller)?;
            Ok(())
        })
        .await?;
    let rules = app.listing_rules();
    let attach = move |world: &mut World<'_>, new: &[NewImage]| {
        world.get::<Listing>(listing)?.owned_by(seller)?;
        for image in new {
            listings::attach_image(world, listing, seller, &image.stored.file(), &rules)?;
        }
        Ok(ListingImages { items: uploaded(new).collect(), version: world.version::<Listing>(listing)? })
    };
    let accepted = keep(&app, upload, attach).await?;
    let location = accepted.value.items.first().map(|image| image.url().to_owned()).unwrap_or_default();
    Ok(Done::created(accepted, location))
}

/// Which picture of which listing.
#[derive(Clone, Copy, Debug, Deserialize)]
struct OfListing {
    id: ListingId,
    image_id: ImageId,
}

/// Takes a picture off a listing, and deletes it.
#[utoipa::path(delete, path = "/listings/{id}/images/{image_id}", tag = TAG, security(("bearer" = [])),
    params(("id" = Uuid, Path), ("image_id" = Uuid, Path), Conditional),
    responses((status = OK, body = ListingChanged, description = "Taken off")))]
async fn detach(
    State(app): State<App>,
    Ids(path): Ids<OfListing>,
    command: Command<Nothing>,
) -> Result<Done<ListingChanged>, Problem> {
    let OfListing { id, image_id } = path;
    let (by, expected) = (command.caller.account, command.expected_version);
    let detach = move |world: &mut World<'_>| {
        world.get::<Listing>(id)?.owned_by(by)?;
        world.expect_version::<Listing>(id, expected)?;
        let (_, stored) = world.get::<Image>(image_id)?.stored()?;
        let file = stored.file();
        listings::detach_image(world, id, by, &file)?;
        images::remove(world, image_id, RemovalCause::Detached)?;
        changed(world, id)
    };
    Ok(Done::ok(app.engine.submit(command.request(), detach).await?))
}
