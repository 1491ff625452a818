//! A file that somebody has sent, made into a picture that is safe to be shown.
//!
//! What it is, its content tells, never its name. Its dimensions are read before anything is decoded, decoding is bounded
//! in memory, only the first frame counts, and what is stored is drawn anew from the pixels: whatever else was in the
//! file, such as where a photograph was taken, a program or an archive, is gone.

use std::io::Cursor;

use domain::image::Format;
use image::codecs::jpeg::JpegEncoder;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use super::whole::is_whole;

mod webp;

/// The largest file, in bytes.
pub const MOST_BYTES: usize = 5 * 1024 * 1024;
/// The most pixels.
pub const MOST_PIXELS: u64 = 25_000_000;
/// The most pixels of a WebP that moves: besides what comes out, a picture and what it is drawn on take memory.
pub const MOST_PIXELS_MOVING: u64 = 16_000_000;
/// What is larger than this is scaled down to fit.
pub const LARGEST: (u32, u32) = (1_920, 1_080);
/// What a thumbnail fits in.
pub const THUMBNAIL: (u32, u32) = (400, 400);

/// What decoding may take: the most pixels with eight bytes each, and what decoders need besides.
const MOST_MEMORY: u64 = 8 * MOST_PIXELS + 32 * 1024 * 1024;
const JPEG_QUALITY: u8 = 85;

/// A picture, ready to be stored.
#[derive(Clone, Debug)]
pub struct Picture {
    /// In which format.
    pub format: Format,
    /// How wide it is, in pixels.
    pub width: u32,
    /// How high it is, in pixels.
    pub height: u32,
    /// Its file.
    pub file: Vec<u8>,
    /// The file of its thumbnail.
    pub thumbnail: Vec<u8>,
}

/// Why a file is not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refused {
    /// It is none of the formats.
    NotAnImage,
    /// It begins as one of them, and is cut off or broken.
    Damaged,
    /// It has too many pixels.
    TooManyPixels {
        /// How many; nothing if it only takes too much memory.
        pixels: Option<u64>,
        /// How many there may be.
        most: u64,
    },
}

impl Picture {
    /// Reads a file of at most [`MOST_BYTES`]. Takes a while and much memory: off the async threads, few at a time.
    pub fn read(bytes: &[u8]) -> Result<Self, Refused> {
        let known = [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP, ImageFormat::Gif];
        let format = image::guess_format(bytes).ok().filter(|format| known.contains(format));
        let format = format.ok_or(Refused::NotAnImage)?;
        if !is_whole(format, bytes) {
            return Err(Refused::Damaged);
        }
        let mut decoder = {
            let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
            reader.limits(taking(MOST_MEMORY));
            reader.into_decoder().map_err(|error| refused(&error))?
        };
        let (width, height) = decoder.dimensions();
        let is_webp = format == ImageFormat::WebP;
        let within = if is_webp { webp::largest(bytes) } else { 0 };
        let most = if is_webp && webp::is_animated(bytes) { MOST_PIXELS_MOVING } else { MOST_PIXELS };
        let pixels = within.max(u64::from(width) * u64::from(height));
        if pixels > most {
            return Err(Refused::TooManyPixels { pixels: Some(pixels), most });
        }
        // Beside what comes out.
        let besides = MOST_MEMORY.saturating_sub(decoder.total_bytes());
        decoder.set_limits(taking(besides)).map_err(|error| refused(&error))?;
        let turned = decoder.orientation().unwrap_or(Orientation::NoTransforms);
        let drawing = DynamicImage::from_decoder(decoder).map_err(|error| refused(&error))?;
        let mut picture = shrunk(drawing, if lies(turned) { (LARGEST.1, LARGEST.0) } else { LARGEST });
        picture.apply_orientation(turned);
        let is_lossy = matches!(format, ImageFormat::Jpeg | ImageFormat::WebP);
        let stored = if is_lossy && !picture.color().has_alpha() { Format::Jpeg } else { Format::Png };
        let (width, height) = (picture.width(), picture.height());
        let file = drawn(&picture, stored).ok_or(Refused::Damaged)?;
        let thumbnail = drawn(&shrunk(picture, THUMBNAIL), stored).ok_or(Refused::Damaged)?;
        Ok(Self { format: stored, width, height, file, thumbnail })
    }
}

fn taking(bytes: u64) -> Limits {
    let mut limits = Limits::default();
    limits.max_alloc = Some(bytes);
    limits
}

/// Whether width and height change places.
fn lies(turned: Orientation) -> bool {
    match turned {
        Orientation::Rotate90 | Orientation::Rotate270 | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH => {
            true
        }
        Orientation::NoTransforms
        | Orientation::Rotate180
        | Orientation::FlipHorizontal
        | Orientation::FlipVertical => false,
    }
}

fn refused(error: &image::ImageError) -> Refused {
    match error {
        image::ImageError::Limits(_) => Refused::TooManyPixels { pixels: None, most: MOST_PIXELS },
        _ => Refused::Damaged,
    }
}

/// The picture, made to fit if it is too large. Averages what falls together, without anything between the two sizes.
fn shrunk(picture: DynamicImage, (width, height): (u32, u32)) -> DynamicImage {
    let fits = picture.width() <= width && picture.height() <= height;
    if fits { picture } else { picture.thumbnail(width, height) }
}

fn drawn(picture: &DynamicImage, format: Format) -> Option<Vec<u8>> {
    let mut file = Vec::new();
    let written = match format {
        Format::Jpeg => picture.to_rgb8().write_with_encoder(JpegEncoder::new_with_quality(&mut file, JPEG_QUALITY)),
        Format::Png if picture.color().has_alpha() => {
            picture.to_rgba8().write_to(&mut Cursor::new(&mut file), ImageFormat::Png)
        }
        Format::Png => picture.to_rgb8().write_to(&mut Cursor::new(&mut file), ImageFormat::Png),
    };
    written.ok().map(|()| file)
}

#[cfg(test)]
mod tests;
