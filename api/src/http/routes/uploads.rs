//! Pictures: sent in, and shown.

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use commands::images::{self, NewImage};
use commands::{Accepted, CommandError, Halt, Request, World};
use domain::image::{Format, Stored};
use opentelemetry::context::FutureExt as _;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tracing::Instrument;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::app::App;
use crate::http::extract::Id;
use crate::http::fresh::Known;
use crate::http::openapi::{Keyed, Revalidates};
use crate::http::problem::Problem;
use crate::http::reply::Done;
use crate::http::upload::{FileBody, Files, OneFile, Upload};
use crate::media::picture::Refused;
use crate::media::{NotKept, names};

const TAG: &str = "Uploads";
/// How long a picture may be kept without asking: as long as one may be seen that is deleted.
const KEPT: &str = "public, max-age=86400, must-revalidate";

/// The routes of this file.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(upload_one)).routes(routes!(upload_several)).routes(routes!(show))
}

/// A form with one picture.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only documents what is read piece by piece")]
pub struct ImageForm {
    #[schema(value_type = FileBody)]
    file: String,
}

/// A form with a few pictures.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only documents what is read piece by piece")]
pub struct ImagesForm {
    #[schema(value_type = Vec<FileBody>, min_items = 1, max_items = 5)]
    files: Vec<String>,
}

/// A picture that was uploaded.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct UploadedImage {
    id: Uuid,
    /// Where it is, on this host.
    #[schema(example = "/media/9f3c1d5e7a2b4c6d8e0f1a2b3c4d5e6f.jpg")]
    url: String,
    /// Where its thumbnail is, which fits in 400 × 400 pixels.
    #[schema(example = "/media/9f3c1d5e7a2b4c6d8e0f1a2b3c4d5e6f-thumb.jpg")]
    thumbnail_url: String,
    /// `jpeg` or `png`, whatever it was uploaded in.
    #[schema(value_type = String, example = "jpeg")]
    format: Format,
    /// In pixels: at most 1920.
    width: u32,
    /// In pixels: at most 1080.
    height: u32,
    /// How large the file is.
    bytes: u64,
}

impl UploadedImage {
    fn of(image: &NewImage) -> Self {
        let Stored { format, width, height, bytes, .. } = image.stored;
        let [url, thumbnail_url] = [image.stored.file(), image.stored.thumbnail()].map(|file| names::path_of(&file));
        Self { id: image.image.0, url, thumbnail_url, format, width, height, bytes }
    }

    /// Where it is, on this host.
    pub(super) fn url(&self) -> &str {
        &self.url
    }
}

/// A picture as others see it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ShownImage {
    id: Uuid,
    /// Where it is, on this host.
    #[schema(example = "/media/9f3c1d5e7a2b4c6d8e0f1a2b3c4d5e6f.jpg")]
    url: String,
    /// Where its thumbnail is, which fits in 400 × 400 pixels.
    #[schema(example = "/media/9f3c1d5e7a2b4c6d8e0f1a2b3c4d5e6f-thumb.jpg")]
    thumbnail_url: String,
}

impl ShownImage {
    /// The picture whose file is called so; none if no picture is.
    pub(super) fn of(file: &str) -> Option<Self> {
        let (id, thumbnail) = names::picture(file)?;
        Some(Self { id: id.0, url: names::path_of(file), thumbnail_url: names::path_of(&thumbnail) })
    }
}

/// Pictures that were uploaded.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct UploadedImages {
    items: Vec<UploadedImage>,
}

/// Uploads a picture: JPEG, PNG, WebP or GIF by its content, whatever it is called.
///
/// It is drawn anew: turned upright, made to fit in 1920 × 1080, without what the file says besides, of an animation only
/// the first picture. Stored as JPEG, or as PNG if it is one, a GIF, or partly transparent.
#[utoipa::path(post, path = "/upload/image", tag = TAG, security(("bearer" = [])), params(Keyed),
    request_body(content = ImageForm, content_type = "multipart/form-data"),
    responses((status = CREATED, body = UploadedImage, description = "Stored"),
        (status = PAYLOAD_TOO_LARGE, description = "The file or the form is too large"),
        (status = UNSUPPORTED_MEDIA_TYPE, description = "The body is no form")))]
async fn upload_one(State(app): State<App>, upload: Upload<OneFile>) -> Result<Done<UploadedImage>, Problem> {
    let Accepted { value, position, replayed } = keep(&app, upload, |_, new| Ok(uploaded(new).next())).await?;
    let value = value.ok_or_else(Problem::internal)?;
    let location = value.url.clone();
    Ok(Done::created(Accepted { value, position, replayed }, location))
}

/// Uploads up to five pictures: all of them, or none.
#[utoipa::path(post, path = "/upload/images", tag = TAG, security(("bearer" = [])), params(Keyed),
    request_body(content = ImagesForm, content_type = "multipart/form-data"),
    responses((status = CREATED, body = UploadedImages, description = "Stored; Location is the first one's"),
        (status = PAYLOAD_TOO_LARGE, description = "A file or the form is too large"),
        (status = UNSUPPORTED_MEDIA_TYPE, description = "The body is no form")))]
async fn upload_several(State(app): State<App>, upload: Upload<Files>) -> Result<Done<UploadedImages>, Problem> {
    let accepted = keep(&app, upload, |_, new| Ok(UploadedImages { items: uploaded(new).collect() })).await?;
    let location = accepted.value.items.first().map(|image| image.url.clone()).unwrap_or_default();
    Ok(Done::created(accepted, location))
}

/// What their sender is told of pictures.
pub(super) fn uploaded(new: &[NewImage]) -> impl Iterator<Item = UploadedImage> {
    new.iter().map(UploadedImage::of)
}

/// Makes pictures of what was sent, keeps them, and commits that they are there with whatever else `decide` says of them:
/// all, or none.
///
/// Whoever gives up waiting leaves it behind, and it goes on to its end: files are written that only the end can name or
/// delete.
pub(super) async fn keep<F, T>(
    app: &App,
    upload: Upload<F>,
    mut decide: impl FnMut(&mut World<'_>, &[NewImage]) -> Result<T, Halt> + Send + 'static,
) -> Result<Accepted<T>, Problem>
where
    F: Send + 'static,
    T: Serialize + DeserializeOwned + Send + 'static,
{
    let app = app.clone();
    let (owner, most) = (upload.command.caller.account, app.settings.media.pictures_per_account);
    let decide = move |world: &mut World<'_>, new: &[NewImage]| {
        images::store(world, owner, new, most)?;
        decide(world, new)
    };
    let (command, place) = upload.into_parts();
    let work = async move {
        // As long as the files are there.
        let _place = place;
        let kept = Kept::keep(&app, &command.body).await?;
        kept.commit(&app, command.request(), decide).await
    };
    let done = tokio::spawn(work.with_current_context().in_current_span()).await;
    done.unwrap_or_else(|error| {
        tracing::error!(%error, "an upload");
        Err(Problem::internal())
    })
}

/// Pictures whose files are written, and which the log does not know yet.
#[derive(Debug)]
struct Kept {
    images: Vec<NewImage>,
}

impl Kept {
    /// Makes pictures of files and keeps them: all, or none.
    async fn keep(app: &App, files: &[Bytes]) -> Result<Self, Problem> {
        let mut kept = Self { images: Vec::new() };
        for (number, file) in files.iter().enumerate() {
            match app.media()?.keep(file.clone()).await {
                Ok(image) => kept.images.push(image),
                Err(error) => {
                    kept.drop_files(app).await;
                    return Err(problem(&error, number));
                }
            }
        }
        Ok(kept)
    }

    /// Commits what is to be said of them. Files of which it is certain that the log will never know go again.
    async fn commit<T>(
        self,
        app: &App,
        request: Request,
        mut decide: impl FnMut(&mut World<'_>, &[NewImage]) -> Result<T, Halt> + Send + 'static,
    ) -> Result<Accepted<T>, Problem>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
    {
        let images = self.images.clone();
        let submitted = app.engine.submit(request, move |world| decide(world, &images)).await;
        match &submitted {
            Ok(accepted) if !accepted.replayed => {}
            // It may have been carried out.
            Err(CommandError::Unavailable) => {}
            Ok(_) | Err(_) => self.drop_files(app).await,
        }
        Ok(submitted?)
    }

    async fn drop_files(&self, app: &App) {
        let Some(media) = &app.media else { return };
        for image in &self.images {
            media.drop_files(&image.stored).await;
        }
    }
}

fn problem(error: &NotKept, number: usize) -> Problem {
    let refused = |slug, title, detail: &str| {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, slug, title, detail).with("file", number)
    };
    match error {
        NotKept::Refused(Refused::NotAnImage) => {
            refused("not-an-image", "Not an image", "The file is no JPEG, PNG, WebP or GIF.")
        }
        NotKept::Refused(Refused::Damaged) => refused("image-damaged", "Damaged", "The file is cut off or broken."),
        NotKept::Refused(Refused::TooManyPixels { pixels, most }) => {
            let detail = format!("The picture has more than {} million pixels.", most / 1_000_000);
            refused("image-too-large", "Too many pixels", &detail).with("maximum", *most).with("offered", json!(pixels))
        }
        NotKept::Storage(error) => {
            tracing::warn!(%error, "an upload could not be stored");
            Problem::unavailable("The storage of uploads is not available.")
        }
        NotKept::Defect => {
            tracing::error!(%error, "an upload");
            Problem::internal()
        }
    }
}

/// An uploaded picture, or its thumbnail. It never changes, and is gone once it is removed: whoever keeps it asks again
/// after a day.
#[utoipa::path(get, path = "/media/{name}", tag = TAG,
    params(("name" = String, Path, example = "9f3c1d5e7a2b4c6d8e0f1a2b3c4d5e6f.jpg",
        pattern = "^[0-9a-f]{32}(-thumb)?[.](jpg|png)$"), Revalidates),
    responses((status = OK, description = "The picture",
        content((FileBody = "image/jpeg"), (FileBody = "image/png"))),
        (status = NOT_MODIFIED, description = "As the client has it")))]
async fn show(
    State(app): State<App>,
    method: Method,
    headers: HeaderMap,
    Id(name): Id<String>,
) -> Result<Response, Problem> {
    let away = |error: object_store::Error| {
        tracing::warn!(%error, "a file could not be read");
        Problem::unavailable("The storage of uploads is not available.")
    };
    let gone = || Problem::not_found("file");
    let tag = format!("\"{name}\"");
    let is_known = Known::from_headers(&headers).has_lasting(&tag);
    let (found, content) = if is_known || method == Method::HEAD {
        let found = app.media()?.look(&name).await.map_err(away)?;
        (found.ok_or_else(gone)?, Body::empty())
    } else {
        let (found, content) = app.media()?.read(&name).await.map_err(away)?.ok_or_else(gone)?;
        (found, Body::from_stream(content))
    };
    let kept = [(header::CACHE_CONTROL, KEPT.to_owned()), (header::ETAG, tag)];
    if is_known {
        return Ok((StatusCode::NOT_MODIFIED, kept).into_response());
    }
    let headers = [
        (header::CONTENT_TYPE, found.media_type.to_owned()),
        (header::CONTENT_LENGTH, found.bytes.to_string()),
        // To be shown by pages of others, and saved under no other name than this.
        (HeaderName::from_static("cross-origin-resource-policy"), "cross-origin".to_owned()),
        (header::CONTENT_DISPOSITION, format!("inline; filename=\"{name}\"")),
    ];
    Ok((kept, headers, content).into_response())
}
