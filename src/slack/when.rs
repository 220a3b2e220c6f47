//! A time to come, as people write it: `for 2h`, `until 18:00 Europe/Berlin`, `until 2026-12-24 09:00`. Pure.
//!
//! **Invariant:** a time without a zone is UTC; a time of day is the next one. What a clock change skips is refused, and of
//! what it repeats the first one to come is meant.

use chrono::{DateTime, Days, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

/// The end that is named behind `for` or `until`.
///
/// # Errors
/// A sentence about what is wrong.
pub fn end(word: &str, behind: &[String], now: DateTime<Utc>) -> Result<DateTime<Utc>, String> {
    if word == "for" {
        let lasts = length(&behind.concat())?;
        return now.checked_add_signed(lasts).ok_or_else(|| "That is too far away.".to_owned());
    }
    until(behind, now)
}

/// A length such as `2h`, `90m`, `1h30m`, `3d`, `1w`.
fn length(text: &str) -> Result<TimeDelta, String> {
    let wrong = || format!("\"{text}\" is not a length of time; write it as 90m, 2h, 1h30m or 3d.");
    let (mut seconds, mut number, mut parts): (i64, String, usize) = (0, String::new(), 0);
    for c in text.to_lowercase().chars() {
        if c.is_ascii_digit() {
            number.push(c);
            continue;
        }
        let unit = match c {
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            'w' => 604_800,
            _ => return Err(wrong()),
        };
        let many: i64 = std::mem::take(&mut number).parse().map_err(|_| wrong())?;
        seconds = many.checked_mul(unit).and_then(|more| seconds.checked_add(more)).ok_or_else(wrong)?;
        parts += 1;
    }
    if parts == 0 || !number.is_empty() {
        return Err(wrong());
    }
    TimeDelta::try_seconds(seconds).ok_or_else(wrong)
}

fn until(words: &[String], now: DateTime<Utc>) -> Result<DateTime<Utc>, String> {
    let text = words.join(" ");
    let wrong = || format!("\"{text}\" is not a time; write it as 18:00, 18:00 Europe/Berlin or 2026-12-24 09:00.");
    let (words, zone) = match words {
        [before @ .., last] if last.contains('/') || zone(last).is_ok() => (before, zone(last)?),
        all => (all, Tz::UTC),
    };
    let today = now.with_timezone(&zone).date_naive();
    match words {
        [time] => {
            let time = clock(time).ok_or_else(wrong)?;
            let is_skipped = matches!(zone.from_local_datetime(&today.and_time(time)), LocalResult::None);
            if is_skipped && today.and_time(time) > now.with_timezone(&zone).naive_local() {
                return local(zone, today.and_time(time));
            }
            // Today it may come twice.
            let of_today = zone.from_local_datetime(&today.and_time(time));
            let of_today = [of_today.earliest(), of_today.latest()].into_iter().flatten();
            if let Some(next) = of_today.map(|at| at.to_utc()).find(|at| *at > now) {
                return Ok(next);
            }
            let tomorrow = today.checked_add_days(Days::new(1)).ok_or_else(wrong)?;
            local(zone, tomorrow.and_time(time))
        }
        [day, time] => {
            let day: NaiveDate = day.parse().map_err(|_| wrong())?;
            local(zone, day.and_time(clock(time).ok_or_else(wrong)?))
        }
        _ => Err(wrong()),
    }
}

fn clock(text: &str) -> Option<NaiveTime> {
    NaiveTime::parse_from_str(text, "%H:%M").ok()
}

fn zone(name: &str) -> Result<Tz, String> {
    let known = chrono_tz::TZ_VARIANTS.iter().find(|zone| zone.name().eq_ignore_ascii_case(name));
    known
        .copied()
        .ok_or_else(|| format!("\"{name}\" is not a time zone; write it as Europe/Berlin, or leave it out for UTC."))
}

fn local(zone: Tz, at: NaiveDateTime) -> Result<DateTime<Utc>, String> {
    match zone.from_local_datetime(&at) {
        LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => Ok(at.to_utc()),
        LocalResult::None => Err(format!(
            "{} does not exist in {}: the clocks are changed then.",
            at.format("%Y-%m-%d %H:%M"),
            zone.name()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M").unwrap().and_utc()
    }

    fn read(word: &str, text: &str, now: &str) -> Result<DateTime<Utc>, String> {
        end(word, &text.split(' ').map(str::to_owned).collect::<Vec<_>>(), at(now))
    }

    #[test]
    fn a_length_and_a_time_of_day_are_read_as_people_write_them() {
        let now = "2026-11-27 10:00";
        assert_eq!(read("for", "2h", now), Ok(at("2026-11-27 12:00")));
        assert_eq!(read("for", "1h 30m", now), Ok(at("2026-11-27 11:30")));
        assert_eq!(read("for", "1W", now), Ok(at("2026-12-04 10:00")));
        assert_eq!(read("until", "18:00", now), Ok(at("2026-11-27 18:00")));
        assert_eq!(read("until", "9:00", now), Ok(at("2026-11-28 09:00")), "the next one");
        assert_eq!(read("until", "18:00 europe/berlin", now), Ok(at("2026-11-27 17:00")));
        assert_eq!(read("until", "2026-12-24 09:00 Asia/Tokyo", now), Ok(at("2026-12-24 00:00")));
    }

    #[test]
    fn a_clock_change_skips_an_hour_and_repeats_another() {
        let spring = read("until", "2027-03-28 02:30 Europe/Berlin", "2027-03-27 10:00");
        assert_eq!(
            spring,
            Err("2027-03-28 02:30 does not exist in Europe/Berlin: the clocks are changed then.".to_owned())
        );
        let autumn = read("until", "2027-10-31 02:30 Europe/Berlin", "2027-10-30 10:00");
        assert_eq!(autumn, Ok(at("2027-10-31 00:30")), "the first of the two");
        for (now, next) in [
            ("2027-10-30 23:50", "2027-10-31 00:30"),
            ("2027-10-31 00:40", "2027-10-31 01:30"),
            ("2027-10-31 01:10", "2027-10-31 01:30"),
            ("2027-10-31 01:40", "2027-11-01 01:30"),
        ] {
            assert_eq!(read("until", "02:30 Europe/Berlin", now), Ok(at(next)), "the first to come after {now}");
        }
    }

    #[test]
    fn what_a_clock_change_skipped_today_is_there_tomorrow() {
        let later = read("until", "02:30 Europe/Berlin", "2027-03-28 10:00");
        assert_eq!(later, Ok(at("2027-03-29 00:30")));
    }

    #[test]
    fn what_is_no_time_is_refused_with_an_example() {
        for (word, text) in [
            ("for", "ever"),
            ("for", "2"),
            ("for", "99999999999999999999h"),
            ("until", "noon"),
            ("until", "6pm"),
            ("until", "25:00"),
            ("until", ""),
        ] {
            let kind = if word == "for" { "length of time" } else { "time" };
            let said = read(word, text, "2026-11-27 10:00").unwrap_err();
            assert!(said.starts_with(&format!("\"{text}\" is not a {kind}; write it as ")), "{said}");
        }
        let zone = read("until", "18:00 Europe/Berln", "2026-11-27 10:00").unwrap_err();
        assert_eq!(zone, "\"Europe/Berln\" is not a time zone; write it as Europe/Berlin, or leave it out for UTC.");
    }
}
