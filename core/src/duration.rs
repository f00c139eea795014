//! Durations as users write them: `2h`, `1h30m`, `80ms`.

use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a duration: write whole numbers with h, m, s or ms, such as \"1h30m\" or \"80ms\"")]
pub struct DurationError(String);

/// Parses a chain of `<integer><unit>` with units h, m, s, ms.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let malformed = || DurationError(text.to_owned());
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().map_err(|_| malformed())?;
        let letters = rest[digits..].bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit_millis: u64 = match &rest[digits..digits + letters] {
            "h" => 3_600_000,
            "m" => 60_000,
            "s" => 1_000,
            "ms" => 1,
            _ => return Err(malformed()),
        };
        let part = number
            .checked_mul(unit_millis)
            .map(Duration::from_millis)
            .ok_or_else(malformed)?;
        total = total.checked_add(part).ok_or_else(malformed)?;
        rest = &rest[digits + letters..];
    }
    if text.is_empty() { Err(malformed()) } else { Ok(total) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parses_what_users_write() {
        assert_eq!(parse("2h"), Ok(Duration::from_secs(7200)));
        assert_eq!(parse("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse("80ms"), Ok(Duration::from_millis(80)));
    }

    #[test]
    fn refuses_the_rest() {
        for text in [
            "",
            "h",
            "5",
            "-1s",
            "1.5h",
            "1d",
            "1 h",
            "99999999999999999999h",
            "18446744073709551615h",
            "é",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,40}") {
            let _ = parse(&text);
        }
    }
}
