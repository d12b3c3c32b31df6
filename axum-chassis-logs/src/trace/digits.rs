//! Fast conversion between numbers and hexadecimal digits.

use std::fmt;

/// Hexadecimal digits that can be displayed.
pub(super) struct Digits<const N: usize>(pub(super) [u8; N]);

impl<const N: usize> fmt::Display for Digits<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.0).unwrap_or_default())
    }
}

/// All 32 hexadecimal digits of a number.
pub(super) fn hex(number: u128) -> [u8; 32] {
    let mut text = [0; 32];
    text.copy_from_slice(pairs(&number.to_be_bytes()).as_flattened());
    text
}

/// All sixteen hexadecimal digits of a number.
pub(crate) fn digits(number: u64) -> [u8; 16] {
    let mut text = [0; 16];
    text.copy_from_slice(pairs(&number.to_be_bytes()).as_flattened());
    text
}

/// The two digits of each byte.
///
/// This is not inlined, so that the bytes are in memory and not in registers: only then does the compiler use short vector code, which
/// saves about 50 instructions for each request.
#[inline(never)]
fn pairs<const N: usize>(bytes: &[u8; N]) -> [[u8; 2]; N] {
    bytes.map(|byte| {
        // Each half of this word gets four bits, which are one digit. The first digit is in the lower half.
        let word = u16::from(byte) >> 4 | (u16::from(byte) << 8) & 0x0f00;
        // A half of `letters` is 1 if its digit is ten or more, which is written as a letter.
        let letters = (word + 0x0606) >> 4 & 0x0101;
        (word + 0x3030 + letters * u16::from(b'a' - b'0' - 10)).to_le_bytes()
    })
}

/// Parses digits. Returns `None` for upper-case digits, which W3C Trace Context forbids.
pub(super) fn unhex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number: u128, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_equal_the_standard_librarys() {
        for number in [0, 1, 9, 10, 0xf, 0x09af_90fa_1234_5678, u64::MAX] {
            assert_eq!(digits(number), format!("{number:016x}").as_bytes());
        }
        let number = 0x0123_4567_89ab_cdef_fedc_ba98_7654_3210;
        assert_eq!(hex(number), format!("{number:032x}").as_bytes());
    }
}
