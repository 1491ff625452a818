//! Whether a file is there to its end.
//!
//! Decoders are lenient, or stop where they have what they need. This only walks from one part of a file to the next, as
//! the part before says, until the mark that ends it, so it takes neither memory nor much time. What comes after that
//! mark is no part of the picture.

use image::ImageFormat;

/// Whether a file of this format has everything up to its end.
pub(super) fn is_whole(format: ImageFormat, bytes: &[u8]) -> bool {
    let end = match format {
        ImageFormat::Jpeg => jpeg(bytes),
        ImageFormat::Png => png(bytes),
        ImageFormat::Gif => gif(bytes),
        ImageFormat::WebP => webp(bytes),
        _ => None,
    };
    end.is_some()
}

fn u16_be(bytes: &[u8], at: usize) -> Option<usize> {
    Some(usize::from(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?)))
}

fn u32_be(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?)).ok()
}

/// Segments with their lengths; a scan goes on until a marker that is neither a stuffed byte nor a restart.
fn jpeg(bytes: &[u8]) -> Option<()> {
    let mut at = 2;
    loop {
        if *bytes.get(at)? != 0xff {
            return None;
        }
        let marker = *bytes.get(at + 1)?;
        match marker {
            // Fill bytes before a marker.
            0xff => at += 1,
            0xd9 => return Some(()),
            0x01 | 0xd0..=0xd8 => at += 2,
            _ => {
                at += 2 + u16_be(bytes, at + 2)?;
                if marker == 0xda {
                    at = end_of_scan(bytes, at)?;
                }
            }
        }
    }
}

fn end_of_scan(bytes: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    let ends = |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0x00 | 0xd0..=0xd7);
    Some(from + rest.windows(2).position(ends)?)
}

/// Chunks with their lengths, until `IEND`.
fn png(bytes: &[u8]) -> Option<()> {
    let mut at = 8;
    loop {
        let (length, kind) = (u32_be(bytes, at)?, bytes.get(at + 4..at + 8)?);
        // Length, kind, data and checksum.
        let next = at.checked_add(length)?.checked_add(12)?;
        bytes.get(next - 1)?;
        if kind == b"IEND" {
            return Some(());
        }
        at = next;
    }
}

/// Blocks of sub-blocks, until the trailer.
fn gif(bytes: &[u8]) -> Option<()> {
    let table = |flags: u8| if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) };
    let mut at = 13 + table(*bytes.get(10)?);
    loop {
        match *bytes.get(at)? {
            0x3b => return Some(()),
            0x21 => at = end_of_blocks(bytes, at + 2)?,
            0x2c => {
                let data = at + 10 + table(*bytes.get(at + 9)?);
                at = end_of_blocks(bytes, data + 1)?;
            }
            _ => return None,
        }
    }
}

fn end_of_blocks(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *bytes.get(at)? {
            0 => return Some(at + 1),
            length => at += 1 + usize::from(length),
        }
    }
}

/// One chunk around all others, which says how long the file is.
fn webp(bytes: &[u8]) -> Option<()> {
    let length = usize::try_from(u32::from_le_bytes(bytes.get(4..8)?.try_into().ok()?)).ok()?;
    bytes.get(length.checked_add(7)?).map(|_| ())
}
