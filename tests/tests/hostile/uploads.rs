//! Files that are hardly pictures, in forms that are hardly forms.

use eventstore::testing::damage;
use image::ImageFormat;
use rand::Rng;
use reqwest::Method;
use tokio::time::timeout;
use tradepost_tests::pictures::{bomb, form, picture};

use super::{Hostile, PATIENCE};

#[tokio::test]
async fn files_that_are_hardly_pictures_are_drawn_anew_or_refused() {
    let mut hostile = Hostile::open().await;
    let files = [
        picture(ImageFormat::Png, 40, 30),
        picture(ImageFormat::Jpeg, 64, 48),
        picture(ImageFormat::Gif, 20, 20),
        picture(ImageFormat::WebP, 24, 16),
        bomb(),
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>".to_vec(),
        Vec::new(),
    ];
    let mut head = hostile.settled().await;
    let (mut kept, mut refused) = (0, 0);
    for _ in 0..hostile.cases {
        let file = &files[hostile.rng.random_range(0..files.len())];
        let (path, right) = [("/upload/image", "file"), ("/upload/images", "files")][hostile.rng.random_range(0..2)];
        let field = hostile.one_of(&[right, right, right, "", "x"]);
        // Mostly one thing is wrong.
        let mut changes = [Vec::new(), Vec::new(), Vec::new(), Vec::new()];
        changes[hostile.rng.random_range(0..4)] = hostile.changes(3);
        let [of_file, of_form, of_type, _] = changes;
        let file = damage::of_bytes(file, &of_file);
        let fields: Vec<(&str, &[u8])> =
            (0..hostile.rng.random_range(1..3)).map(|_| (field, file.as_slice())).collect();
        let (media_type, body) = form(&fields);
        let (media_type, body) = (damage::of_text(&media_type, &of_type), damage::of_bytes(&body, &of_form));
        let media_type: String = media_type.chars().filter(|letter| (' '..='~').contains(letter)).collect();
        let what = format!("{path} {media_type} with {} bytes", body.len());
        let ask = hostile.bazaar.buyer.ask(&Method::POST, &format!("/api/v1{path}")).raw(&media_type, body);
        let answer = timeout(PATIENCE, ask.attempt()).await.unwrap_or_else(|_| panic!("not answered: {what}"));
        match answer {
            Ok(answer) if answer.status == 201 => kept += 1,
            Ok(answer) => {
                assert_eq!(answer.refusal_fault(), None, "{what} → {}", answer.text);
                hostile.is_at(head, &what).await;
                refused += 1;
            }
            // Cut while it was sent.
            Err(error) => assert!(!error.is_timeout(), "{what}: {error}"),
        }
        head = hostile.settled().await;
    }
    assert!(kept > 0 && refused > 0, "{kept} kept, {refused} refused");
    hostile.is_sound().await;
}
