//! Durations and sizes as people write them, in the configuration, on the command line and in Lua.
//!
//! Input: text such as `500ms` or `256M`, or a plain number. Output: a [`Duration`] or a count of bytes; and
//! the other way round, the one place where sizes and durations are made into text. Not here: exponents,
//! signs and the words `nan` and `inf`, which a number parser would let in.

use std::fmt;
use std::time::Duration;

/// The longest duration that is taken from anybody, 100 years: what can be added to every clock's time.
pub const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// A duration or size that could not be understood; the message quotes what was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Not a duration at all, negative or not finite.
    #[error("`{0}` is not a duration; write seconds, or a number with ms, s, m or h such as `500ms` or `2m`")]
    Duration(String),
    /// A duration beyond [`LONGEST`].
    #[error("`{0}` is more than 100 years")]
    DurationTooLong(String),
    /// Not a size at all, negative, not finite or a fraction of a byte.
    #[error("`{0}` is not a size; write bytes, or a number with K, M or G such as `256M`")]
    Size(String),
    /// A size that does not fit.
    #[error("size `{0}` is too large")]
    SizeTooLarge(String),
}

/// Reads `500ms`, `2s`, `1.5m`, `2h` or a bare number of seconds.
///
/// # Errors
/// [`UnitError`] that quotes `text` when it is empty, negative, not finite, malformed or too long.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let invalid = || UnitError::Duration(text.to_owned());
    let (number, unit) = split_unit(text).ok_or_else(invalid)?;
    let seconds = match unit {
        "ms" => number / 1000.0,
        "" | "s" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        _ => return Err(invalid()),
    };
    within_reason(seconds).ok_or_else(|| UnitError::DurationTooLong(text.to_owned()))
}

/// The duration, if it is at most [`LONGEST`].
fn within_reason(seconds: f64) -> Option<Duration> {
    let duration = Duration::try_from_secs_f64(seconds).ok();
    duration.filter(|duration| *duration <= LONGEST)
}

/// Takes a number of seconds, as Lua gives it.
///
/// # Errors
/// [`UnitError`] that quotes the number when it is negative, not finite or too long.
pub fn duration_from_secs(seconds: f64) -> Result<Duration, UnitError> {
    if !seconds.is_finite() || seconds < 0.0 {
        return Err(UnitError::Duration(seconds.to_string()));
    }
    within_reason(seconds).ok_or_else(|| UnitError::DurationTooLong(seconds.to_string()))
}

/// Reads `64K`, `256M`, `1.5G` (1024-based, either case, a `B` or `iB` may follow) or a bare number of bytes.
///
/// # Errors
/// [`UnitError`] that quotes `text` when it is empty, negative, not finite, malformed, not a whole number of
/// bytes or too large.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    let invalid = || UnitError::Size(text.to_owned());
    let (number, unit) = split_unit(text).ok_or_else(invalid)?;
    let unit = unit.to_ascii_uppercase();
    let shift = match unit
        .strip_suffix("IB")
        .or(unit.strip_suffix('B'))
        .unwrap_or(&unit)
    {
        "" if unit != "IB" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return Err(invalid()),
    };
    // A whole number is taken exactly; beyond 2^53 a float would round it.
    let digits = text
        .trim()
        .trim_end_matches(|c: char| c.is_ascii_alphabetic())
        .trim_end();
    if let Ok(whole) = digits.parse::<u64>() {
        return whole
            .checked_mul(1 << shift)
            .ok_or_else(|| UnitError::SizeTooLarge(text.to_owned()));
    }
    let bytes = number * (1u64 << shift) as f64;
    if bytes.fract() != 0.0 {
        return Err(invalid());
    }
    whole_bytes(bytes).ok_or_else(|| UnitError::SizeTooLarge(text.to_owned()))
}

/// Takes a number of bytes, as Lua gives it when it is not an integer.
///
/// # Errors
/// [`UnitError`] that quotes the number when it is negative, not finite, a fraction or too large.
pub fn size_from_number(bytes: f64) -> Result<u64, UnitError> {
    if !bytes.is_finite() || bytes < 0.0 || bytes.fract() != 0.0 {
        return Err(UnitError::Size(bytes.to_string()));
    }
    whole_bytes(bytes).ok_or_else(|| UnitError::SizeTooLarge(bytes.to_string()))
}

/// The number if it is below 2^64.
fn whole_bytes(bytes: f64) -> Option<u64> {
    (bytes < u64::MAX as f64).then_some(bytes as u64)
}

/// Parts an unsigned decimal number from what follows it.
fn split_unit(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    if !number.bytes().any(|b| b.is_ascii_digit()) {
        return None;
    }
    let number: f64 = number.parse().ok()?;
    number.is_finite().then_some((number, unit.trim_start()))
}

/// Shows a size the way it would be written: the largest unit that divides it.
#[derive(Debug, Clone, Copy)]
pub struct DisplaySize(pub u64);

impl fmt::Display for DisplaySize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0;
        for (shift, unit) in [(30, 'G'), (20, 'M'), (10, 'K')] {
            if bytes != 0 && bytes.trailing_zeros() >= shift {
                return write!(f, "{}{unit}", bytes >> shift);
            }
        }
        write!(f, "{bytes}")
    }
}

/// Shows a duration in the unit a reader expects: `340 ms`, `4.2 s`, `3 min 05 s`.
#[derive(Debug, Clone, Copy)]
pub struct DisplayDuration(pub Duration);

impl fmt::Display for DisplayDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, millis) = (self.0.as_secs(), self.0.as_millis());
        match seconds {
            0 => write!(f, "{millis} ms"),
            1..60 => write!(f, "{:.1} s", (millis / 100) as f64 / 10.0),
            60..3600 => write!(f, "{} min {:02} s", seconds / 60, seconds % 60),
            _ => write!(f, "{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
        }
    }
}

/// Shows a time limit as it is written: `40 s`, `1.5 s`, `50 ms`.
#[derive(Debug, Clone, Copy)]
pub struct DisplayLimit(pub Duration);

impl fmt::Display for DisplayLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            0 => write!(f, "{} ms", self.0.as_secs_f64() * 1000.0),
            _ => write!(f, "{} s", self.0.as_secs_f64()),
        }
    }
}

/// Shows a duration in seconds, however long it is: `4.3 s`, `185.0 s`.
#[derive(Debug, Clone, Copy)]
pub struct DisplaySeconds(pub Duration);

impl fmt::Display for DisplaySeconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} s", self.0.as_secs_f64())
    }
}

/// Shows a size to get an idea of, in at most five characters below 10 T: `512B`, `4.0K`, `70M`, `1.5G`. Can
/// be padded.
#[derive(Debug, Clone, Copy)]
pub struct RoughSize(pub u64);

impl fmt::Display for RoughSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut size = self.0 as f64;
        for unit in ["B", "K", "M"] {
            if size < 1000.0 {
                let digits = usize::from(size < 10.0 && unit != "B");
                return f.pad(&format!("{size:.digits$}{unit}"));
            }
            size /= 1024.0;
        }
        f.pad(&format!("{size:.1}G"))
    }
}

/// Shows MiB as `6.0 GiB`.
#[derive(Debug, Clone, Copy)]
pub struct DisplayGib {
    /// The size in MiB.
    pub mib: u64,
}

impl fmt::Display for DisplayGib {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} GiB", self.mib as f64 / 1024.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_in_each_unit() {
        let cases = [
            ("500ms", 500),
            ("2s", 2000),
            ("5m", 300_000),
            ("2h", 7_200_000),
            ("1.5s", 1500),
            ("0", 0),
            ("30", 30_000),
            (" 3 s ", 3000),
            (".5s", 500),
        ];
        for (text, millis) in cases {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn bad_durations_are_quoted() {
        for text in [
            "", "s", "-1s", "nan", "inf", "NaN", "1e3", "1..2s", "5d", "5 s s", "1,5s", "+1s", "0x10", ".",
        ] {
            let error = parse_duration(text).expect_err(text).to_string();
            assert!(error.contains(&format!("`{text}`")), "{error}");
        }
        let long = "9".repeat(30);
        assert_eq!(parse_duration(&long), Err(UnitError::DurationTooLong(long)));
        assert!(parse_duration(&"9".repeat(400)).is_err());
        assert!(duration_from_secs(f64::MAX).is_err());
        let longest = LONGEST.as_secs();
        assert_eq!(parse_duration(&longest.to_string()), Ok(LONGEST));
        assert_eq!(duration_from_secs(longest as f64), Ok(LONGEST));
        let error = parse_duration(&format!("{}s", longest + 1))
            .expect_err("too long")
            .to_string();
        assert_eq!(error, "`3153600001s` is more than 100 years");
        assert!(duration_from_secs(longest as f64 + 1.0).is_err());
        assert!(std::time::Instant::now().checked_add(LONGEST).is_some());
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.5] {
            let error = duration_from_secs(number)
                .expect_err("not a duration")
                .to_string();
            assert!(error.contains(&format!("`{number}`")), "{error}");
        }
        assert_eq!(duration_from_secs(0.5), Ok(Duration::from_millis(500)));
    }

    #[test]
    fn sizes_in_each_unit() {
        let cases = [
            ("4096", 4096),
            ("64K", 64 << 10),
            ("256M", 256 << 20),
            ("256m", 256 << 20),
            ("1.5G", 3 << 29),
            ("1GiB", 1 << 30),
            ("20GB", 20 << 30),
            ("10 B", 10),
            ("18446744073709551615", u64::MAX),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn bad_sizes_are_quoted() {
        for text in [
            "", "M", "-1M", "nan", "inf", "1e9", "5X", "1.5", "1.2.3M", "256MM", "10iB", "5 MBB",
        ] {
            let error = parse_size(text).expect_err(text).to_string();
            assert!(error.contains(&format!("`{text}`")), "{error}");
        }
        assert_eq!(
            parse_size("99999999999T"),
            Err(UnitError::SizeTooLarge("99999999999T".into()))
        );
        assert_eq!(
            parse_size("18446744073709551616"),
            Err(UnitError::SizeTooLarge("18446744073709551616".into()))
        );
        assert!(
            size_from_number(1.5).is_err()
                && size_from_number(-1.0).is_err()
                && size_from_number(1e30).is_err()
        );
        assert_eq!(size_from_number(1048576.0), Ok(1 << 20));
    }

    #[test]
    fn shown_as_written() {
        assert_eq!(DisplaySize(256 << 20).to_string(), "256M");
        assert_eq!(DisplaySize(3 << 29).to_string(), "1536M");
        assert_eq!(DisplaySize(1000).to_string(), "1000");
        assert_eq!(DisplaySize(0).to_string(), "0");
        assert_eq!(DisplayDuration(Duration::from_millis(40)).to_string(), "40 ms");
        assert_eq!(DisplayDuration(Duration::from_millis(4260)).to_string(), "4.2 s");
        assert_eq!(
            DisplayDuration(Duration::from_secs(185)).to_string(),
            "3 min 05 s"
        );
        assert_eq!(
            DisplayDuration(Duration::from_secs(7500)).to_string(),
            "2 h 05 min"
        );
    }

    #[test]
    fn limits_are_shown_as_they_are_written() {
        let limits = [0, 50, 999, 1500, 40_000];
        let shown = limits.map(|ms| DisplayLimit(Duration::from_millis(ms)).to_string());
        assert_eq!(shown, ["0 ms", "50 ms", "999 ms", "1.5 s", "40 s"]);
    }

    #[test]
    fn shown_to_get_an_idea() {
        let sizes = [0, 512, 4096, 70 << 20, 3 << 29].map(|bytes| RoughSize(bytes).to_string());
        assert_eq!(sizes, ["0B", "512B", "4.0K", "70M", "1.5G"]);
        assert_eq!(format!("{:>6}|", RoughSize(512)), "  512B|");
        assert_eq!(DisplayGib { mib: 6144 }.to_string(), "6.0 GiB");
        let seconds = [0, 4260, 185_000].map(|ms| DisplaySeconds(Duration::from_millis(ms)).to_string());
        assert_eq!(seconds, ["0.0 s", "4.3 s", "185.0 s"]);
    }
}
