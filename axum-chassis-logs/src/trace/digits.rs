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
    let (high, low) = text.split_at_mut(16);
    high.copy_from_slice(&digits((number >> 64) as u64));
    low.copy_from_slice(&digits(number as u64));
    text
}

/// All sixteen hexadecimal digits of a number.
pub(crate) fn digits(number: u64) -> [u8; 16] {
    let mut text = [0; 16];
    let (high, low) = text.split_at_mut(8);
    high.copy_from_slice(&eight_digits(number >> 32));
    low.copy_from_slice(&eight_digits(number & 0xffff_ffff));
    text
}

/// The eight digits of a 32-bit number, computed in parallel in one 64-bit word.
fn eight_digits(mut word: u64) -> [u8; 8] {
    // Spread the number out: each byte gets four bits, which are one digit.
    word = (word << 16 | word) & 0x0000_ffff_0000_ffff;
    word = (word << 8 | word) & 0x00ff_00ff_00ff_00ff;
    word = (word << 4 | word) & 0x0f0f_0f0f_0f0f_0f0f;
    // A byte of `letters` is 1 if its digit is ten or more, which is written as a letter.
    let letters = (word + 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101;
    let text = word + 0x3030_3030_3030_3030 + letters * u64::from(b'a' - b'0' - 10);
    text.to_be_bytes()
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
