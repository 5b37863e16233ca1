//! Avro's binary encoding, written.

/// Appends a zigzag varint.
pub(crate) fn push_long(value: i64, out: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Appends a count of items or bytes.
pub(crate) fn push_length(length: usize, out: &mut Vec<u8>) {
    push_long(i64::try_from(length).unwrap_or(i64::MAX), out);
}

/// Appends bytes with their length.
pub(crate) fn push_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    push_length(bytes.len(), out);
    out.extend_from_slice(bytes);
}

/// Appends a decimal as bytes: its shortest two's complement, big-endian.
pub(crate) fn push_decimal(unscaled: i128, out: &mut Vec<u8>) {
    let wide = unscaled.to_be_bytes();
    let fill = if unscaled < 0 { 0xff } else { 0 };
    let mut start = 0;
    while start < 15 && wide[start] == fill && (wide[start + 1] & 0x80 == 0) == (fill == 0) {
        start += 1;
    }
    push_bytes(&wide[start..], out);
}

/// Appends a decimal as a fixed of `size` bytes, which its precision fits into.
pub(crate) fn push_fixed_decimal(unscaled: i128, size: usize, out: &mut Vec<u8>) {
    let wide = unscaled.to_be_bytes();
    let fill = if unscaled < 0 { 0xff } else { 0 };
    out.extend(std::iter::repeat_n(fill, size.saturating_sub(16)));
    out.extend_from_slice(&wide[16 - size.min(16)..]);
}
