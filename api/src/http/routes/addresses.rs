//! One's own address book.

use axum::extract::State;
use chrono::{DateTime, Utc};
use commands::address_books;
use domain::address_book::{AddressBook, Changes, Entry, Place};
use domain::{AccountId, AddressId, CityId, ProvinceId};
use eventstore::mint;
use eventstore::sealing::PersonKey;
use garde::Validate;
use projections::addresses;
use projections::past::Question;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::app::App;
use crate::http::as_of::{AsOf, Look, TakesAsOf};
use crate::http::extract::{Caller, Command, Creation, Id, NoQuery, Nothing};
use crate::http::openapi::{Conditional, Keyed, Waits};
use crate::http::problem::Problem;
use crate::http::reply::{Done, One};

const TAG: &str = "Addresses";

/// The routes of this file.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, add)).routes(routes!(patch, remove)).routes(routes!(make_default))
}

/// An address book, all of it: it holds 20 addresses at most.
#[derive(Debug, Serialize, ToSchema)]
pub struct AddressBookBody {
    /// The addresses, oldest first.
    items: Vec<AddressBody>,
    /// That of the whole book, for `If-Match`.
    version: u64,
}

/// An address.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = KeptAddress)]
pub struct AddressBody {
    id: Uuid,
    recipient: Option<String>,
    phone: Option<String>,
    line1: Option<String>,
    line2: Option<String>,
    postal_code: Option<String>,
    city_id: Option<Uuid>,
    /// Nothing if this place is not known here any more.
    #[schema(example = "Lahore")]
    city: Option<String>,
    province_id: Option<Uuid>,
    #[schema(example = "Punjab")]
    province: Option<String>,
    /// ISO 3166-1.
    #[schema(example = "PK")]
    country: Option<String>,
    /// Whether it is the one that is preferred: exactly one is.
    is_default: bool,
    added_at: DateTime<Utc>,
}

fn body(app: &App, row: addresses::Address) -> AddressBody {
    let place = row.city_id.and_then(|city| app.places.city(CityId(city)));
    let province = || row.province_id.and_then(|province| app.places.province(ProvinceId(province)));
    let province = place.map_or_else(province, |(province, _)| Some(province));
    AddressBody {
        id: row.id,
        recipient: row.recipient,
        phone: row.phone,
        line1: row.line1,
        line2: row.line2,
        postal_code: row.postal_code,
        city_id: row.city_id,
        city: place.map(|(_, city)| city.name.clone()),
        province_id: row.province_id,
        province: province.map(|province| province.name.clone()),
        country: province.map(|province| province.country.clone()),
        is_default: row.is_default,
        added_at: row.added_at,
    }
}

/// One's own addresses.
#[utoipa::path(get, path = "/addresses", tag = TAG, security(("bearer" = [])), params(TakesAsOf, Waits),
    responses((status = OK, body = AddressBookBody, description = "All of them")))]
async fn list(State(app): State<App>, caller: Caller, read: AsOf<NoQuery>) -> Result<One<AddressBookBody>, Problem> {
    read.wait_for(&app, addresses::MODEL.name).await?;
    let shown = |mut look: Look| async move { Ok(addresses::of(&mut look.view, caller.account).await?) };
    let shown = read.answer(&app, Question::Addresses(caller.account), shown).await?;
    let addresses::Shown { addresses, version, position } = shown;
    let version = version.unsigned_abs();
    let items = addresses.into_iter().map(|row| body(&app, row)).collect();
    Ok(One { body: AddressBookBody { items, version }, version, position })
}

/// Where something can be sent.
#[derive(Clone, Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct NewAddress {
    /// Who gets what is sent there.
    #[garde(length(chars, min = 1, max = 200))]
    #[schema(example = "Ann Lee", min_length = 1, max_length = 200)]
    recipient: String,
    #[garde(length(chars, max = 40))]
    #[schema(example = "+92 300 1234567", max_length = 40)]
    phone: Option<String>,
    #[garde(length(chars, min = 1, max = 200))]
    #[schema(example = "12 Mall Road", min_length = 1, max_length = 200)]
    line1: String,
    #[garde(length(chars, max = 200))]
    #[schema(max_length = 200)]
    line2: Option<String>,
    #[garde(length(chars, max = 20))]
    #[schema(example = "54000", max_length = 20)]
    postal_code: Option<String>,
    /// One of `/locations/provinces`.
    province_id: Uuid,
    /// One of its cities.
    city_id: Uuid,
    /// Whether to prefer it. The first one is preferred in any case.
    #[serde(default)]
    is_default: bool,
}

/// What is to change of an address. What is not named stays; an empty text leaves a field out.
#[derive(Clone, Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct AddressPatch {
    #[garde(length(chars, min = 1, max = 200))]
    #[schema(min_length = 1, max_length = 200)]
    recipient: Option<String>,
    #[garde(length(chars, max = 40))]
    #[schema(max_length = 40)]
    phone: Option<String>,
    #[garde(length(chars, min = 1, max = 200))]
    #[schema(min_length = 1, max_length = 200)]
    line1: Option<String>,
    #[garde(length(chars, max = 200))]
    #[schema(max_length = 200)]
    line2: Option<String>,
    #[garde(length(chars, max = 20))]
    #[schema(max_length = 20)]
    postal_code: Option<String>,
    /// Takes `city_id`.
    province_id: Option<Uuid>,
    /// Brings its province with it.
    city_id: Option<Uuid>,
}

/// A city that is there.
#[derive(Clone, Copy, Debug)]
struct Found {
    province: ProvinceId,
    city: CityId,
}

impl Found {
    fn sealed(self, key: &PersonKey) -> Place {
        let Self { province, city } = self;
        Place { province: key.seal(&province.to_string()).into(), city: key.seal(&city.to_string()).into() }
    }
}

/// A city, in the province that is named with it.
fn find(app: &App, province: Option<Uuid>, city: Uuid) -> Result<Found, Problem> {
    let unknown = |pointer: &str, detail: &str| Problem::invalid_field(pointer, "unknown", detail);
    if province.is_some_and(|id| app.places.province(ProvinceId(id)).is_none()) {
        return Err(unknown("/province_id", "there is no such province"));
    }
    let found = app.places.city(CityId(city)).ok_or_else(|| unknown("/city_id", "there is no such city"))?;
    if province.is_some_and(|id| id != found.0.id.0) {
        return Err(unknown("/city_id", "this city is not in that province"));
    }
    Ok(Found { province: found.0.id, city: found.1.id })
}

/// What a command has done to an address.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
pub struct AddressChanged {
    id: Uuid,
    /// That of the whole book, for `If-Match`.
    version: u64,
}

/// What opens and seals what somebody says of themselves.
pub(super) async fn key_of(app: &App, account: AccountId) -> Result<PersonKey, Problem> {
    let key = PersonKey::load(&app.pool, &app.wrapping, account).await?;
    key.ok_or_else(|| Problem::not_found("account"))
}

/// Keeps one more address, of 20 at most. Sealed, and shown to nobody else.
#[utoipa::path(post, path = "/addresses", tag = TAG, security(("bearer" = [])), request_body = NewAddress,
    params(Keyed), responses((status = CREATED, body = AddressChanged, description = "Kept")))]
async fn add(State(app): State<App>, Creation(command): Creation<NewAddress>) -> Result<Done<AddressChanged>, Problem> {
    let (request, owner) = (command.request(), command.caller.account);
    let new = command.body;
    let found = find(&app, Some(new.province_id), new.city_id)?;
    let key = key_of(&app, owner).await?;
    let seal = |text: Option<String>| text.filter(|text| !text.is_empty()).map(|text| key.seal(&text));
    let entry = Entry {
        recipient: key.seal(&new.recipient),
        phone: seal(new.phone),
        line1: key.seal(&new.line1),
        line2: seal(new.line2),
        postal_code: seal(new.postal_code),
        place: found.sealed(&key),
    };
    let address = AddressId(mint::id());
    let accepted = app
        .engine
        .submit(request, move |world| {
            address_books::add(world, owner, address, entry.clone(), new.is_default)?;
            changed(world, owner, address)
        })
        .await?;
    let AddressChanged { id, version } = accepted.value;
    Ok(Done::created(accepted, format!("/api/v1/addresses/{id}")).at_version(version))
}

fn changed(
    world: &mut commands::World<'_>,
    owner: AccountId,
    AddressId(id): AddressId,
) -> Result<AddressChanged, commands::Halt> {
    Ok(AddressChanged { id, version: world.version::<AddressBook>(owner)? })
}

/// Carries out a command about one address of the caller's book.
async fn execute<T>(
    app: &App,
    address: AddressId,
    command: &Command<T>,
    mut change: impl FnMut(&mut commands::World<'_>, AccountId) -> Result<(), commands::Halt> + Send + 'static,
) -> Result<Done<AddressChanged>, Problem> {
    let (owner, expected) = (command.caller.account, command.expected_version);
    let execute = move |world: &mut commands::World<'_>| {
        world.get::<AddressBook>(owner)?.expect(address)?;
        world.expect_version::<AddressBook>(owner, expected)?;
        change(world, owner)?;
        changed(world, owner, address)
    };
    Ok(Done::ok(app.engine.submit(command.request(), execute).await?))
}

/// Changes an address.
#[utoipa::path(patch, path = "/addresses/{id}", tag = TAG, security(("bearer" = [])), request_body = AddressPatch,
    params(("id" = Uuid, Path), Conditional),
    responses((status = OK, body = AddressChanged, description = "Changed")))]
async fn patch(
    State(app): State<App>,
    Id(address): Id<AddressId>,
    command: Command<AddressPatch>,
) -> Result<Done<AddressChanged>, Problem> {
    let patch = command.body.clone();
    let found = match (patch.province_id, patch.city_id) {
        (None, None) => None,
        (province, Some(city)) => Some(find(&app, province, city)?),
        (Some(_), None) => {
            return Err(Problem::invalid_field("/city_id", "missing", "`province_id` takes one of its cities"));
        }
    };
    let key = key_of(&app, command.caller.account).await?;
    let seal = |text: Option<String>| text.map(|text| key.seal(&text));
    let changes = Changes {
        recipient: seal(patch.recipient),
        phone: seal(patch.phone),
        line1: seal(patch.line1),
        line2: seal(patch.line2),
        postal_code: seal(patch.postal_code),
        place: found.map(|found| found.sealed(&key)),
    };
    execute(&app, address, &command, move |world, owner| address_books::change(world, owner, address, changes.clone()))
        .await
}

/// Strikes an address out. If it was the default, the oldest that is left is from now on.
#[utoipa::path(delete, path = "/addresses/{id}", tag = TAG, security(("bearer" = [])),
    params(("id" = Uuid, Path), Conditional),
    responses((status = OK, body = AddressChanged, description = "Struck out")))]
async fn remove(
    State(app): State<App>,
    Id(address): Id<AddressId>,
    command: Command<Nothing>,
) -> Result<Done<AddressChanged>, Problem> {
    execute(&app, address, &command, move |world, owner| address_books::remove(world, owner, address)).await
}

/// Prefers an address.
#[utoipa::path(post, path = "/addresses/{id}/default", tag = TAG, security(("bearer" = [])),
    params(("id" = Uuid, Path), Conditional),
    responses((status = OK, body = AddressChanged, description = "The default")))]
async fn make_default(
    State(app): State<App>,
    Id(address): Id<AddressId>,
    command: Command<Nothing>,
) -> Result<Done<AddressChanged>, Problem> {
    execute(&app, address, &command, move |world, owner| address_books::make_default(world, owner, address)).await
}
