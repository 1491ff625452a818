//! Uploads through HTTP, kept in a folder and in a bucket.

use std::time::Duration;

use api::config::{self, Config, Secret};
use image::ImageFormat;
use projections::images;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tradepost_tests::client::{Answer, Client, PASSWORD};
use tradepost_tests::fail::OrFail;
use tradepost_tests::market::listing;
use tradepost_tests::pictures::{bomb, files_in, form, picture};
use tradepost_tests::s3::S3;
use tradepost_tests::server::InProcess;

/// What was not deleted by then will not be.
const PATIENCE: Duration = Duration::from_secs(15);

fn jpeg() -> Vec<u8> {
    picture(ImageFormat::Jpeg, 640, 480)
}

/// The file of an answer's picture, as anybody gets it.
async fn shown(server: &InProcess, url: &Value) -> Answer {
    let path = url.as_str().or_fail("find the address of a picture");
    server.client().ask(&Method::GET, path).send().await
}

/// The same with what is in it.
async fn fetched(server: &InProcess, path: &str) -> reqwest::Response {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    http.get(format!("{}{path}", server.address())).send().await.unwrap()
}

/// A server whose uploads are in this folder.
async fn keeping_in(folder: &TempDir) -> InProcess {
    let mut settings = Config::default();
    settings.media.folder = folder.path().to_owned();
    InProcess::start_with(settings).await
}

#[tokio::test]
async fn a_picture_is_drawn_anew_kept_and_shown_to_anybody() {
    let server = InProcess::start().await;
    let ann = server.client().register("ann").await;
    let sent = jpeg();
    let uploaded = ann.send_files("/upload/image", &[("file", &sent)]).key("one").send().await.expect(201);
    let told = ["format", "width", "height"].map(|field| uploaded.body[field].clone());
    assert_eq!(told, [json!("jpeg"), json!(640), json!(480)]);
    assert_eq!(uploaded.header("location"), uploaded.body["url"].as_str());
    for (field, width) in [("url", 640), ("thumbnail_url", 400)] {
        let url = uploaded.body[field].as_str().unwrap();
        let answer = fetched(&server, url).await;
        let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("content-type"), "image/jpeg");
        assert_eq!(header("cache-control"), "public, max-age=86400, must-revalidate");
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert!(header("content-security-policy").starts_with("default-src 'none'"));
        assert!(header("content-disposition").starts_with("inline"));
        let file = answer.bytes().await.unwrap();
        assert_ne!(file, sent);
        assert_eq!(image::load_from_memory(&file).unwrap().width(), width);
    }
    // The same under the same key is the same request; other pictures are another.
    let again = || ann.send_files("/upload/image", &[("file", &sent)]).key("one").send();
    let replayed = again().await.expect(201);
    assert!(replayed.replayed());
    assert_eq!(replayed.body, uploaded.body);
    let other = picture(ImageFormat::Png, 10, 10);
    let reused = ann.send_files("/upload/image", &[("file", &other)]).key("one").send().await;
    reused.problem(422, "idempotency-key-reused");
    ann.send_files("/merchant/upload-image", &[("file", &other)]).send().await.expect(201);
    shown(&server, &json!("/media/00000000000000000000000000000000.jpg")).await.problem(404, "not-found");
    shown(&server, &json!("/media/..%2Fsecret")).await.problem(404, "not-found");
}

#[tokio::test]
async fn whoever_keeps_a_picture_asks_whether_it_is_still_there() {
    let folder = TempDir::new().unwrap();
    let server = keeping_in(&folder).await;
    let name = "00112233445566778899aabbccddeeff.png";
    std::fs::write(folder.path().join(name), [7; 1_000]).unwrap();
    let ask = async |method: &Method, known: &str| {
        let asked = server.client().ask(method, &format!("/media/{name}")).header("if-none-match", known);
        asked.send().await
    };
    let tag = format!("\"{name}\"");
    for known in ["\"another\"", "W/\"another\""] {
        let shown = ask(&Method::GET, known).await.expect(200);
        assert_eq!((shown.header("etag"), shown.header("content-length")), (Some(tag.as_str()), Some("1000")));
        let told = ask(&Method::HEAD, known).await.expect(200);
        assert_eq!((told.header("content-length"), told.text.as_str()), (Some("1000"), ""));
    }
    for known in [tag.clone(), format!("W/{tag}"), format!("\"another\", {tag}"), "*".to_owned()] {
        for method in [Method::GET, Method::HEAD] {
            let unchanged = ask(&method, &known).await.expect(304);
            assert_eq!((unchanged.header("etag"), unchanged.text.as_str()), (Some(tag.as_str()), ""));
        }
    }
    std::fs::remove_file(folder.path().join(name)).unwrap();
    ask(&Method::GET, &tag).await.problem(404, "not-found");
    assert_eq!(ask(&Method::HEAD, &tag).await.status, 404);
}

/// The memory that this process takes, in bytes.
fn memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1_024
}

#[tokio::test]
async fn readers_who_take_their_time_take_no_memory() {
    const LONG: usize = 8 * 1_024 * 1_024;
    const READERS: usize = 48;
    let folder = TempDir::new().unwrap();
    let server = keeping_in(&folder).await;
    let name = "00112233445566778899aabbccddeeff.jpg";
    std::fs::write(folder.path().join(name), vec![7; LONG]).unwrap();
    let before = memory();
    let mut readers = Vec::new();
    for _ in 0..READERS {
        let mut reader = TcpStream::connect(server.address().trim_start_matches("http://")).await.unwrap();
        let asked = format!("GET /media/{name} HTTP/1.1\r\nhost: tradepost\r\nconnection: close\r\n\r\n");
        reader.write_all(asked.as_bytes()).await.unwrap();
        // The head of the answer, and no more.
        assert_ne!(reader.read(&mut [0; 12]).await.unwrap(), 0);
        readers.push(reader);
    }
    let grown = memory().saturating_sub(before);
    assert!(grown < READERS * LONG / 4, "{grown} bytes");
    // And whoever goes on gets all of it.
    let mut rest = Vec::new();
    readers.remove(0).read_to_end(&mut rest).await.unwrap();
    assert!(rest.ends_with(&[7; 1_000]) && rest.len() > LONG);
}

#[tokio::test]
async fn a_node_that_keeps_no_uploads_needs_no_place_for_them() {
    let mut settings = Config::default();
    settings.node.roles = "relay,projections".parse().unwrap();
    // Where nobody can make a folder.
    settings.media.folder = "/dev/null/media".into();
    let server = InProcess::start_with(settings).await;
    shown(&server, &json!("/media/00112233445566778899aabbccddeeff.jpg")).await.problem(503, "unavailable");
}

#[tokio::test]
async fn up_to_five_pictures_come_at_once_all_or_none() {
    let folder = TempDir::new().unwrap();
    let server = keeping_in(&folder).await;
    let ann = server.client().register("ann").await;
    let formats = [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::Gif, ImageFormat::WebP, ImageFormat::Jpeg];
    let pictures = formats.map(|format| picture(format, 30, 20));
    let fields: Vec<(&str, &[u8])> = pictures.iter().map(|file| ("files", file.as_slice())).collect();
    let uploaded = ann.send_files("/upload/images", &fields).send().await.expect(201);
    let items = uploaded.body["items"].as_array().unwrap();
    let formats: Vec<&Value> = items.iter().map(|item| &item["format"]).collect();
    assert_eq!(formats, ["jpeg", "png", "png", "jpeg", "jpeg"]);
    for item in items {
        shown(&server, &item["url"]).await.expect(200);
        shown(&server, &item["thumbnail_url"]).await.expect(200);
    }
    assert_eq!(files_in(folder.path()), 10);
    // Of a form with something that is no picture, nothing is left.
    let broken = [fields[0], ("files", b"<html>".as_slice()), fields[1]];
    let refused = ann.send_files("/upload/images", &broken).send().await.problem(422, "not-an-image");
    assert_eq!(refused.body["file"], 1);
    let cut = [fields[0], ("files", &pictures[1][..50])];
    ann.send_files("/upload/images", &cut).send().await.problem(422, "image-damaged");
    // And of an upload that is not taken, since its key was used for another.
    ann.send_files("/upload/images", &fields[..1]).key("one").send().await.expect(201);
    ann.send_files("/upload/images", &fields[..2]).key("one").send().await.problem(422, "idempotency-key-reused");
    ann.send_files("/upload/images", &fields[..1]).key("one").send().await.expect(201);
    assert_eq!(files_in(folder.path()), 12);
}

#[tokio::test]
async fn a_form_that_is_none_or_brings_too_much_is_refused() {
    let server = InProcess::start().await;
    let ann = server.client().register("ann").await;
    let small = picture(ImageFormat::Png, 3, 3);
    let send = |path: &str, fields: &[(&str, &[u8])]| ann.send_files(path, fields).send();
    let many = [("files", small.as_slice()); 6];
    let refused = send("/upload/images", &many).await.problem(422, "invalid-field");
    assert_eq!(refused.body["errors"][0]["code"], "too-many");
    send("/upload/image", &many[..2]).await.problem(422, "invalid-field");
    send("/upload/image", &[]).await.problem(422, "invalid-field");
    send("/upload/image", &[("picture", &small)]).await.problem(422, "invalid-field");
    let large = vec![0; 5 * 1024 * 1024 + 1];
    let refused = send("/upload/image", &[("file", &large)]).await.problem(413, "too-large");
    assert_eq!(refused.body["maximum_bytes"], 5 * 1024 * 1024);
    // More than is read of any body.
    let five = vec![0; 5 * 1024 * 1024];
    send("/upload/images", &[("files", five.as_slice()); 6]).await.problem(422, "invalid-field");
    let post = || ann.ask(&Method::POST, "/api/v1/upload/image");
    post().raw("application/json", "{}").send().await.problem(415, "unsupported-media-type");
    post().raw("multipart/form-data", "x").send().await.problem(400, "malformed-form");
    let (media_type, mut body) = form(&[("file", &small)]);
    body.truncate(body.len() - 30);
    post().raw(&media_type, body).send().await.problem(400, "malformed-form");
    // No other route takes as much.
    let filler = json!({ "display_name": "x".repeat(2 * 1024 * 1024) });
    ann.patch("/profile", &filler).send().await.problem(413, "too-large");
    // A picture of few bytes that says it has too many pixels.
    let refused = send("/upload/image", &[("file", &bomb())]).await.problem(422, "image-too-large");
    assert_eq!((&refused.body["maximum"], &refused.body["offered"]), (&json!(25_000_000), &json!(2_500_000_000_u64)));
}

#[tokio::test]
async fn an_account_uploads_so_often_and_no_more() {
    let limits = config::Limits { uploads_per_min: 2, ..config::Limits::OFF };
    let server = InProcess::start_with(Config { limits, ..Config::default() }).await;
    let ann = server.client().register("ann").await;
    let small = picture(ImageFormat::Png, 3, 3);
    for _ in 0..2 {
        ann.send_files("/upload/image", &[("file", &small)]).send().await.expect(201);
    }
    let refused = ann.send_files("/upload/images", &[("files", &small)]).send().await.problem(429, "too-many-requests");
    assert!(refused.header("retry-after").is_some());
    ann.get("/profile").since(server.database.log_head().await).send().await.expect(200);
}

/// How many pictures are shown of somebody, once all that has happened is shown.
async fn pictures_of(server: &InProcess, client: &Client) -> i64 {
    let head = server.database.log_head().await;
    server.app.progress.wait_for(images::MODEL.name, head, PATIENCE).await.or_fail("wait for the pictures");
    let count = sqlx::query_scalar("select count(*) from images.images where owner_id = $1").bind(client.account().0);
    count.fetch_one(&server.app.pool).await.or_fail("count pictures")
}

/// Deletes the account, and waits until its pictures are gone.
async fn leave(server: &InProcess, client: &Client) {
    client.delete("/auth/account", &json!({ "password": PASSWORD })).send().await.expect(200);
    server.files_deleted().await;
}

#[tokio::test]
async fn whoever_leaves_takes_their_pictures_with_them() {
    let folder = TempDir::new().unwrap();
    let server = keeping_in(&folder).await;
    let (ann, bob) = (server.client().register("ann").await, server.client().register("bob").await);
    let hers = ann.send_files("/upload/image", &[("file", &jpeg())]).send().await.expect(201);
    let his = bob.send_files("/upload/image", &[("file", &jpeg())]).send().await.expect(201);
    ann.patch("/profile", &json!({ "avatar_url": hers.body["thumbnail_url"] })).send().await.expect(200);
    leave(&server, &ann).await;
    for field in ["url", "thumbnail_url"] {
        shown(&server, &hers.body[field]).await.problem(404, "not-found");
        shown(&server, &his.body[field]).await.expect(200);
    }
    assert_eq!(files_in(folder.path()), 2);
}

#[tokio::test]
async fn however_many_pictures_somebody_has_they_go_some_at_a_time() {
    const FORMS: i64 = 12;
    let folder = TempDir::new().unwrap();
    let server = keeping_in(&folder).await;
    let ann = server.client().register("ann").await;
    let small = picture(ImageFormat::Png, 3, 3);
    for _ in 0..FORMS {
        ann.send_files("/upload/images", &[("files", small.as_slice()); 5]).send().await.expect(201);
    }
    let before = server.database.log_head().await;
    leave(&server, &ann).await;
    assert_eq!(files_in(folder.path()), 0);
    assert_eq!(pictures_of(&server, &ann).await, 0);
    // What says that she leaves says nothing of them.
    let erasure: Vec<String> = sqlx::query_scalar(
        "select event_type from events where commit_position =
         (select commit_position from events where event_type = 'AccountErased') order by 1",
    )
    .fetch_all(&mut server.database.connect().await)
    .await
    .unwrap();
    assert!(!erasure.iter().any(|event| event.starts_with("Image")), "{erasure:?}");
    let removed = server.database.log_head().await - before - i64::try_from(erasure.len()).unwrap();
    assert_eq!(removed, FORMS * 5 + 2, "two commands");
}

#[tokio::test]
async fn an_account_has_so_many_pictures_and_no_more() {
    let folder = TempDir::new().unwrap();
    let mut settings = Config::default();
    settings.media.folder = folder.path().to_owned();
    settings.media.pictures_per_account = 6;
    let server = InProcess::start_with(settings).await;
    let seller = server.client().register_seller("seller").await;
    let small = picture(ImageFormat::Png, 3, 3);
    let listing = seller.offer(&listing(1_000)).await;
    let of_listing = format!("/listings/{listing}/images");
    let send = |path: &str, count: usize| seller.send_files(path, &vec![("files", small.as_slice()); count]).send();
    let five = send(&of_listing, 5).await.expect(201);
    let refused = send("/upload/images", 2).await.problem(422, "too-many-pictures");
    let told = ["there", "offered", "maximum"].map(|field| refused.body[field].clone());
    assert_eq!(told, [json!(5), json!(2), json!(6)]);
    assert_eq!(files_in(folder.path()), 10);
    send("/upload/images", 1).await.expect(201);
    send(&of_listing, 1).await.problem(422, "too-many-pictures");
    // One that goes makes room.
    let first = five.body["items"][0]["id"].as_str().unwrap();
    seller.delete(&format!("{of_listing}/{first}"), &json!({})).send().await.expect(200);
    send(&of_listing, 1).await.expect(201);
    server.client().register("ann").await.send_files("/upload/image", &[("file", &small)]).send().await.expect(201);
}

/// Begins an upload and brings nothing of it. Answers with what the server says first.
async fn dawdle(server: &InProcess, client: &Client) -> (TcpStream, String) {
    let mut connection = TcpStream::connect(server.address().trim_start_matches("http://")).await.unwrap();
    let (media_type, body) = form(&[("file", &jpeg())]);
    let head = format!(
        "POST /api/v1/upload/image HTTP/1.1\r\nhost: tradepost\r\nauthorization: Bearer {}\r\ncontent-type: {media_type}\r\n\
         content-length: {}\r\nexpect: 100-continue\r\n\r\n",
        client.access_token(),
        body.len()
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut said = vec![0; 4_096];
    let length = connection.read(&mut said).await.unwrap();
    (connection, String::from_utf8_lossy(&said[..length]).into_owned())
}

#[tokio::test]
async fn whoever_brings_a_file_slowly_keeps_nobody_else_from_it() {
    let server = InProcess::start().await;
    let mut slow = Vec::new();
    for number in 0..6 {
        let client = server.join(&format!("slow-{number}")).await;
        for _ in 0..2 {
            // Asked to go on, which it does not: its place is taken.
            let (connection, said) = dawdle(&server, &client).await;
            assert!(said.starts_with("HTTP/1.1 100 "), "{said}");
            slow.push((client.clone(), connection));
        }
    }
    let ann = server.join("ann").await;
    let sent = || ann.send_files("/upload/image", &[("file", &jpeg())]).send();
    sent().await.expect(201);
    // Nor does anybody have more than two at a time.
    let (client, _) = &slow[0];
    let refused = client.send_files("/upload/image", &[("file", &jpeg())]).send().await;
    assert!(refused.problem(429, "too-many-requests").header("retry-after").is_some());
    sent().await.expect(201);
}

#[tokio::test]
async fn an_upload_is_finished_whether_or_not_its_sender_waits() {
    let storage = S3::start().await;
    let mut settings = Config { media: storage.settings(), ..Config::default() };
    settings.http.request_timeout_ms = 1_500;
    let server = InProcess::start_with(settings).await;
    let ann = server.join("ann").await;
    let small = picture(ImageFormat::Png, 3, 3);
    // The storage takes its time, longer than anybody waits for an answer.
    storage.pause();
    let before = server.database.log_head().await;
    let late = ann.send_files("/upload/image", &[("file", &small)]).key("one").send().await;
    late.problem(503, "unavailable");
    assert_eq!(server.database.log_head().await, before);
    storage.resume();
    // The album's event and the picture's.
    let noted = server.app.progress.wait_for(images::MODEL.name, before + 2, PATIENCE).await;
    noted.or_fail("wait for the picture");
    assert_eq!(pictures_of(&server, &ann).await, 1);
    let again = ann.send_files("/upload/image", &[("file", &small)]).key("one").send().await.expect(201);
    assert!(again.replayed());
    for field in ["url", "thumbnail_url"] {
        shown(&server, &again.body[field]).await.expect(200);
    }
}

#[tokio::test]
async fn a_bucket_keeps_what_a_folder_would() {
    let mut storage = S3::start().await;
    let server = InProcess::start_with(Config { media: storage.settings(), ..Config::default() }).await;
    let (ann, bob) = (server.client().register("ann").await, server.client().register("bob").await);
    let uploaded = ann.send_files("/upload/image", &[("file", &jpeg())]).send().await.expect(201);
    let names = ["url", "thumbnail_url"]
        .map(|field| uploaded.body[field].as_str().unwrap().strip_prefix("/media/").unwrap().to_owned());
    for name in &names {
        let kept = storage.object(name).await.or_fail("find the object");
        let answer = fetched(&server, &format!("/media/{name}")).await;
        assert_eq!(answer.bytes().await.unwrap(), kept);
    }
    shown(&server, &json!("/media/00000000000000000000000000000000.jpg")).await.problem(404, "not-found");
    leave(&server, &ann).await;
    for name in &names {
        assert_eq!(storage.object(name).await, None);
    }
    // While it is away, nothing is taken, and everything else goes on.
    storage.kill().await;
    let away = bob.send_files("/upload/image", &[("file", &jpeg())]).send().await.problem(503, "unavailable");
    assert!(away.header("retry-after").is_some());
    bob.get("/profile").send().await.expect(200);
}

#[tokio::test]
async fn a_bucket_takes_nothing_from_whoever_has_another_secret() {
    let storage = S3::start().await;
    let media = config::Media { s3_secret_key: Some(Secret::new("another".to_owned())), ..storage.settings() };
    let server = InProcess::start_with(Config { media, ..Config::default() }).await;
    let ann = server.join("ann").await;
    let before = server.database.log_head().await;
    let sent = ann.send_files("/upload/image", &[("file", &jpeg())]).send().await;
    assert!(sent.problem(503, "unavailable").header("retry-after").is_some());
    assert_eq!(server.database.log_head().await, before);
    assert_eq!(storage.objects().await, Vec::<String>::new());
    // Nor does it say what is there.
    let name = "00112233445566778899aabbccddeeff.png";
    storage.put(name, b"something").await;
    shown(&server, &json!(format!("/media/{name}"))).await.problem(503, "unavailable");
}
