//! Pictures of listings, through HTTP: brought, shown, taken off, and gone with their seller.

use api::config::Config;
use image::ImageFormat;
use serde_json::{Value, json};
use tempfile::TempDir;
use tradepost_tests::bazaar::staff;
use tradepost_tests::client::{Answer, Client, PASSWORD};
use tradepost_tests::fail::OrFail;
use tradepost_tests::market::{auction, listing};
use tradepost_tests::pictures::{bomb, files_in, picture};
use tradepost_tests::server::InProcess;

/// A server that keeps pictures in a folder, and a seller with a listing.
struct Shop {
    folder: TempDir,
    server: InProcess,
    seller: Client,
    listing: String,
}

impl Shop {
    async fn open() -> Self {
        let folder = TempDir::new().unwrap();
        let mut settings = Config::default();
        settings.media.folder = folder.path().to_owned();
        let server = InProcess::start_with(settings).await;
        let seller = server.client().register_seller("seller").await;
        let listing = seller.offer(&listing(1_000)).await;
        Self { folder, server, seller, listing }
    }

    fn files(&self) -> usize {
        files_in(self.folder.path())
    }

    fn path(&self) -> String {
        format!("/listings/{}/images", self.listing)
    }

    /// Brings so many small pictures.
    async fn bring(&self, count: usize) -> Answer {
        send(&self.seller, &self.path(), &vec![small(); count]).await
    }

    /// The pictures of the listing as anybody sees them.
    async fn shown(&self) -> Vec<Value> {
        let since = self.server.database.log_head().await;
        let path = format!("/listings/{}", self.listing);
        let shown = self.server.client().get(&path).since(since).send().await.expect(200).body;
        shown["images"].as_array().or_fail("find the pictures of a listing").clone()
    }

    async fn file(&self, url: &Value) -> Answer {
        let path = url.as_str().or_fail("find the address of a picture");
        self.server.client().ask(&reqwest::Method::GET, path).send().await
    }
}

fn small() -> Vec<u8> {
    picture(ImageFormat::Png, 3, 3)
}

async fn send(client: &Client, path: &str, files: &[Vec<u8>]) -> Answer {
    let fields: Vec<(&str, &[u8])> = files.iter().map(|file| ("files", file.as_slice())).collect();
    client.send_files(path, &fields).send().await
}

fn ids(images: &[Value]) -> Vec<&str> {
    images.iter().map(|image| image["id"].as_str().or_fail("find the id of a picture")).collect()
}

#[tokio::test]
async fn pictures_are_shown_in_the_order_in_which_they_came_wherever_their_listing_is() {
    let shop = Shop::open().await;
    let large = picture(ImageFormat::Jpeg, 640, 480);
    let first = send(&shop.seller, &shop.path(), &[large, small()]).await.expect(201);
    let second = shop.bring(1).await.expect(201);
    let brought =
        [first.body["items"].as_array().unwrap().as_slice(), second.body["items"].as_array().unwrap()].concat();
    assert_eq!(first.header("location"), brought[0]["url"].as_str());
    let images = shop.shown().await;
    assert_eq!(ids(&images), ids(&brought));
    for (shown, brought) in images.iter().zip(&brought) {
        for field in ["url", "thumbnail_url"] {
            assert_eq!(shown[field], brought[field]);
            shop.file(&shown[field]).await.expect(200);
        }
    }
    let listed = shop.server.client().get("/listings?category=watches").since(second.at()).send().await.expect(200);
    assert_eq!(listed.body["items"][0]["images"], json!(images));
    // The version is the listing's.
    let title = json!({ "title": "Tank" });
    let patch = |version: &Value| {
        let tag = format!("\"{version}.{}\"", second.at());
        shop.seller.patch(&format!("/listings/{}", shop.listing), &title).header("if-match", &tag).send()
    };
    patch(&first.body["version"]).await.problem(412, "version-mismatch");
    patch(&second.body["version"]).await.expect(200);
    // What is sold by auction has pictures too.
    let auctioned = shop.seller.schedule(&auction(1_000)).await;
    send(&shop.seller, &format!("/listings/{auctioned}/images"), &[small()]).await.expect(201);
}

#[tokio::test]
async fn only_the_seller_brings_and_takes_off_pictures() {
    let shop = Shop::open().await;
    let brought = shop.bring(1).await.expect(201);
    let image = brought.body["items"][0]["id"].as_str().unwrap();
    let other = shop.server.client().register_seller("other").await;
    // Whose the listing is comes before what the file is: nothing of it is looked at.
    let bad = send(&other, &shop.path(), &[b"<html>".to_vec()]).await.problem(404, "not-found");
    let absent = send(&other, &format!("/listings/{}/images", uuid::Uuid::nil()), &[small()]).await;
    assert_eq!(bad.body["detail"], absent.problem(404, "not-found").body["detail"]);
    let theirs = format!("{}/{image}", shop.path());
    other.delete(&theirs, &json!({})).send().await.problem(404, "not-found");
    shop.server.client().delete(&theirs, &json!({})).send().await.problem(401, "unauthenticated");
    // Nor off a listing of their own.
    let own = other.offer(&listing(1_000)).await;
    other.delete(&format!("/listings/{own}/images/{image}"), &json!({})).send().await.problem(404, "not-found");
    for nothing in ["x", "00000000-0000-0000-0000-000000000000"] {
        let path = format!("{}/{nothing}", shop.path());
        shop.seller.delete(&path, &json!({})).send().await.problem(404, "not-found");
    }
    assert_eq!((shop.shown().await.len(), shop.files()), (1, 2));
    shop.seller.delete(&format!("/listings/{}", shop.listing), &json!({})).send().await.expect(200);
    shop.bring(1).await.problem(409, "listing-archived");
    shop.server.files_deleted().await;
    assert_eq!(shop.files(), 2);
}

#[tokio::test]
async fn what_is_refused_leaves_nothing_behind() {
    let shop = Shop::open().await;
    let cut = |file: &[u8]| file[..file.len() / 2].to_vec();
    for (file, slug) in [
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>".to_vec(), "not-an-image"),
        (cut(&small()), "image-damaged"),
        (cut(&picture(ImageFormat::Jpeg, 64, 64)), "image-damaged"),
        (bomb(), "image-too-large"),
    ] {
        let refused = send(&shop.seller, &shop.path(), &[small(), file]).await.problem(422, slug);
        assert_eq!(refused.body["file"], 1);
        assert_eq!(shop.files(), 0, "{slug}");
    }
    let many = shop.bring(6).await.problem(422, "invalid-field");
    assert_eq!(many.body["errors"][0]["code"], "too-many");
    assert_eq!(shop.shown().await, Vec::<Value>::new());
    // Ten at most, and of those that would be more, none.
    for _ in 0..2 {
        shop.bring(4).await.expect(201);
    }
    let refused = shop.bring(3).await.problem(422, "too-many-images");
    assert_eq!(refused.body["maximum"], 10);
    shop.bring(2).await.expect(201);
    assert_eq!((shop.shown().await.len(), shop.files()), (10, 20));
}

#[tokio::test]
async fn a_picture_that_is_taken_off_is_deleted() {
    let shop = Shop::open().await;
    let brought = shop.bring(3).await.expect(201);
    let images = shop.shown().await;
    let cover = format!("{}/{}", shop.path(), images[0]["id"].as_str().unwrap());
    let old = format!("\"1.{}\"", brought.at());
    let stale = shop.seller.delete(&cover, &json!({})).header("if-match", &old).send().await;
    stale.problem(412, "version-mismatch");
    shop.seller.delete(&cover, &json!({})).key("one").send().await.expect(200);
    assert!(shop.seller.delete(&cover, &json!({})).key("one").send().await.expect(200).replayed());
    shop.seller.delete(&cover, &json!({})).send().await.problem(404, "not-found");
    assert_eq!(ids(&shop.shown().await), ids(&images[1..]));
    shop.server.files_deleted().await;
    for field in ["url", "thumbnail_url"] {
        shop.file(&images[0][field]).await.problem(404, "not-found");
        shop.file(&images[1][field]).await.expect(200);
    }
    assert_eq!(shop.files(), 4);
}

#[tokio::test]
async fn the_pictures_of_what_the_staff_remove_are_deleted() {
    let shop = Shop::open().await;
    let clerk = staff(&shop.server, "clerk").await;
    let brought = shop.bring(2).await.expect(201);
    let kept = shop.seller.offer(&listing(1_000)).await;
    send(&shop.seller, &format!("/listings/{kept}/images"), &[small()]).await.expect(201);
    assert_eq!(shop.files(), 6);
    let path = format!("/admin/listings/{}", shop.listing);
    let away = json!({ "status": "removed", "reason": "Stolen pictures." });
    let removed = clerk.patch(&path, &away).send().await.expect(200);
    shop.server.files_deleted().await;
    assert_eq!(shop.files(), 2);
    for field in ["url", "thumbnail_url"] {
        shop.file(&brought.body["items"][0][field]).await.problem(404, "not-found");
    }
    let path = format!("/listings/{}", shop.listing);
    let shown = shop.seller.get(&path).since(removed.at()).send().await.expect(200).body;
    assert_eq!((&shown["status"], &shown["images"]), (&json!("removed"), &json!([])));
}

#[tokio::test]
async fn a_repeated_key_brings_the_same_pictures_once() {
    let shop = Shop::open().await;
    let bring = async |files: &[(&str, &[u8])]| shop.seller.send_files(&shop.path(), files).key("one").send().await;
    let (one, other) = (small(), picture(ImageFormat::Png, 4, 4));
    let five = [("files", one.as_slice()); 5];
    let first = bring(&five).await.expect(201);
    shop.bring(5).await.expect(201);
    // Though there is no place for more.
    let again = bring(&five).await.expect(201);
    assert!(again.replayed());
    assert_eq!((&again.body, again.header("location")), (&first.body, first.header("location")));
    bring(&[("files", &other)]).await.problem(422, "idempotency-key-reused");
    assert_eq!((shop.shown().await.len(), shop.files()), (10, 20));
}

#[tokio::test]
async fn whoever_leaves_takes_the_pictures_of_their_listings_with_them() {
    let shop = Shop::open().await;
    let brought = shop.bring(2).await.expect(201);
    shop.shown().await;
    shop.seller.delete("/auth/account", &json!({ "password": PASSWORD })).send().await.expect(200);
    shop.server.files_deleted().await;
    assert_eq!(shop.shown().await, Vec::<Value>::new());
    shop.file(&brought.body["items"][0]["url"]).await.problem(404, "not-found");
    assert_eq!(shop.files(), 0);
}
