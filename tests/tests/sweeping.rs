//! Files that nothing names are found and deleted, and no others.

use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use api::config::{Config, Media};
use chrono::TimeDelta;
use commands::media::Files;
use eventstore::clock::Clock;
use eventstore::streams::Streams;
use image::ImageFormat;
use serde_json::{Value, json};
use tempfile::TempDir;
use tradepost_tests::client::{Answer, Client};
use tradepost_tests::market::listing;
use tradepost_tests::pictures::picture;
use tradepost_tests::s3::S3;
use tradepost_tests::server::{InProcess, tradepost};

const HOUR: TimeDelta = TimeDelta::hours(1);
/// What was not deleted by then will not be.
const PATIENCE: Duration = Duration::from_secs(15);

fn keeping_in(folder: &Path) -> Config {
    Config { media: Media { folder: folder.to_owned(), ..Media::default() }, ..Config::default() }
}

/// Makes a file as old as this.
fn age(folder: &Path, name: &str, age: TimeDelta) {
    let file = File::options().write(true).open(folder.join(name)).unwrap();
    file.set_modified((Clock::real_now() - age).into()).unwrap();
}

/// Writes a file that is as old as this.
fn put(folder: &Path, name: &str, old: TimeDelta) {
    fs::write(folder.join(name), b"something").unwrap();
    age(folder, name, old);
}

fn files(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// What the operator's command says, and whether it was content.
async fn sweep(server: &InProcess, folder: &Path, more: &[&str]) -> (bool, Value, String) {
    let arguments = [&["media", "sweep", "--json"], more].concat();
    let mut command = tradepost(server.database.url(), &arguments);
    let output = command.env("TRADEPOST_MEDIA__FOLDER", folder).output().await.unwrap();
    let said = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.success(), said, String::from_utf8(output.stderr).unwrap())
}

fn named(said: &Value) -> Vec<&str> {
    said["files"].as_array().unwrap().iter().map(|file| file["file"].as_str().unwrap()).collect()
}

async fn bring(seller: &Client, listing: &str) -> Answer {
    let small = picture(ImageFormat::Png, 3, 3);
    seller.send_files(&format!("/listings/{listing}/images"), &[("files", &small)]).send().await.expect(201)
}

/// The file of an uploaded picture.
fn file_of(brought: &Answer) -> String {
    brought.body["items"][0]["url"].as_str().unwrap().strip_prefix("/media/").unwrap().to_owned()
}

#[tokio::test]
async fn what_nothing_names_is_deleted_once_it_is_old_enough() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let server = InProcess::start_with(keeping_in(folder)).await;
    let seller = server.client().register_seller("seller").await;
    let listing = seller.offer(&listing(1_000)).await;
    let (shown, gone) = (file_of(&bring(&seller, &listing).await), bring(&seller, &listing).await);
    let path = format!("/listings/{listing}/images/{}", gone.body["items"][0]["id"].as_str().unwrap());
    let detached = seller.delete(&path, &json!({})).send().await.expect(200);
    server.app.progress.wait_for(commands::media::NAME, detached.at(), PATIENCE).await.unwrap();
    // What is shown, and what was put back after it was removed: however old.
    for name in files(folder) {
        age(folder, &name, HOUR * 100);
    }
    let gone = file_of(&gone);
    let (unknown, other_format) = (format!("{:032x}-thumb.jpg", 7), shown.replace(".png", ".jpg"));
    for name in [&gone, &unknown, &other_format] {
        put(folder, name, HOUR * 25);
    }
    // Just written, or none of ours.
    let young = format!("{:032x}.png", 8);
    put(folder, &young, HOUR * 23);
    put(folder, "notes.txt", HOUR * 100);
    let before = files(folder);
    let mut expected = vec![gone.as_str(), &unknown, &other_format];
    expected.sort_unstable();
    let (good, said, complaint) = sweep(&server, folder, &["--dry-run"]).await;
    assert!(good, "{complaint}");
    assert_eq!((named(&said), &said["dry_run"]), (expected.clone(), &json!(true)));
    assert_eq!(files(folder), before);
    let (_, said, _) = sweep(&server, folder, &[]).await;
    assert_eq!((named(&said), &said["files"][0]["bytes"]), (expected.clone(), &json!(9)));
    let left: Vec<String> = before.into_iter().filter(|name| !expected.contains(&name.as_str())).collect();
    assert_eq!(files(folder), left);
    let (_, said, _) = sweep(&server, folder, &["--older-than-h", "22"]).await;
    assert_eq!(named(&said), [young]);
    let (_, said, _) = sweep(&server, folder, &["--older-than-h", "1"]).await;
    assert_eq!(named(&said), Vec::<&str>::new());
    server.client().ask(&reqwest::Method::GET, &format!("/media/{shown}")).send().await.expect(200);
    let (good, _, complaint) = sweep(&server, folder, &["--older-than-h", "0"]).await;
    assert!(!good && complaint.contains("--older-than-h"), "{complaint}");
}

#[tokio::test]
async fn the_storage_of_another_marketplace_is_left_alone() {
    let folder = TempDir::new().unwrap();
    let server = InProcess::start().await;
    for number in 0..3 {
        put(folder.path(), &format!("{number:032x}.jpg"), HOUR * 100);
    }
    for arguments in [[].as_slice(), &["--dry-run"]] {
        let (good, said, complaint) = sweep(&server, folder.path(), arguments).await;
        assert_eq!((good, said), (false, Value::Null));
        assert!(complaint.contains("another marketplace"), "{complaint}");
    }
    assert_eq!(files(folder.path()).len(), 3);
}

#[tokio::test]
async fn a_bucket_is_swept_as_a_folder_is() {
    let storage = S3::start().await;
    let server = InProcess::start_with(Config { media: storage.settings(), ..Config::default() }).await;
    let seller = server.client().register_seller("seller").await;
    let listing = seller.offer(&listing(1_000)).await;
    let shown = file_of(&bring(&seller, &listing).await);
    let orphan = format!("{:032x}.jpg", 7);
    storage.put(&orphan, b"something").await;
    let orphans = async |before: TimeDelta| {
        let streams = Streams::new(server.app.pool.clone());
        let orphans = server.app.media.as_ref().unwrap().orphans(&streams, Clock::real_now() + before).await.unwrap();
        orphans.into_iter().map(|orphan| orphan.file).collect::<Vec<_>>()
    };
    assert_eq!(orphans(TimeDelta::hours(-1)).await, Vec::<String>::new());
    assert_eq!(orphans(TimeDelta::hours(1)).await, std::slice::from_ref(&orphan));
    server.app.media.as_ref().unwrap().delete(&orphan).await.unwrap();
    assert_eq!(orphans(TimeDelta::hours(1)).await, Vec::<String>::new());
    assert!(storage.object(&shown).await.is_some() && storage.object(&orphan).await.is_none());
}

#[tokio::test]
async fn without_keys_the_command_is_who_its_surroundings_say() {
    let storage = S3::start().await;
    let server = InProcess::start_with(Config { media: storage.settings(), ..Config::default() }).await;
    let seller = server.client().register_seller("seller").await;
    bring(&seller, &seller.offer(&listing(1_000)).await).await;
    let told = storage.settings_without_keys();
    let sweep = async |variables: [(&str, &str); 2]| {
        let mut command = tradepost(server.database.url(), &["media", "sweep", "--json"]);
        command.env("TRADEPOST_MEDIA__S3_BUCKET", told.s3_bucket.as_ref().unwrap());
        command.env("TRADEPOST_MEDIA__S3_ENDPOINT", told.s3_endpoint.as_ref().unwrap());
        let output = command.envs(variables).output().await.unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    let [access, secret] = storage.variables();
    let (good, complaint) = sweep([access, secret]).await;
    assert!(good, "{complaint}");
    let (good, complaint) = sweep([access, (secret.0, "another")]).await;
    assert!(!good && complaint.contains("could not be read"), "{complaint}");
}
