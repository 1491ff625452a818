//! What files of pictures are called, and where they are shown.

use domain::ImageId;
use eventstore::mint;

/// Where files are shown, on every node.
pub const FOLDER: &str = "/media/";
/// What the path of a file looks like. The documentation of each field that takes one says the same.
pub const PATH_PATTERN: &str = "^/media/[0-9a-f]{32}(-thumb)?[.](jpg|png)$";
/// How many letters an id has in a name.
const LETTERS: usize = 32;

/// Random from end to end, unlike other ids: it names the files, which whoever knows it may see.
pub(super) fn random_id() -> ImageId {
    ImageId(uuid::Builder::from_random_bytes(mint::secret()).into_uuid())
}

/// What a file is that has a name of ours; nothing for any other name.
pub fn media_type(name: &str) -> Option<&'static str> {
    let (name, ending) = name.split_once('.')?;
    let random = name.strip_suffix("-thumb").unwrap_or(name);
    let ours =
        random.len() == LETTERS && random.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    match ending {
        "jpg" if ours => Some("image/jpeg"),
        "png" if ours => Some("image/png"),
        _ => None,
    }
}

/// Which picture a file shows that is no thumbnail, and what its thumbnail is called; nothing for any other name.
pub fn picture(name: &str) -> Option<(ImageId, String)> {
    media_type(name)?;
    let (random, ending) = name.split_once('.')?;
    Some((ImageId::of_file(name)?, format!("{random}-thumb.{ending}")))
}

/// Where a file is, on this host.
pub fn path_of(name: &str) -> String {
    format!("{FOLDER}{name}")
}

/// Whether this is where a file of ours may be. Whether there is one, only asking for it tells.
pub fn is_path(path: &str) -> bool {
    path.strip_prefix(FOLDER).and_then(media_type).is_some()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn names_are_random_and_only_such_names_lead_anywhere() {
        let (one, other) = (random_id().0.simple().to_string(), random_id().0.simple().to_string());
        assert_ne!(one, other);
        for (name, is) in [(format!("{one}.jpg"), "image/jpeg"), (format!("{one}-thumb.png"), "image/png")] {
            assert_eq!(media_type(&name), Some(is));
            assert!(is_path(&path_of(&name)), "{name}");
            assert!(!is_path(&name), "{name}");
        }
        let id = ImageId(Uuid::parse_str(&one).unwrap());
        assert_eq!(picture(&format!("{one}.jpg")), Some((id, format!("{one}-thumb.jpg"))));
        assert_eq!(picture(&format!("{one}-thumb.jpg")), None);
        for name in [
            one.clone(),
            format!("{one}.svg"),
            format!("{one}.webp"),
            format!("{one}.jpg.html"),
            format!("{one}.jpg\n"),
            format!("{}.jpg", one.to_uppercase()),
            format!("{}.jpg", &one[1..]),
            format!("{one}-thumb-thumb.jpg"),
            format!("../{one}.jpg"),
            format!("%2e%2e/{one}.jpg"),
            "secret".to_owned(),
            "é".repeat(16) + ".jpg",
            String::new(),
        ] {
            assert_eq!(media_type(&name), None, "{name}");
            assert!(!is_path(&path_of(&name)), "{name}");
            assert_eq!(picture(&name), None, "{name}");
        }
    }
}
