//! Provinces and cities, for whoever says where to send something.

use axum::Json;
use axum::extract::State;
use domain::ProvinceId;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::app::App;
use crate::http::extract::{Id, NoQuery, Read};
use crate::http::problem::Problem;
use crate::places::{City, Province};

const TAG: &str = "Addresses";

/// The routes of this file.
#[expect(deprecated, reason = "a path that old clients know")]
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_provinces)).routes(routes!(list_cities)).routes(routes!(cities_of))
}

/// Provinces, all of them.
#[derive(Debug, Serialize, ToSchema)]
pub struct Provinces {
    items: Vec<ProvinceBody>,
}

/// A province, state or territory.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProvinceBody {
    id: Uuid,
    /// ISO 3166-1.
    #[schema(example = "PK")]
    country: String,
    /// Its code in the country: with it, ISO 3166-2.
    #[schema(example = "PB")]
    code: String,
    #[schema(example = "Punjab")]
    name: String,
}

impl From<&Province> for ProvinceBody {
    fn from(province: &Province) -> Self {
        let Province { id, country, code, name, cities: _ } = province;
        Self { id: id.0, country: country.clone(), code: code.clone(), name: name.clone() }
    }
}

/// The cities of a province, all of them.
#[derive(Debug, Serialize, ToSchema)]
pub struct Cities {
    items: Vec<CityBody>,
}

/// A city.
#[derive(Debug, Serialize, ToSchema)]
pub struct CityBody {
    id: Uuid,
    province_id: Uuid,
    #[schema(example = "Lahore")]
    name: String,
}

/// Of which country.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ProvincesQuery {
    /// Two capital letters, as ISO 3166-1 has them; all countries unless told.
    #[param(example = "PK", pattern = "^[A-Z]{2}$")]
    country: Option<String>,
}

/// The provinces of a country, or of all that are known here, by name.
#[utoipa::path(get, path = "/locations/provinces", tag = TAG, params(ProvincesQuery),
    responses((status = OK, body = Provinces, description = "All of them")))]
async fn list_provinces(State(app): State<App>, read: Read<ProvincesQuery>) -> Result<Json<Provinces>, Problem> {
    let country = read.query.country;
    if country.as_ref().is_some_and(|code| code.len() != 2 || !code.bytes().all(|letter| letter.is_ascii_uppercase())) {
        return Err(Problem::invalid_field(
            "?country",
            "invalid",
            "must be two capital letters, as ISO 3166-1 has them",
        ));
    }
    let items = app.places.provinces(country.as_deref()).map(ProvinceBody::from).collect();
    Ok(Json(Provinces { items }))
}

/// The cities of a province, by name.
#[utoipa::path(get, path = "/locations/provinces/{id}/cities", tag = TAG, params(("id" = Uuid, Path)),
    responses((status = OK, body = Cities, description = "All of them")))]
async fn list_cities(
    State(app): State<App>,
    Id(province): Id<ProvinceId>,
    _: Read<NoQuery>,
) -> Result<Json<Cities>, Problem> {
    cities(&app, province)
}

/// Of which province.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct CitiesQuery {
    /// Its id.
    province: Uuid,
}

/// The same as `/locations/provinces/{id}/cities`, for clients that name the province in the query.
#[utoipa::path(get, path = "/cities", tag = TAG, params(CitiesQuery),
    responses((status = OK, body = Cities, description = "All of them"),
        (status = NOT_FOUND, description = "There is no such province")))]
#[deprecated]
async fn cities_of(State(app): State<App>, read: Read<CitiesQuery>) -> Result<Json<Cities>, Problem> {
    cities(&app, ProvinceId(read.query.province))
}

fn cities(app: &App, province: ProvinceId) -> Result<Json<Cities>, Problem> {
    let province = app.places.province(province).ok_or_else(|| Problem::not_found("province"))?;
    let city = |city: &City| CityBody { id: city.id.0, province_id: province.id.0, name: city.name.clone() };
    Ok(Json(Cities { items: province.cities.iter().map(city).collect() }))
}
