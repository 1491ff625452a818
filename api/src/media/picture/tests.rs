//! Pictures of each format, and files that only look like one.

use std::fs;

use image::codecs::gif::GifEncoder;
use image::codecs::png::PngEncoder;
use image::codecs::webp::WebPEncoder;
use image::{ExtendedColorType, Frame, ImageEncoder, Rgb, RgbImage, Rgba, RgbaImage};

use super::*;

/// A picture whose upper half is red and whose lower half is blue.
fn halves(width: u32, height: u32) -> RgbImage {
    let red = |y| y < height / 2;
    RgbImage::from_fn(width, height, |_, y| if red(y) { Rgb([220, 20, 20]) } else { Rgb([20, 20, 220]) })
}

fn jpeg(width: u32, height: u32) -> Vec<u8> {
    let mut file = Vec::new();
    halves(width, height).write_with_encoder(JpegEncoder::new_with_quality(&mut file, 90)).unwrap();
    file
}

fn png(width: u32, height: u32) -> Vec<u8> {
    let mut file = Vec::new();
    halves(width, height).write_with_encoder(PngEncoder::new(&mut file)).unwrap();
    file
}

fn webp(alpha: u8) -> Vec<u8> {
    let picture = RgbaImage::from_pixel(64, 32, Rgba([10, 200, 10, alpha]));
    let mut file = Vec::new();
    let encoder = WebPEncoder::new_lossless(&mut file);
    if alpha == 255 {
        let opaque = DynamicImage::from(picture).to_rgb8();
        encoder.write_image(&opaque, 64, 32, ExtendedColorType::Rgb8).unwrap();
    } else {
        encoder.write_image(&picture, 64, 32, ExtendedColorType::Rgba8).unwrap();
    }
    file
}

fn gif(frames: usize) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = GifEncoder::new_with_speed(&mut file, 30);
    for number in 0..frames {
        let color = if number == 0 { Rgba([255, 0, 0, 255]) } else { Rgba([0, 255, 0, 255]) };
        encoder.encode_frame(Frame::new(RgbaImage::from_pixel(16, 16, color))).unwrap();
    }
    drop(encoder);
    file
}

/// The pixels of a file that was stored.
fn pixels(file: &[u8]) -> RgbImage {
    image::load_from_memory(file).unwrap().to_rgb8()
}

fn is_red(pixel: Rgb<u8>) -> bool {
    pixel[0] > 150 && pixel[2] < 100
}

#[test]
fn each_format_is_read_by_its_content_and_stored_in_one_of_two() {
    for (file, format) in [
        (jpeg(64, 32), Format::Jpeg),
        (png(64, 32), Format::Png),
        (webp(255), Format::Jpeg),
        (webp(100), Format::Png),
        (gif(1), Format::Png),
    ] {
        let picture = Picture::read(&file).unwrap();
        assert_eq!(picture.format, format);
        let stored = image::guess_format(&picture.file).unwrap();
        assert_eq!(stored, if format == Format::Jpeg { ImageFormat::Jpeg } else { ImageFormat::Png });
        assert_eq!(pixels(&picture.file).dimensions(), (picture.width, picture.height));
    }
    let see_through = Picture::read(&webp(100)).unwrap();
    assert_eq!(image::load_from_memory(&see_through.file).unwrap().to_rgba8().get_pixel(3, 3)[3], 100);
}

#[test]
fn what_is_large_is_scaled_down_and_what_fits_is_kept() {
    for ((width, height), kept, thumbnail) in [
        ((1_920, 1_080), (1_920, 1_080), (400, 225)),
        ((3_840, 2_160), (1_920, 1_080), (400, 225)),
        ((1_000, 4_000), (270, 1_080), (100, 400)),
        ((300, 200), (300, 200), (300, 200)),
        ((1, 1), (1, 1), (1, 1)),
        ((6_000, 1), (1_920, 1), (400, 1)),
    ] {
        let picture = Picture::read(&png(width, height)).unwrap();
        assert_eq!((picture.width, picture.height), kept, "{width} x {height}");
        assert_eq!(pixels(&picture.thumbnail).dimensions(), thumbnail, "{width} x {height}");
    }
}

/// A JPEG with a marker after its first two bytes that says how it is to be turned, and where it was taken.
fn photograph(orientation: u8) -> Vec<u8> {
    let mut tiff = b"II*\0\x08\0\0\0\x02\0".to_vec();
    // Orientation: tag 0x112, type short, one of them.
    tiff.extend([0x12, 0x01, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0]);
    // Image description: tag 0x10e, type text, at byte 38.
    tiff.extend([0x0e, 0x01, 2, 0, 20, 0, 0, 0, 38, 0, 0, 0]);
    tiff.extend([0, 0, 0, 0]);
    tiff.extend(b"canary-place-Lahore\0");
    let exif = [b"Exif\0\0".as_slice(), &tiff].concat();
    let length = u16::try_from(exif.len() + 2).unwrap().to_be_bytes();
    let plain = jpeg(640, 320);
    [&plain[..2], &[0xff, 0xe1], &length, &exif, &plain[2..]].concat()
}

#[test]
fn a_photograph_is_turned_as_it_was_taken_and_tells_nothing_else() {
    for (orientation, size, red_at, blue_at) in [
        (1, (640, 320), (320, 20), (320, 300)),
        (3, (640, 320), (320, 300), (320, 20)),
        (6, (320, 640), (300, 320), (20, 320)),
        (8, (320, 640), (20, 320), (300, 320)),
    ] {
        let file = photograph(orientation);
        assert!(file.windows(6).any(|part| part == b"canary"));
        let picture = Picture::read(&file).unwrap();
        assert_eq!((picture.width, picture.height), size, "{orientation}");
        let shown = pixels(&picture.file);
        assert!(is_red(*shown.get_pixel(red_at.0, red_at.1)), "{orientation}");
        assert!(!is_red(*shown.get_pixel(blue_at.0, blue_at.1)), "{orientation}");
        for stored in [&picture.file, &picture.thumbnail] {
            assert!(!stored.windows(6).any(|part| part == b"canary"), "{orientation}");
            assert!(!stored.windows(4).any(|part| part == b"Exif"), "{orientation}");
        }
    }
    // Turned, it still fits.
    let upright = Picture::read(&{
        let large = jpeg(4_000, 2_000);
        let small = photograph(6);
        // The same marker before a larger picture.
        let marker = small.len() - jpeg(640, 320).len();
        [&small[..2 + marker], &large[2..]].concat()
    })
    .unwrap();
    assert_eq!((upright.width, upright.height), (540, 1_080));
}

#[test]
fn what_only_pretends_is_refused() {
    for (file, refused) in [
        (b"".to_vec(), Refused::NotAnImage),
        (b"<html><script>alert(1)</script></html>".to_vec(), Refused::NotAnImage),
        (b"<svg xmlns=\"http://www.w3.org/2000/svg\" onload=\"alert(1)\"/>".to_vec(), Refused::NotAnImage),
        (b"PK\x03\x04 an archive".to_vec(), Refused::NotAnImage),
        (b"%PDF-1.7".to_vec(), Refused::NotAnImage),
        (b"BM a bitmap, which is not taken".to_vec(), Refused::NotAnImage),
        (b"II*\0 a TIFF, which is not taken".to_vec(), Refused::NotAnImage),
        (b"\xff\xd8\xff\xe0 <script>alert(1)</script>".to_vec(), Refused::Damaged),
        (b"\x89PNG\r\n\x1a\n<script>alert(1)</script>".to_vec(), Refused::Damaged),
        (b"GIF89a/*<script>alert(1)</script>*/=1;".to_vec(), Refused::Damaged),
        (b"RIFF\xff\xff\xff\x7fWEBPVP8 ".to_vec(), Refused::Damaged),
        ([b"\xff\xd8\xff\xd9".as_slice(), &[0; 100]].concat(), Refused::Damaged),
    ] {
        assert_eq!(Picture::read(&file).err(), Some(refused), "{}", String::from_utf8_lossy(&file));
    }
}

#[test]
fn a_file_that_is_two_things_is_only_the_picture_afterwards() {
    let script = b"<html><script>alert('canary')</script></html>PK\x05\x06canary";
    for picture in [jpeg(64, 32), png(64, 32), webp(100), webp(255), gif(1)] {
        let both = [picture.as_slice(), script].concat();
        let read = Picture::read(&both).unwrap();
        for stored in [&read.file, &read.thumbnail] {
            assert!(!stored.windows(6).any(|part| part == b"canary"));
            assert!(!stored.windows(6).any(|part| part == b"script"));
        }
    }
    // In a comment of the picture too.
    let plain = jpeg(64, 32);
    let comment = b"<script>canary</script>";
    let length = u16::try_from(comment.len() + 2).unwrap().to_be_bytes();
    let commented = [&plain[..2], &[0xff, 0xfe], &length, comment, &plain[2..]].concat();
    let read = Picture::read(&commented).unwrap();
    assert!(!read.file.windows(6).any(|part| part == b"canary"));
}

#[test]
fn a_file_that_is_cut_off_anywhere_is_refused() {
    for picture in [jpeg(200, 100), png(200, 100), webp(100), webp(255), gif(1), gif(3)] {
        Picture::read(&picture).unwrap();
        for length in [picture.len() - 1, picture.len() * 9 / 10, picture.len() / 2, 40, 16, 8, 3] {
            let read = Picture::read(&picture[..length.min(picture.len() - 1)]);
            assert!(matches!(read, Err(Refused::Damaged | Refused::NotAnImage)), "{length} of {}", picture.len());
        }
    }
}

#[test]
fn only_the_first_of_a_thousand_frames_counts() {
    let file = gif(1_000);
    let picture = Picture::read(&file).unwrap();
    assert_eq!((picture.width, picture.height), (16, 16));
    assert!(pixels(&picture.file).pixels().all(|pixel| *pixel == Rgb([255, 0, 0])));
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

fn chunk(kind: [u8; 4], data: &[u8]) -> Vec<u8> {
    let named = [kind.as_slice(), data].concat();
    let length = u32::try_from(data.len()).unwrap().to_be_bytes();
    [length.as_slice(), &named, &crc(&named).to_be_bytes()].concat()
}

/// A PNG that says it is as large as this, whatever data comes with it.
fn claims(width: u32, height: u32, depth_and_color: [u8; 2], chunks: &[Vec<u8>]) -> Vec<u8> {
    let head = [&width.to_be_bytes(), &height.to_be_bytes(), depth_and_color.as_slice(), &[0, 0, 0]].concat();
    [b"\x89PNG\r\n\x1a\n".to_vec(), chunk(*b"IHDR", &head), chunks.concat(), chunk(*b"IEND", &[])].concat()
}

/// As many pixels as are taken, in a file that is a thousand times smaller.
fn much_of_nothing(color: ExtendedColorType) -> Vec<u8> {
    let mut file = Vec::new();
    let nothing = vec![0; 5_000 * 5_000 * usize::from(color.bits_per_pixel() / 8)];
    PngEncoder::new(&mut file).write_image(&nothing, 5_000, 5_000, color).unwrap();
    file
}

/// The same as a JPEG of so many components. Each of its blocks is the shortest that there is: of one bit, and of one more
/// for its end where everything comes at once.
fn plain_jpeg(is_progressive: bool, components: u8) -> Vec<u8> {
    const SIDE: u16 = 5_000;
    let segment = |marker: u8, data: &[u8]| {
        let length = u16::try_from(data.len() + 2).unwrap().to_be_bytes();
        [&[0xff, marker], length.as_slice(), data].concat()
    };
    let each = |of: fn(u8) -> Vec<u8>| (1..=components).flat_map(of).collect::<Vec<u8>>();
    let side = SIDE.to_be_bytes();
    let frame = [&[8], side.as_slice(), &side, &[components], &each(|id| vec![id, 0x11, 0])].concat();
    // One code of one bit, which says that there is nothing.
    let table = |class: u8| [&[class, 1], [0; 16].as_slice()].concat();
    let spectrum: [u8; 3] = if is_progressive { [0, 0, 0] } else { [0, 63, 0] };
    let scan = [&[components], each(|id| vec![id, 0]).as_slice(), &spectrum].concat();
    let bits = usize::from(SIDE / 8).pow(2) * usize::from(components) * if is_progressive { 1 } else { 2 };
    [
        vec![0xff, 0xd8],
        if components == 4 { segment(0xee, b"Adobe\0\x64\0\0\0\0\0") } else { vec![] },
        segment(0xdb, &[&[0], [1; 64].as_slice()].concat()),
        segment(if is_progressive { 0xc2 } else { 0xc0 }, &frame),
        segment(0xc4, &table(0x00)),
        segment(0xc4, &table(0x10)),
        segment(0xda, &scan),
        vec![0; bits.div_ceil(8)],
        vec![0xff, 0xd9],
    ]
    .concat()
}

fn riff_chunk(kind: [u8; 4], data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).unwrap().to_le_bytes();
    [kind.as_slice(), length.as_slice(), data, &vec![0; data.len() % 2]].concat()
}

/// A WebP of several chunks, which says that it is as wide and as high as this.
fn riff(flags: u8, side: u32, chunks: &[Vec<u8>]) -> Vec<u8> {
    let [low, middle, high, _] = (side - 1).to_le_bytes();
    let head = riff_chunk(*b"VP8X", &[flags, 0, 0, 0, low, middle, high, low, middle, high]);
    riff_chunk(*b"RIFF", &[b"WEBP".as_slice(), &head, &chunks.concat()].concat())
}

/// A picture of this size as the first of many.
fn moved(side: u32, picture: &[u8]) -> Vec<u8> {
    let [low, middle, high, _] = (side - 1).to_le_bytes();
    let frame = [0, 0, 0, 0, 0, 0, low, middle, high, low, middle, high, 1, 0, 0, 0];
    riff_chunk(*b"ANMF", &[frame.as_slice(), picture].concat())
}

/// A see-through picture without anything on it, as a WebP.
fn empty_webp(side: u32) -> Vec<u8> {
    let mut file = Vec::new();
    let nothing = RgbaImage::new(side, side);
    WebPEncoder::new_lossless(&mut file).write_image(&nothing, side, side, ExtendedColorType::Rgba8).unwrap();
    file
}

/// The same, moving.
fn moving_webp(side: u32) -> Vec<u8> {
    riff(0x12, side, &[riff_chunk(*b"ANIM", &[0; 6]), moved(side, &empty_webp(side)[12..])])
}

/// A GIF whose first picture is narrower than the whole, so that it is drawn apart.
fn narrow_gif() -> Vec<u8> {
    let mut file = Vec::new();
    let frame = Frame::new(RgbaImage::from_pixel(4_999, 5_000, Rgba([1, 2, 3, 255])));
    GifEncoder::new_with_speed(&mut file, 30).encode_frame(frame).unwrap();
    file[6..8].copy_from_slice(&5_000_u16.to_le_bytes());
    file
}

/// How much memory, at most, this takes beyond what was taken before.
fn taken<T>(work: impl FnOnce() -> T) -> (T, u64) {
    // What making the file has taken is forgotten, where the system lets us.
    let _ = fs::write("/proc/self/clear_refs", "5");
    let before = peak();
    (work(), peak() - before)
}

/// The most memory that this process has ever taken, in bytes. Each test is a process of its own.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

const MIB: u64 = 1024 * 1024;

#[test]
fn a_bomb_is_refused_before_it_takes_any_memory() {
    let before = peak();
    let data = chunk(*b"IDAT", &[0x78, 0x9c, 0x03, 0x00, 0x00, 0x00, 0x00, 0x01]);
    let too_many = |pixels| Err(Refused::TooManyPixels { pixels: Some(pixels), most: MOST_PIXELS });
    for (file, refused) in [
        (claims(50_000, 50_000, [8, 6], std::slice::from_ref(&data)), too_many(2_500_000_000)),
        (claims(50_000, 50_000, [16, 6], std::slice::from_ref(&data)), too_many(2_500_000_000)),
        (claims(5_001, 5_000, [1, 0], std::slice::from_ref(&data)), too_many(25_005_000)),
        // Its first line alone is more than decoding may take.
        (
            claims(0x7fff_ffff, 0x7fff_ffff, [8, 2], std::slice::from_ref(&data)),
            Err(Refused::TooManyPixels { pixels: None, most: MOST_PIXELS }),
        ),
    ] {
        assert_eq!(Picture::read(&file).map(|_| ()), refused);
    }
    // A GIF whose screen is as large as it can be, and a WebP and a JPEG that say so of themselves.
    let screen = b"GIF89a\xff\xff\xff\xff\x00\x00\x00,\0\0\0\0\xff\xff\xff\xff\0\x02\x01\0\0;";
    assert_eq!(Picture::read(screen).map(|_| ()), too_many(65_535 * 65_535));
    let mut webp = webp(100);
    let at = webp.windows(4).position(|kind| kind == b"VP8L").unwrap() + 9;
    webp[at..at + 3].copy_from_slice(&[0xff, 0xff, 0xff]);
    assert!(Picture::read(&webp).is_err());
    let mut wide = jpeg(64, 32);
    let at = wide.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap() + 5;
    wide[at..at + 4].copy_from_slice(&[0xff, 0xff, 0xff, 0xff]);
    assert!(Picture::read(&wide).is_err());
    // A small one, still or moving, in which a picture says that it is as large as it can be.
    let vast = [&[0x10, 0x40, 0, 0x9d, 0x01, 0x2a, 0xff, 0x3f, 0xff, 0x3f], vec![0; 500_000].as_slice()].concat();
    let still = riff(0, 16, &[riff_chunk(*b"VP8 ", &vast)]);
    let moving = riff(2, 16, &[riff_chunk(*b"ANIM", &[0; 6]), moved(16, &riff_chunk(*b"VP8 ", &vast))]);
    assert_eq!(Picture::read(&still).map(|_| ()), too_many(16_383 * 16_383));
    let too_many_moving = Refused::TooManyPixels { pixels: Some(16_383 * 16_383), most: MOST_PIXELS_MOVING };
    assert_eq!(Picture::read(&moving).map(|_| ()), Err(too_many_moving));
    let grown = peak() - before;
    assert!(grown < 32 * MIB, "{grown} bytes");
}

/// The largest file of each kind, and what drawing it may take.
fn takes_bounded_memory(file: &[u8]) {
    assert!(file.len() < 1_000_000, "{} bytes say millions of pixels", file.len());
    let (picture, grown) = taken(|| Picture::read(file).unwrap());
    assert_eq!((picture.width, picture.height), (1_080, 1_080));
    assert!(grown < 300 * MIB, "{grown} bytes");
    // Or nothing was measured.
    assert!(grown > 64 * MIB, "{grown} bytes");
}

#[test]
fn the_largest_png_takes_bounded_memory() {
    takes_bounded_memory(&much_of_nothing(ExtendedColorType::Rgba8));
}

#[test]
fn the_largest_png_of_deep_colour_takes_bounded_memory() {
    takes_bounded_memory(&much_of_nothing(ExtendedColorType::Rgba16));
}

#[test]
fn the_largest_jpeg_takes_bounded_memory() {
    takes_bounded_memory(&plain_jpeg(false, 3));
}

#[test]
fn the_largest_jpeg_for_print_takes_bounded_memory() {
    takes_bounded_memory(&plain_jpeg(false, 4));
}

#[test]
fn the_largest_jpeg_that_comes_in_passes_takes_bounded_memory() {
    takes_bounded_memory(&plain_jpeg(true, 3));
}

#[test]
fn the_largest_jpeg_for_print_that_comes_in_passes_takes_bounded_memory() {
    takes_bounded_memory(&plain_jpeg(true, 4));
}

#[test]
fn the_largest_webp_takes_bounded_memory() {
    takes_bounded_memory(&empty_webp(5_000));
}

#[test]
fn the_largest_webp_that_moves_takes_bounded_memory() {
    let too_large = moving_webp(4_001);
    let refused = Refused::TooManyPixels { pixels: Some(4_001 * 4_001), most: MOST_PIXELS_MOVING };
    assert_eq!(Picture::read(&too_large).map(|_| ()), Err(refused));
    takes_bounded_memory(&moving_webp(4_000));
}

#[test]
fn the_largest_gif_takes_bounded_memory() {
    takes_bounded_memory(&narrow_gif());
}
