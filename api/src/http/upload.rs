//! Reading files that somebody sends: forms with one field of files (`multipart/form-data`), bounded in number and size.

use std::marker::PhantomData;

use axum::body::Bytes;
use axum::extract::multipart::{Field, Multipart, MultipartError};
use axum::extract::{DefaultBodyLimit, FromRef, FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use sha2::{Digest, Sha256};
use utoipa::openapi::{KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

use super::extract::{Caller, Command, sent_by, unexpected_if_match};
use super::limits::Limits;
use super::problem::Problem;
use crate::app::App;
use crate::media::picture::MOST_BYTES;
use crate::media::room::{Full, Place};

/// The largest body with files, in bytes.
const BODY_LIMIT: usize = 26 * 1024 * 1024;

/// What a form may bring.
pub trait Form {
    /// The field in which its files are.
    const FIELD: &'static str;
    /// How many there may be.
    const MOST: usize;
}

/// One file.
#[derive(Clone, Copy, Debug)]
pub struct OneFile;

impl Form for OneFile {
    const FIELD: &'static str = "file";
    const MOST: usize = 1;
}

/// A few files.
#[derive(Clone, Copy, Debug)]
pub struct Files;

impl Form for Files {
    const FIELD: &'static str = "files";
    const MOST: usize = 5;
}

/// A command that brings files.
#[derive(Debug)]
pub struct Upload<F> {
    /// Who sends it, under which key, and the files.
    pub command: Command<Vec<Bytes>>,
    /// As long as it is there, so are the files.
    place: Place,
    form: PhantomData<F>,
}

impl<F> Upload<F> {
    /// The command, and the place that its files have.
    pub fn into_parts(self) -> (Command<Vec<Bytes>>, Place) {
        (self.command, self.place)
    }
}

impl<S: Send + Sync, F: Form> FromRequest<S> for Upload<F>
where
    App: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request(mut request: Request, state: &S) -> Result<Self, Problem> {
        let app = App::from_ref(state);
        if request.headers().contains_key(header::IF_MATCH) {
            return Err(unexpected_if_match());
        }
        let sender = sent_by(&request)?;
        let Caller { account, .. } = sender.caller;
        app.limits.upload(account)?;
        if !is_multipart(request.headers()) {
            let detail = "The body must be a form, with Content-Type: multipart/form-data and a boundary.";
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return Err(Problem::new(status, "unsupported-media-type", "Not a form", detail));
        }
        let mut place = app.media()?.room.enter(account).map_err(no_room)?;
        DefaultBodyLimit::max(BODY_LIMIT).apply(&mut request);
        let mut form = Multipart::from_request(request, state)
            .await
            .map_err(|_| Problem::bad_request("malformed-form", "The boundary of the form is missing."))?;
        let mut files = Vec::new();
        while let Some(field) = form.next_field().await.map_err(|error| broken(&error))? {
            if field.name() != Some(F::FIELD) {
                let detail = format!("a form with files has no other field than `{}`", F::FIELD);
                return Err(Problem::invalid_field("", "unexpected", detail));
            }
            if files.len() == F::MOST {
                let detail = format!("must be at most {} files", F::MOST);
                return Err(Problem::invalid_field(format!("/{}", F::FIELD), "too-many", detail));
            }
            files.push(file(field, &mut place).await?);
        }
        if files.is_empty() {
            return Err(Problem::invalid_field(format!("/{}", F::FIELD), "missing", "must be a file"));
        }
        // However the client has put them together.
        let digests: Vec<String> = files.iter().map(|file| format!("{:x}", Sha256::digest(file))).collect();
        Ok(Self { command: sender.command(&app, files, &digests.join(" ")), place, form: PhantomData })
    }
}

/// Whether a request brings a form that may hold files.
pub(crate) fn is_multipart(headers: &HeaderMap) -> bool {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("multipart/form-data")
}

fn no_room(full: Full) -> Problem {
    match full {
        Full::OfAccount => Limits::upload_without_place(),
        Full::OfAll => Problem::unavailable("Too much is being uploaded."),
    }
}

/// The file in a field: what has come of it has a place before it is kept.
async fn file(mut field: Field<'_>, place: &mut Place) -> Result<Bytes, Problem> {
    let mut bytes = Vec::new();
    while let Some(chunk) = field.chunk().await.map_err(|error| broken(&error))? {
        if bytes.len() + chunk.len() > MOST_BYTES {
            let detail = "A file may have at most 5 MiB.";
            return Err(too_large(detail).with("maximum_bytes", MOST_BYTES));
        }
        place.take(chunk.len()).map_err(no_room)?;
        bytes.extend_from_slice(&chunk);
    }
    bytes.shrink_to_fit();
    Ok(bytes.into())
}

fn too_large(detail: &str) -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Too large", detail)
}

fn broken(error: &MultipartError) -> Problem {
    match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large("The body is too large."),
        _ => Problem::bad_request("malformed-form", "The form cannot be read, or broke off."),
    }
}

/// Documents a file.
#[derive(Clone, Copy, Debug)]
pub struct FileBody;

impl PartialSchema for FileBody {
    fn schema() -> RefOr<Schema> {
        let binary = SchemaFormat::KnownFormat(KnownFormat::Binary);
        let what = "A picture: JPEG, PNG, WebP or GIF, by its content, of at most 5 MiB and 25 million pixels, \
             or 16 million if it is a WebP that moves.";
        ObjectBuilder::new().schema_type(Type::String).format(Some(binary)).description(Some(what)).into()
    }
}

impl ToSchema for FileBody {
    fn name() -> std::borrow::Cow<'static, str> {
        "File".into()
    }
}
