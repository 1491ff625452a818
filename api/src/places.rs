//! Where there is somewhere: provinces and their cities.
//!
//! They are data, not events: those of Pakistan are part of the program, and a file per country (`places.files`) brings
//! others, or takes the place of these. Ids follow from the codes of country, province and city, so that every node and
//! every version gives the same ones.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::{fs, io};

use domain::{CityId, ProvinceId};
use serde::Deserialize;
use thiserror::Error;

/// What is there unless a file says otherwise.
const SHIPPED: [(&str, &str); 1] = [("places/pk.toml of the program", include_str!("../places/pk.toml"))];
/// The longest code and name.
const LONGEST: usize = 100;

/// Why places could not be read. Each is one sentence for the operator.
#[derive(Debug, Error)]
pub enum PlacesError {
    /// The file could not be read.
    #[error("could not read the places in {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is not TOML, or not of this form.
    #[error("the places in {origin} cannot be used: {reason}")]
    Form {
        /// Which file.
        origin: String,
        /// What is wrong, and where.
        reason: String,
    },
    /// Two files are about one country.
    #[error("the places of {country} are in {first} and in {second}: name one of them")]
    Twice {
        /// The country.
        country: String,
        /// One file.
        first: String,
        /// The other.
        second: String,
    },
}

/// A country as a file writes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CountryFile {
    /// ISO 3166-1, two letters.
    country: String,
    provinces: Vec<ProvinceFile>,
}

/// A province as a file writes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProvinceFile {
    /// What follows the country in ISO 3166-2.
    code: String,
    name: String,
    /// Names of cities by their codes.
    cities: BTreeMap<String, String>,
}

/// A province, state or territory.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Province {
    /// Names it for ever.
    pub id: ProvinceId,
    /// The country, as ISO 3166-1 writes it.
    pub country: String,
    /// Its code in the country.
    pub code: String,
    /// What it is called.
    pub name: String,
    /// What is in it, by name.
    pub cities: Vec<City>,
}

/// A city.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct City {
    /// Names it for ever.
    pub id: CityId,
    /// Its code in the province.
    pub code: String,
    /// What it is called.
    pub name: String,
}

/// All provinces, by country and name.
#[derive(Debug)]
pub struct Places {
    provinces: Vec<Province>,
    /// Of each city, its province and its place there.
    cities: HashMap<CityId, (usize, usize)>,
}

impl Places {
    /// Those of the program, and those in files: of a country that a file is about, only the file's.
    pub fn load(files: &[PathBuf]) -> Result<Self, PlacesError> {
        let mut countries: BTreeMap<String, (String, Vec<Province>)> = BTreeMap::new();
        for path in files {
            let text = fs::read_to_string(path).map_err(|source| PlacesError::File { path: path.clone(), source })?;
            let origin = shown(path);
            let (country, provinces) = read(&origin, &text)?;
            if let Some((first, _)) = countries.get(&country) {
                return Err(PlacesError::Twice { country, first: first.clone(), second: origin });
            }
            countries.insert(country, (origin, provinces));
        }
        for (origin, text) in SHIPPED {
            let (country, provinces) = read(origin, text)?;
            countries.entry(country).or_insert_with(|| (origin.to_owned(), provinces));
        }
        let provinces: Vec<Province> = countries.into_values().flat_map(|(_, provinces)| provinces).collect();
        let places = provinces.iter().enumerate().flat_map(|(at, province)| {
            province.cities.iter().enumerate().map(move |(within, city)| (city.id, (at, within)))
        });
        let cities = places.collect();
        Ok(Self { provinces, cities })
    }

    /// Every province, of one country if it is named.
    pub fn provinces(&self, country: Option<&str>) -> impl Iterator<Item = &Province> {
        self.provinces.iter().filter(move |province| country.is_none_or(|country| province.country == country))
    }

    /// The province with this id.
    pub fn province(&self, id: ProvinceId) -> Option<&Province> {
        self.provinces.iter().find(|province| province.id == id)
    }

    /// The city with this id, and its province.
    pub fn city(&self, id: CityId) -> Option<(&Province, &City)> {
        let &(at, within) = self.cities.get(&id)?;
        let province = self.provinces.get(at)?;
        Some((province, province.cities.get(within)?))
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// The provinces of a country, by name.
fn read(origin: &str, text: &str) -> Result<(String, Vec<Province>), PlacesError> {
    let wrong = |reason: String| PlacesError::Form { origin: origin.to_owned(), reason };
    let CountryFile { country, provinces } = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
    if country.len() != 2 || !country.bytes().all(|letter| letter.is_ascii_uppercase()) {
        return Err(wrong(format!("the country `{country}` is not two capital letters, as ISO 3166-1 has them")));
    }
    if provinces.is_empty() {
        return Err(wrong(format!("{country} has no province")));
    }
    let mut codes = BTreeSet::new();
    for province in &provinces {
        let code = &province.code;
        let is_code = (1..=LONGEST).contains(&code.len())
            && code.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'-');
        if !is_code {
            return Err(wrong(format!("the code `{code}` of a province is not made of A-Z, 0-9 and `-`")));
        }
        if !codes.insert(code) {
            return Err(wrong(format!("the code `{code}` is that of two provinces")));
        }
        check_name(&province.name, &format!("the province `{code}`")).map_err(wrong)?;
        if province.cities.is_empty() {
            return Err(wrong(format!("the province `{code}` has no city")));
        }
        for (city, name) in &province.cities {
            let is_code = (1..=LONGEST).contains(&city.len())
                && city.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
            if !is_code {
                return Err(wrong(format!("the code `{city}` of a city in `{code}` is not made of a-z, 0-9 and `-`")));
            }
            check_name(name, &format!("the city `{city}` in `{code}`")).map_err(wrong)?;
        }
    }
    let mut provinces: Vec<Province> = provinces.into_iter().map(|province| province.of(&country)).collect();
    provinces.sort_by(|one, other| one.name.cmp(&other.name));
    Ok((country, provinces))
}

fn check_name(name: &str, whose: &str) -> Result<(), String> {
    let fits = !name.trim().is_empty() && name.len() <= LONGEST && !name.chars().any(char::is_control);
    if fits { Ok(()) } else { Err(format!("{whose} has no name of 1 to {LONGEST} bytes")) }
}

impl ProvinceFile {
    fn of(self, country: &str) -> Province {
        let id = ProvinceId::of(country, &self.code);
        let city = |(code, name): (String, String)| City { id: CityId::of(id, &code), code, name };
        let mut cities: Vec<City> = self.cities.into_iter().map(city).collect();
        cities.sort_by(|one, other| one.name.cmp(&other.name));
        Province { id, country: country.to_owned(), code: self.code, name: self.name, cities }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use tempfile::NamedTempFile;

    use super::*;

    fn file(text: &str) -> NamedTempFile {
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    fn loaded(texts: &[&str]) -> Result<Places, PlacesError> {
        let files: Vec<NamedTempFile> = texts.iter().map(|text| file(text)).collect();
        Places::load(&files.iter().map(|file| file.path().to_owned()).collect::<Vec<_>>())
    }

    const NORWAY: &str =
        "country = \"NO\"\n[[provinces]]\ncode = \"03\"\nname = \"Oslo\"\ncities = { oslo = \"Oslo\" }\n";

    #[test]
    fn all_of_pakistan_is_part_of_the_program_and_its_ids_never_change() {
        let places = loaded(&[]).unwrap();
        let codes: BTreeSet<&str> = places.provinces(Some("PK")).map(|province| province.code.as_str()).collect();
        assert_eq!(codes, BTreeSet::from(["BA", "GB", "IS", "JK", "KP", "PB", "SD"]));
        assert!(places.cities.len() > 200, "{}", places.cities.len());
        let names = places.provinces.iter().flat_map(|province| &province.cities).map(|city| &city.name);
        assert_eq!(names.clone().collect::<BTreeSet<_>>().len(), places.cities.len(), "no city is there twice");
        let punjab = ProvinceId::of("PK", "PB");
        let (province, city) = places.city(CityId::of(punjab, "lahore")).unwrap();
        assert_eq!((province.id, &*province.name, &*city.name), (punjab, "Punjab", "Lahore"));
        assert_eq!(punjab.to_string(), "4e306120-6cae-55c1-bb8a-1d76191b43b0");
        assert_eq!(city.id.to_string(), "d5704ed6-1881-515a-b52e-33cfc6587212");
    }

    #[test]
    fn a_file_brings_a_country_and_takes_the_place_of_a_shipped_one() {
        let places = loaded(&[NORWAY]).unwrap();
        assert_eq!(places.provinces(Some("NO")).count(), 1);
        assert_eq!(places.provinces(None).count(), 8);
        let other = NORWAY.replace("NO", "PK");
        let places = loaded(&[&other]).unwrap();
        assert_eq!(places.provinces(None).map(|province| &*province.name).collect::<Vec<_>>(), ["Oslo"]);
        assert_eq!(places.province(ProvinceId::of("PK", "PB")), None);
    }

    #[test]
    fn what_cannot_be_used_is_told_in_a_sentence() {
        let told = |texts: &[&str]| loaded(texts).unwrap_err().to_string();
        assert!(told(&["country ="]).contains("TOML parse error at line 1"), "{}", told(&["country ="]));
        assert!(told(&["country = \"NO\"\nprovinces = []"]).contains("NO has no province"));
        for (old, new, what) in [
            ("\"NO\"", "\"no\"", "the country `no` is not two capital letters"),
            ("\"03\"", "\"Ø3\"", "the code `Ø3` of a province is not made of"),
            ("name = \"Oslo\"", "name = \" \"", "the province `03` has no name"),
            ("{ oslo = \"Oslo\" }", "{}", "the province `03` has no city"),
            ("oslo =", "Oslo =", "the code `Oslo` of a city in `03` is not made of"),
            ("= \"Oslo\" }", "= \"\" }", "the city `oslo` in `03` has no name"),
            ("name =", "nome =", "unknown field `nome`"),
        ] {
            let text = NORWAY.replace(old, new);
            assert_ne!(text, NORWAY, "{old}");
            assert!(told(&[&text]).contains(what), "{}", told(&[&text]));
        }
        let twice = format!("{NORWAY}{}", NORWAY.lines().skip(1).collect::<Vec<_>>().join("\n"));
        assert!(told(&[&twice]).contains("the code `03` is that of two provinces"));
        assert!(told(&[NORWAY, NORWAY]).starts_with("the places of NO are in "));
        let missing = Places::load(&["no/such/file.toml".into()]).unwrap_err();
        assert!(missing.to_string().starts_with("could not read the places in no/such/file.toml: "));
    }
}
