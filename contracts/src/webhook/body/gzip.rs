//! Bodies that a vendor compresses (RFC 1952), unpacked within a cap.

use flate2::bufread::GzDecoder;
use serde::Deserialize;
use std::io::Read;

/// A verified body may unpack to so many times its own size. JSON that repeats itself has 20 to 50; a bomb has 1000.
const MOST_RATIO: usize = 100;
/// A body that is unpacked before it is verified: any stranger can have it unpacked, and sends a twentieth of the work at least.
const MOST_RATIO_UNVERIFIED: usize = 20;
/// What any body may unpack to, however small it is.
const SMALL_BYTES: usize = 64 << 10;

/// What a vendor signs of a compressed body.
#[derive(Debug, Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Gzip {
    /// The compressed bytes, as they are sent: the raw record has them, and says by its first bytes that it is compressed
    Signed,
    /// The plain bytes: the edge unpacks before it verifies, and the raw record is plain
    Plain,
}

impl Gzip {
    fn most_ratio(self) -> usize {
        match self {
            Self::Signed => MOST_RATIO,
            Self::Plain => MOST_RATIO_UNVERIFIED,
        }
    }

    /// What the body says it unpacks to, in bytes: so much is taken of a budget before anything is unpacked.
    ///
    /// # Errors
    /// [`GzipError::TooLarge`]; [`GzipError::Malformed`] when it is too short to say.
    pub fn unpacked_bytes(self, body: &[u8], most: usize) -> Result<usize, GzipError> {
        let trailer = body.last_chunk().ok_or(GzipError::Malformed)?;
        let said = usize::try_from(u32::from_le_bytes(*trailer)).unwrap_or(usize::MAX);
        let by_ratio = body
            .len()
            .saturating_mul(self.most_ratio())
            .max(SMALL_BYTES);
        if said > most.min(by_ratio) {
            return Err(GzipError::TooLarge);
        }
        Ok(said)
    }

    /// Unpacks one member that ends with the body, and never more than it says.
    ///
    /// # Errors
    /// [`GzipError`]
    pub fn unpack(self, body: &[u8], most: usize) -> Result<Vec<u8>, GzipError> {
        let said = self.unpacked_bytes(body, most)?;
        let mut plain = Vec::with_capacity(said);
        let mut decoder = GzDecoder::new(body);
        // One byte more, so that the end and its checksum are read, and a lie is seen.
        let read = decoder
            .by_ref()
            .take(said as u64 + 1)
            .read_to_end(&mut plain);
        let whole = read.is_ok() && plain.len() == said && decoder.into_inner().is_empty();
        whole.then_some(plain).ok_or(GzipError::Malformed)
    }
}

/// Why a body is not unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GzipError {
    /// Broken off, a wrong checksum or length, or something after the end of the only member
    #[error("the body is not one whole gzip member")]
    Malformed,
    /// More than the source's limit, or too many times its own size
    #[error("the body unpacks to more than its source allows, or to too many times its own size")]
    TooLarge,
}

/// Whether the bytes begin as gzip does. No JSON and no form does.
#[must_use]
pub fn is_gzip(body: &[u8]) -> bool {
    body.starts_with(&[0x1f, 0x8b])
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;
    use std::io::Write;

    fn unpack(body: &[u8], most: usize) -> Result<Vec<u8>, GzipError> {
        let unpacked = Gzip::Signed.unpack(body, most);
        assert_eq!(Gzip::Plain.unpack(body, most), unpacked, "small bodies");
        unpacked
    }

    fn pack(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn one_whole_member_within_the_cap_is_unpacked_and_nothing_else() {
        let body = pack(b"{\"a\":1}");
        assert!(is_gzip(&body) && !is_gzip(b"{}") && !is_gzip(b""));
        assert_eq!(unpack(&body, 7), Ok(b"{\"a\":1}".to_vec()));
        assert_eq!(unpack(&body, 6), Err(GzipError::TooLarge));
        let twice = [&body[..], &body].concat();
        let mut checksum = body.clone();
        let at = checksum.len() - 8;
        checksum[at] ^= 1;
        let mut less = body.clone();
        *less.last_chunk_mut().unwrap() = 6_u32.to_le_bytes();
        let mut more = body.clone();
        *more.last_chunk_mut().unwrap() = 8_u32.to_le_bytes();
        let cut = &body[..body.len() - 1];
        let after = [&body[..], b"{}"].concat();
        for broken in [
            &twice[..],
            &checksum,
            &less,
            &more,
            cut,
            &after,
            b"",
            b"\x1f\x8b",
            b"{}",
        ] {
            assert!(unpack(broken, 1000).is_err(), "{broken:x?}");
        }
    }

    #[test]
    fn a_bomb_is_refused_before_it_is_unpacked() {
        let bomb = pack(&vec![b' '; 10 << 20]);
        assert!(
            bomb.len() < 20_000,
            "a thousandth of what it unpacks to: {}",
            bomb.len()
        );
        assert_eq!(
            Gzip::Signed.unpacked_bytes(&bomb, usize::MAX),
            Err(GzipError::TooLarge)
        );
        // One that says it is small is cut off where it says it ends.
        let mut liar = bomb;
        *liar.last_chunk_mut().unwrap() = 100_u32.to_le_bytes();
        assert_eq!(
            Gzip::Signed.unpack(&liar, usize::MAX),
            Err(GzipError::Malformed)
        );
    }

    #[test]
    fn who_is_not_verified_has_less_unpacked() {
        let text: Vec<u8> = (0..30_000_u32)
            .flat_map(|n| (n / 40).to_le_bytes())
            .collect();
        let body = pack(&text);
        let ratio = text.len() / body.len();
        assert!((20..100).contains(&ratio), "{ratio}");
        assert_eq!(Gzip::Signed.unpack(&body, text.len()), Ok(text.clone()));
        assert_eq!(
            Gzip::Plain.unpack(&body, text.len()),
            Err(GzipError::TooLarge)
        );
    }

    proptest! {
        #[test]
        fn what_was_packed_is_unpacked(plain in proptest::collection::vec(any::<u8>(), 0..5000)) {
            prop_assert_eq!(unpack(&pack(&plain), 5000), Ok(plain));
        }

        #[test]
        fn any_bytes_get_an_answer_within_the_cap(mut body in proptest::collection::vec(any::<u8>(), 0..300), plain in "[ab]{0,300}", at in any::<prop::sample::Index>()) {
            for body in [&mut body, &mut pack(plain.as_bytes())] {
                let length = body.len();
                if length > 0 {
                    body[at.index(length)] ^= 0x55;
                }
                if let Ok(unpacked) = unpack(body, 300) {
                    prop_assert!(unpacked.len() <= 300);
                }
            }
        }
    }
}
