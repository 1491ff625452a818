//! Pictures to be uploaded, and forms that bring them.

use std::io::Cursor;
use std::path::Path;

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

/// A PNG of few bytes that says it is 50,000 pixels wide and as high.
pub fn bomb() -> Vec<u8> {
    let mut bomb = picture(ImageFormat::Png, 8, 8);
    bomb[16..24].copy_from_slice(&[0, 0, 0xc3, 0x50, 0, 0, 0xc3, 0x50]);
    let crc = crc(&bomb[12..29]);
    bomb[29..33].copy_from_slice(&crc.to_be_bytes());
    bomb
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 0 { crc >> 1 } else { (crc >> 1) ^ 0xedb8_8320 };
        }
    }
    !crc
}

/// How many files are in a folder in which pictures are kept: two of each.
pub fn files_in(folder: &Path) -> usize {
    std::fs::read_dir(folder).map_or(0, Iterator::count)
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
