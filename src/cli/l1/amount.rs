//! Amounts of DUSK, exact to the last of their nine decimals.

use std::fmt;
use std::str::FromStr;

/// Lux of one DUSK.
const LUX: u64 = 1_000_000_000;
const DECIMALS: usize = 9;

/// An amount in lux that people read and write in DUSK.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dusk(pub u64);

/// Why a text is no amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// Not a number of this form.
    #[error("not an amount of DUSK: write for example 1000 or 0.5, with at most 9 decimals")]
    Form,
    /// More than there can ever be.
    #[error("more DUSK than 64 bits of lux can count")]
    Large,
    /// Nothing.
    #[error("the amount must be more than 0")]
    Zero,
}

impl FromStr for Dusk {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(part) || part.len() > DECIMALS {
            return Err(AmountError::Form);
        }
        let part: u64 = format!("{part:0<DECIMALS$}").parse().map_err(|_| AmountError::Form)?;
        // Digits only, so that the one way to fail is that there are too many.
        let whole: u64 = whole.parse().map_err(|_| AmountError::Large)?;
        let lux = whole.checked_mul(LUX).and_then(|lux| lux.checked_add(part)).ok_or(AmountError::Large)?;
        if lux == 0 { Err(AmountError::Zero) } else { Ok(Self(lux)) }
    }
}

impl fmt::Display for Dusk {
    /// Without trailing zeros, and without the unit.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / LUX, self.0 % LUX);
        if part == 0 {
            return write!(f, "{whole}");
        }
        let decimals = format!("{part:0DECIMALS$}");
        write!(f, "{whole}.{}", decimals.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact() {
        for (text, lux) in [
            ("1", LUX),
            ("1000", 1000 * LUX),
            ("0.5", LUX / 2),
            ("0.000000001", 1),
            ("12.345678901", 12_345_678_901),
            ("007.10", 7_100_000_000),
            ("18446744073.709551615", u64::MAX),
        ] {
            assert_eq!(text.parse(), Ok(Dusk(lux)), "{text}");
        }
        for text in ["1", "0.5", "0.000000001", "12.345678901", "18446744073.709551615"] {
            assert_eq!(text.parse::<Dusk>().unwrap().to_string(), text);
        }
        assert_eq!(Dusk(0).to_string(), "0");
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in ["", ".", "1.", ".5", "-1", "+1", "1e3", "1_000", "1,5", " 1", "1.0000000001", "1.2.3", "½", "0x1"]
        {
            assert_eq!(text.parse::<Dusk>(), Err(AmountError::Form), "{text}");
        }
        for text in ["18446744073.709551616", "18446744074", "99999999999999999999999"] {
            assert_eq!(text.parse::<Dusk>(), Err(AmountError::Large), "{text}");
        }
        assert_eq!("0.000".parse::<Dusk>(), Err(AmountError::Zero));
    }
}
