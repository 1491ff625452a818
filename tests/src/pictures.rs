//! Pictures to be uploaded, and forms that bring them.

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, Rgb, RgbImage};

use crate::client::{Ask, Client};
use crate::fail::OrFail;

const BOUNDARY: &str = "a-boundary-of-the-tests";

/// A picture of this size.
pub fn picture(format: ImageFormat, width: u32, height: u32) -> Vec<u8> {
    let drawn = RgbImage::from_fn(width, height, |x, y| Rgb([x.to_le_bytes()[0], y.to_le_bytes()[0], 99]));
    let mut file = Cursor::new(Vec::new());
    DynamicImage::from(drawn).write_to(&mut file, format).or_fail("draw a picture");
    file.into_inner()
}

/// A form with these fields, and what it must be called.
pub fn form(fields: &[(&str, &[u8])]) -> (String, Vec<u8>) {
    let mut body = Vec::new();
    for (name, file) in fields {
        let head = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"../../x.exe\"\r\n\
             Content-Type: application/x-msdownload\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(file);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    (format!("multipart/form-data; boundary={BOUNDARY}"), body)
}

impl Client {
    /// Sends files in a form, called and declared as something that they are not.
    pub fn send_files(&self, path: &str, fields: &[(&str, &[u8])]) -> Ask {
        let (media_type, body) = form(fields);
        self.ask(&reqwest::Method::POST, &format!("/api/v1{path}")).raw(&media_type, body)
    }
}
