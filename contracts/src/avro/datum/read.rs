//! Avro's binary encoding, read. Source: Avro 1.12 specification, "Binary encoding".

use super::DatumError;

/// Longest decimal, in bytes: about 308 digits.
const MAX_DECIMAL_BYTES: usize = 128;

/// Bytes that are left.
pub(super) struct Reader<'a> {
    pub(super) rest: &'a [u8],
}

pub(super) fn fault(problem: impl Into<String>) -> DatumError {
    DatumError(problem.into())
}

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], DatumError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or_else(|| fault("the data is truncated"))?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], DatumError> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N)?);
        Ok(bytes)
    }

    /// A zigzag varint of at most ten bytes.
    pub(super) fn long(&mut self) -> Result<i64, DatumError> {
        let mut value: u64 = 0;
        for shift in (0..70).step_by(7) {
            let byte = self.take(1)?[0];
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
            }
        }
        Err(fault("a number is longer than ten bytes"))
    }

    pub(super) fn int(&mut self) -> Result<i32, DatumError> {
        i32::try_from(self.long()?).map_err(|_| fault("an int has more than 32 bits"))
    }

    pub(super) fn boolean(&mut self) -> Result<bool, DatumError> {
        match self.take(1)?[0] {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(fault("a boolean is neither 0 nor 1")),
        }
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], DatumError> {
        let length = usize::try_from(self.long()?).map_err(|_| fault("a length is negative"))?;
        self.take(length)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, DatumError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| fault("a string is not UTF-8"))
    }

    /// An index into `choices`: of a union's branch or an enum's symbol.
    pub(super) fn choice<'c, T>(
        &mut self,
        choices: &'c [T],
        what: &str,
    ) -> Result<&'c T, DatumError> {
        usize::try_from(self.long()?)
            .ok()
            .and_then(|index| choices.get(index))
            .ok_or_else(|| fault(what))
    }

    /// The number of items in the next block of an array or map; 0 is the end.
    pub(super) fn block(&mut self) -> Result<u64, DatumError> {
        let count = self.long()?;
        if count < 0 {
            // A negative count is followed by the block's size in bytes.
            let size = self.long()?;
            if usize::try_from(size).map_or(true, |size| size > self.rest.len()) {
                return Err(fault("a block is longer than the data"));
            }
        }
        Ok(count.unsigned_abs())
    }
}

/// The text of two's complement `bytes` / 10^`scale`, without trailing zeros in the fraction.
pub(super) fn decimal_text(bytes: &[u8], scale: u32) -> Result<String, DatumError> {
    if bytes.is_empty() || bytes.len() > MAX_DECIMAL_BYTES {
        return Err(fault(format!(
            "a decimal has {} bytes, not 1 to {MAX_DECIMAL_BYTES}",
            bytes.len()
        )));
    }
    let negative = bytes[0] & 0x80 != 0;
    let fill = if negative { 0xff } else { 0 };
    let significant = bytes.iter().position(|byte| *byte != fill);
    let bytes = &bytes[significant.unwrap_or(bytes.len() - 1)..];
    if bytes.len() < 16 {
        let mut wide = [fill; 16];
        wide[16 - bytes.len()..].copy_from_slice(bytes);
        return Ok(crate::event::money::text(i128::from_be_bytes(wide), scale));
    }
    let magnitude: Vec<u8> = if negative {
        let mut carry = true;
        let mut inverted: Vec<u8> = bytes
            .iter()
            .rev()
            .map(|byte| {
                let (sum, over) = (!byte).overflowing_add(u8::from(carry));
                carry = over;
                sum
            })
            .collect();
        if carry {
            inverted.push(1);
        }
        inverted.reverse();
        inverted
    } else {
        bytes.to_vec()
    };
    Ok(crate::event::money::place_point(
        negative,
        &digits(&magnitude),
        scale,
    ))
}

/// The decimal digits of a big-endian number, by repeated division.
fn digits(magnitude: &[u8]) -> String {
    let mut number = magnitude.to_vec();
    let mut groups: Vec<u32> = Vec::new();
    while number.iter().any(|byte| *byte != 0) {
        let mut remainder: u64 = 0;
        for byte in &mut number {
            let value = (remainder << 8) | u64::from(*byte);
            *byte = (value / 1_000_000_000) as u8;
            remainder = value % 1_000_000_000;
        }
        groups.push(remainder as u32);
    }
    let mut text = groups
        .pop()
        .map_or_else(|| "0".to_owned(), |first| first.to_string());
    for group in groups.iter().rev() {
        text.push_str(&format!("{group:09}"));
    }
    text
}
