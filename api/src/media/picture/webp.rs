//! What a WebP says of the pictures in it, beside what it says of itself.
//!
//! A WebP may be several chunks: one says how large all of it is, and each picture again how large that is. The decoder
//! makes room for a lossy picture before it compares the two, so a small WebP may hold a large one.

/// Whether it says that it moves: the decoder then draws a picture, and that onto a canvas.
pub(super) fn is_animated(bytes: &[u8]) -> bool {
    const ANIMATION: u8 = 2;
    bytes.get(12..16) == Some(b"VP8X") && bytes.get(20).is_some_and(|flags| flags & ANIMATION != 0)
}

/// How many pixels the largest lossy picture in it has.
pub(super) fn largest(bytes: &[u8]) -> u64 {
    let of_frame = |chunk: Chunk<'_>| {
        let within = if chunk.kind == b"ANMF" { chunk.data.get(16..) } else { None };
        chunks(within.unwrap_or_default()).map(|chunk| pixels(chunk.data)).max().unwrap_or_default()
    };
    chunks(bytes.get(12..).unwrap_or_default())
        .map(|chunk| pixels(chunk.data).max(of_frame(chunk)))
        .max()
        .unwrap_or_default()
}

#[derive(Clone, Copy)]
struct Chunk<'a> {
    kind: &'a [u8],
    /// As much of it as there is.
    data: &'a [u8],
}

/// Chunks one after another, each of an even length.
fn chunks(mut bytes: &[u8]) -> impl Iterator<Item = Chunk<'_>> {
    std::iter::from_fn(move || {
        let (kind, rest) = bytes.split_at_checked(4)?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        bytes = rest.get(length.checked_next_multiple_of(2)?..).unwrap_or_default();
        Some(Chunk { kind, data: &rest[..length.min(rest.len())] })
    })
}

/// How many pixels a lossy picture has, whatever its chunk is called; none if this is not one.
fn pixels(data: &[u8]) -> u64 {
    match data {
        [_, _, _, 0x9d, 0x01, 0x2a, width, wider, height, higher, ..] => {
            let side = |low: u8, high: u8| u64::from(u16::from_le_bytes([low, high]) & 0x3fff);
            side(*width, *wider) * side(*height, *higher)
        }
        _ => 0,
    }
}
