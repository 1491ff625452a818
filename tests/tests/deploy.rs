//! What is shipped beside the binary: Prometheus, its alarms and the dashboard. For form, since no engine here can run
//! them, and that every metric that they name is one that a server shows.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tradepost_tests::bazaar::{Bazaar, staff};
use tradepost_tests::metrics::Metrics;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(path: &str) -> Value {
    serde_norway::from_str(&text(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn items(value: &Value) -> &Vec<Value> {
    value.as_array().unwrap_or_else(|| panic!("no list: {value}"))
}

/// The rules of all groups.
fn alarms() -> Vec<Value> {
    let rules = yaml("deploy/prometheus/alerts.yml");
    items(&rules["groups"]).iter().flat_map(|group| items(&group["rules"]).clone()).collect()
}

/// The expressions of the dashboard.
fn drawn() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&text("deploy/grafana/dashboards/tradepost.json")).unwrap();
    let targets = items(&dashboard["panels"]).iter().flat_map(|panel| items(&panel["targets"]).clone());
    targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect()
}

/// The names of our metrics in an expression.
fn metrics_in(expression: &str) -> impl Iterator<Item = &str> {
    let of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    expression.split(move |c| !of_name(c)).filter(|word| word.starts_with("tradepost_"))
}

#[tokio::test]
async fn dashboard_and_alarms_name_metrics_that_there_are() {
    let bazaar = Bazaar::open().await;
    bazaar.sell().await;
    let clerk = staff(&bazaar.server, "another-clerk").await;
    let shown = Metrics::parse(&clerk.get("/metrics").send().await.expect(200).text);
    let expressions: Vec<String> =
        alarms().iter().map(|alarm| alarm["expr"].as_str().unwrap().to_owned()).chain(drawn()).collect();
    let named: BTreeSet<&str> = expressions.iter().flat_map(|expression| metrics_in(expression)).collect();
    let unknown: Vec<_> = named.difference(&shown.names()).copied().collect();
    assert!(unknown.is_empty(), "no server shows {unknown:?}");
    // And nothing that is shown is seen by nobody.
    let drawn = drawn().join(" ");
    let unseen: Vec<_> = shown.names().into_iter().filter(|name| !drawn.contains(family(name))).collect();
    assert!(unseen.is_empty(), "the dashboard does not draw {unseen:?}");
}

/// The name without what a histogram adds.
fn family(name: &str) -> &str {
    ["_bucket", "_sum", "_count"].into_iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name)
}

#[test]
fn every_alarm_says_what_is_wrong_and_the_manual_what_to_do() {
    let manual = text("docs/operations.md");
    let alarms = alarms();
    assert!(alarms.len() >= 10, "{}", alarms.len());
    for alarm in alarms {
        let name = alarm["alert"].as_str().unwrap();
        assert!(alarm["annotations"]["summary"].is_string(), "{name}");
        assert!(["critical", "warning"].contains(&alarm["labels"]["severity"].as_str().unwrap()), "{name}");
        assert!(manual.contains(&format!("### {name}\n")), "docs/operations.md says nothing of {name}");
    }
}

#[test]
fn compose_finds_every_file_and_prometheus_the_service() {
    let compose = yaml("docker-compose.yml");
    let services = compose["services"].as_object().unwrap();
    let mut mounted = 0;
    for (name, service) in services {
        for volume in service["volumes"].as_array().into_iter().flatten() {
            let source = volume.as_str().unwrap().split(':').next().unwrap();
            if let Some(path) = source.strip_prefix("./") {
                mounted += 1;
                assert!(root().join(path).exists(), "{name} mounts {path}, which is not there");
            } else {
                assert!(compose["volumes"].as_object().unwrap().contains_key(source), "{name}: {source}");
            }
        }
        for other in service["depends_on"].as_object().into_iter().flat_map(|others| others.keys()) {
            assert!(services.contains_key(other), "{name} depends on {other}");
        }
    }
    assert!(mounted >= 4, "{mounted}");
    let prometheus = yaml("deploy/prometheus/prometheus.yml");
    let target = prometheus["scrape_configs"][0]["static_configs"][0]["targets"][0].as_str().unwrap();
    let (host, port) = target.split_once(':').unwrap();
    let bind = services[host]["environment"]["TRADEPOST_METRICS__BIND"].as_str().unwrap();
    assert!(bind.ends_with(&format!(":{port}")), "{bind} is not {target}");
    let source = yaml("deploy/grafana/provisioning/datasources/prometheus.yml");
    assert_eq!(source["datasources"][0]["uid"], "prometheus");
    let dashboards = yaml("deploy/grafana/provisioning/dashboards/tradepost.yml");
    let path = dashboards["providers"][0]["options"]["path"].as_str().unwrap();
    let volumes = services["grafana"]["volumes"].to_string();
    assert!(volumes.contains(&format!("./deploy/grafana/dashboards:{path}")), "{volumes}");
}

/// What follows a word at the beginning of a line of the image's recipe.
fn said_of_image(word: &str) -> Vec<String> {
    let recipe = text("Dockerfile").replace("\\\n", " ");
    let of_image = recipe.rsplit("FROM ").next().unwrap().to_owned();
    of_image.lines().filter_map(|line| line.strip_prefix(word)).map(|rest| rest.trim().to_owned()).collect()
}

#[test]
fn whoever_runs_in_the_image_may_write_where_it_keeps_files_and_pictures_outlive_it() {
    let folder = said_of_image("WORKDIR ").pop().unwrap();
    let variables = said_of_image("ENV ");
    let pictures = variables.iter().find_map(|set| set.strip_prefix("TRADEPOST_MEDIA__FOLDER=")).unwrap();
    assert!(pictures.starts_with(&format!("{folder}/")), "{pictures}");
    let user = said_of_image("USER ").pop().unwrap();
    let made = said_of_image("RUN ").join(" ");
    let made = made.split("&&").find(|command| command.trim().starts_with("install ")).unwrap();
    assert!(made.contains(&format!("--owner={user} ")), "{made}");
    for needed in [folder.as_str(), pictures] {
        assert!(made.split_whitespace().any(|path| path == needed), "{made} does not make {needed}");
    }
    let service = &yaml("docker-compose.yml")["services"]["tradepost"];
    let mounted = items(&service["volumes"]).iter().filter_map(|volume| volume.as_str()?.split_once(':'));
    assert!(mounted.clone().any(|(_, at)| at == pictures), "no volume is mounted at {pictures}");
}
