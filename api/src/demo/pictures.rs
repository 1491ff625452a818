//! Pictures of what is sold: drawn by code, the same on every machine, so that no photographs have to be kept.

use std::io::Cursor;

use axum::body::Bytes;
use image::codecs::jpeg::JpegEncoder;
use image::{Rgb, RgbImage};

use super::dice::Dice;

const WIDTH: u32 = 320;
const HEIGHT: u32 = 240;
const QUALITY: u8 = 85;
/// How much of what is behind a disc shows through, in per cent.
const SHOWS_THROUGH: i64 = 40;

type Colour = [u8; 3];

/// What is at the top and at the bottom of a picture, by category.
const GROUNDS: [(Colour, Colour); 12] = [
    ([0x2b, 0x3a, 0x55], [0xce, 0x79, 0x77]),
    ([0x1b, 0x26, 0x2c], [0x32, 0x82, 0xb8]),
    ([0x35, 0x2f, 0x44], [0xb9, 0xb4, 0xc7]),
    ([0x5c, 0x3d, 0x2e], [0xe0, 0xc0, 0x97]),
    ([0x1a, 0x4d, 0x2e], [0xc1, 0xd8, 0xa8]),
    ([0x6b, 0x4f, 0x3f], [0xd7, 0xcc, 0xc8]),
    ([0x1e, 0x1e, 0x2f], [0xf2, 0x9f, 0x58]),
    ([0x2e, 0x0f, 0x59], [0x4e, 0xd8, 0xc7]),
    ([0x3d, 0x3d, 0x3d], [0xd9, 0xa4, 0x41]),
    ([0x4a, 0x27, 0x45], [0xf4, 0xc2, 0xc2]),
    ([0x40, 0x1f, 0x1f], [0xe3, 0xb0, 0x4b]),
    ([0x0b, 0x4f, 0x6c], [0xff, 0xd1, 0x66]),
];
const DISCS: [Colour; 5] =
    [[0xff, 0xf4, 0xe0], [0xef, 0x62, 0x62], [0x1d, 0x5b, 0x79], [0xf3, 0xaa, 0x60], [0x46, 0x8b, 0x97]];

struct Disc {
    x: i64,
    y: i64,
    radius: i64,
    colour: Colour,
}

/// A picture of something in this category, another for every seed: a file as somebody would upload it. Nothing if it
/// cannot be drawn.
pub(super) fn draw(category: usize, seed: u64) -> Option<Bytes> {
    let mut dice = Dice::new(seed);
    let (top, bottom) = GROUNDS[category % GROUNDS.len()];
    let (width, height) = (i64::from(WIDTH), i64::from(HEIGHT));
    let disc = |dice: &mut Dice| Disc {
        x: dice.between(0, width),
        y: dice.between(0, height),
        radius: dice.between(height / 8, height / 3),
        colour: *dice.pick(&DISCS),
    };
    let discs: Vec<Disc> = (0..4).map(|_| disc(&mut dice)).collect();
    let picture = RgbImage::from_fn(WIDTH, HEIGHT, |x, y| {
        let (x, y) = (i64::from(x), i64::from(y));
        let mut colour = mixed(top, bottom, y, height);
        for disc in &discs {
            if (x - disc.x).pow(2) + (y - disc.y).pow(2) < disc.radius.pow(2) {
                colour = mixed(disc.colour, colour, SHOWS_THROUGH, 100);
            }
        }
        Rgb(colour)
    });
    let mut file = Cursor::new(Vec::new());
    picture.write_with_encoder(JpegEncoder::new_with_quality(&mut file, QUALITY)).ok()?;
    Some(file.into_inner().into())
}

/// So many parts of the second colour in the first, out of `of`.
fn mixed(one: Colour, other: Colour, part: i64, of: i64) -> Colour {
    let mix = |(one, other): (u8, u8)| (i64::from(one) * (of - part) + i64::from(other) * part) / of;
    let [red, green, blue] = [0, 1, 2].map(|place| u8::try_from(mix((one[place], other[place]))).unwrap_or(u8::MAX));
    [red, green, blue]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::picture::Picture;

    #[test]
    fn a_picture_is_the_same_every_time_another_for_each_lot_and_good_enough_to_be_uploaded() {
        let one = draw(3, 7).unwrap();
        assert_eq!(draw(3, 7).unwrap(), one);
        assert_ne!(draw(3, 8).unwrap(), one);
        assert_ne!(draw(4, 7).unwrap(), one);
        assert!(one.len() < 30_000, "{}", one.len());
        let kept = Picture::read(&one).unwrap();
        assert_eq!((kept.width, kept.height), (WIDTH, HEIGHT));
    }
}
