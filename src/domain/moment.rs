//! A moment of the history, as people write it: a position in the log, a time with its zone, or how long ago.
//!
//! A time without a zone is refused, and so is a zone by its name: an hour comes twice, or not at all, when clocks are
//! changed, and what is looked for in an audit must be one moment.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, TimeDelta, Utc};

/// A moment of the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// After the event at this position.
    Position(i64),
    /// At this time.
    Time(DateTime<Utc>),
}

/// Why a text is no moment; the sentence says what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoMoment {
    /// A time that could be several.
    #[error("{0:?} has no zone; write {1}")]
    Zoneless(String, String),
    /// Anything else.
    #[error(
        "{0:?} is no moment; write a position (1234), a time with its zone (2026-11-27T14:00Z, 2026-11-27T15:00+01:00), or how long ago (90s, 30m, 12h, 7d)"
    )]
    Unreadable(String),
}

impl Moment {
    /// Reads a moment, as people wrote it at a time.
    ///
    /// # Errors
    /// See [`NoMoment`].
    pub fn parse(written: &str, now: DateTime<Utc>) -> Result<Self, NoMoment> {
        let text = written.trim();
        let unreadable = || NoMoment::Unreadable(written.trim().to_owned());
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            return text.parse().map(Self::Position).map_err(|_| unreadable());
        }
        if text.eq_ignore_ascii_case("now") {
            return Ok(Self::Time(now));
        }
        if let Some(ago) = ago(text) {
            return now.checked_sub_signed(ago).filter(is_sane).map(Self::Time).ok_or_else(unreadable);
        }
        // Between date and time people write a T or a space; seconds may be left out.
        // In an address a plus sign is a space.
        let plus = |(date, zone): (&str, &str)| date.contains('T') && zone.len() == 5 && zone.as_bytes()[2] == b':';
        let text = match text.rsplit_once(' ') {
            Some(parts) if plus(parts) => format!("{}+{}", parts.0, parts.1),
            _ => text.to_owned(),
        };
        let written = text.replacen(' ', "T", 1).replace(' ', "").replace("UTC", "Z");
        let zoned = ["%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M%#z"];
        let with_zone = written.strip_suffix(['Z', 'z']).map(|rest| format!("{rest}+00:00")).unwrap_or(written.clone());
        if let Some(at) = zoned.iter().find_map(|form| DateTime::parse_from_str(&with_zone, form).ok()) {
            return Some(at.to_utc()).filter(is_sane).map(Self::Time).ok_or_else(unreadable);
        }
        let local = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M"];
        let is_local = local.iter().any(|form| NaiveDateTime::parse_from_str(&written, form).is_ok());
        if is_local || NaiveDate::parse_from_str(&written, "%Y-%m-%d").is_ok() {
            let written = if is_local { written } else { format!("{written}T00:00") };
            return Err(NoMoment::Zoneless(text.clone(), format!("{written}Z for UTC, or {written}+01:00")));
        }
        Err(unreadable())
    }
}

/// A time as people read it: to the second, in UTC.
pub fn to_the_second(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// A time as people read it: to the minute, in UTC.
pub fn to_the_minute(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M UTC").to_string()
}

/// Whether a time is one that a log may have, and a database can hold.
fn is_sane(at: &DateTime<Utc>) -> bool {
    (1970..=9999).contains(&at.year())
}

/// How long ago, in seconds, minutes, hours, days or weeks.
fn ago(text: &str) -> Option<TimeDelta> {
    let number = text.strip_suffix(|c: char| c.is_ascii_alphabetic())?;
    if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number = number.parse().ok()?;
    match &text[number_len(text)..] {
        "s" => TimeDelta::try_seconds(number),
        "m" => TimeDelta::try_minutes(number),
        "h" => TimeDelta::try_hours(number),
        "d" => TimeDelta::try_days(number),
        "w" => TimeDelta::try_weeks(number),
        _ => None,
    }
}

fn number_len(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-11-27T14:00:00Z".parse().unwrap()
    }

    fn at(text: &str) -> Moment {
        Moment::Time(text.parse().unwrap())
    }

    #[test]
    fn positions_times_with_a_zone_and_how_long_ago_are_moments() {
        for (written, meant) in [
            ("1234", Moment::Position(1234)),
            ("2026-11-27T12:30Z", at("2026-11-27T12:30:00Z")),
            ("2026-11-27 12:30:15 UTC", at("2026-11-27T12:30:15Z")),
            ("2026-11-27T12:30:15.123456Z", at("2026-11-27T12:30:15.123456Z")),
            ("2026-11-27T12:30+01:00", at("2026-11-27T11:30:00Z")),
            ("2026-11-27 12:30 -0500", at("2026-11-27T17:30:00Z")),
            ("2026-11-27T12:30 01:00", at("2026-11-27T11:30:00Z")),
            ("90s", at("2026-11-27T13:58:30Z")),
            ("30m", at("2026-11-27T13:30:00Z")),
            ("12h", at("2026-11-27T02:00:00Z")),
            ("7d", at("2026-11-20T14:00:00Z")),
        ] {
            assert_eq!(Moment::parse(written, now()), Ok(meant), "{written}");
        }
    }

    #[test]
    fn the_hour_that_comes_twice_is_told_apart_by_its_offset() {
        let (first, second) =
            (Moment::parse("2026-10-25T02:30+02:00", now()), Moment::parse("2026-10-25T02:30+01:00", now()));
        assert_eq!((first, second), (Ok(at("2026-10-25T00:30:00Z")), Ok(at("2026-10-25T01:30:00Z"))));
    }

    #[test]
    fn what_could_be_several_moments_is_refused_with_what_to_write() {
        let wrong = |text: &str| Moment::parse(text, now()).unwrap_err().to_string();
        for zoneless in ["2026-11-27", "2026-11-27T12:30", "2026-11-27 12:30:15"] {
            assert!(wrong(zoneless).contains("has no zone; write 2026-11-27T"), "{}", wrong(zoneless));
        }
        for nonsense in [
            "",
            "yesterday",
            "-5",
            "12:30",
            "2026-13-01T00:00Z",
            "2026-02-30T00:00Z",
            "7y",
            "99999999999999999999",
            "99999999999999999d",
            "2026-10-25T02:30 Europe/Berlin",
            "2026-11-27T12:30+25:00",
            "é",
            "1é",
            "10000000d",
            "0001-01-01T00:00Z",
        ] {
            assert!(wrong(nonsense).contains("is no moment; write a position"), "{nonsense}: {}", wrong(nonsense));
        }
    }
}
