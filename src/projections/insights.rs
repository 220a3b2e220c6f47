//! Measures of delivery, by environment and week, computed from what the log says of deployments.
//!
//! **Definitions** (docs/HISTORY.md has them for people). A week begins on Monday, 00:00 UTC, and a deployment belongs to the
//! week in which it ended. Only what ran and ended counts: succeeded, failed, ran out of time; what was cancelled or refused
//! tells nothing. Of times the median is told.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, Utc};
use serde::Serialize;

use crate::domain::ids::EnvironmentId;
use crate::domain::state::State;

/// A deployment that ended.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "plain words")]
pub struct Sample {
    pub of: EnvironmentId,
    pub state: State,
    /// Its build had not gone well there before: what is deployed once more, or rolled back to, tells nothing of how long a
    /// change takes.
    pub is_first: bool,
    /// When CI announced its build.
    pub announced_at: DateTime<Utc>,
    /// When its container was started.
    pub started_at: Option<DateTime<Utc>>,
    pub ended_at: DateTime<Utc>,
}

/// An environment as it is now.
#[derive(Debug, Clone)]
pub struct Named {
    /// What it is called.
    pub name: String,
    /// It is deployed to.
    pub is_open: bool,
}

/// A week of an environment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Week {
    /// The environment, whatever it was called then.
    #[serde(rename = "environment_id")]
    pub of: EnvironmentId,
    /// What it is called now; of one that is gone it is said that it is archived.
    pub environment: String,
    /// Its Monday.
    pub week: NaiveDate,
    /// What went well.
    pub succeeded: usize,
    /// What did not: failed, or ran out of time.
    pub failed: usize,
    /// From the announcement of a build to the end of its first deployment there that went well: the median, in seconds.
    pub from_build: Option<i64>,
    /// From start to end: the median, in seconds.
    pub duration: Option<i64>,
    /// From the end of one that did not go well to the end of the next one there that did: the median, in seconds.
    pub to_next_good: Option<i64>,
}

impl Week {
    /// How many there were in all.
    pub fn deployments(&self) -> usize {
        self.succeeded + self.failed
    }

    /// How many a day; of a week that is not over, of its days so far.
    pub fn a_day(&self, now: DateTime<Utc>) -> f64 {
        let begun = self.week.and_hms_opt(0, 0, 0).map_or(now, |midnight| midnight.and_utc());
        self.deployments() as f64 / ((now - begun).num_seconds() as f64 / 86_400.0).clamp(1.0, 7.0)
    }

    /// Which share did not go well, in percent; none where nothing ended.
    pub fn failure_rate(&self) -> Option<f64> {
        (self.deployments() > 0).then(|| self.failed as f64 / self.deployments() as f64 * 100.0)
    }

    /// A week in which nothing ended.
    fn empty(&self, week: NaiveDate) -> Self {
        let (of, environment) = (self.of, self.environment.clone());
        Self { of, environment, week, succeeded: 0, failed: 0, from_build: None, duration: None, to_next_good: None }
    }
}

/// The Monday of a time's week.
pub fn monday(at: DateTime<Utc>) -> NaiveDate {
    let day = at.date_naive();
    day - TimeDelta::days(day.weekday().num_days_from_monday().into())
}

fn median(mut all: Vec<i64>) -> Option<i64> {
    all.sort_unstable();
    let middle = all.len() / 2;
    match all.len() {
        0 => None,
        n if n % 2 == 1 => Some(all[middle]),
        _ => Some(i64::midpoint(all[middle - 1], all[middle])),
    }
}

/// The weeks of each environment in their order, from the first in which something ended: to this one, or, of an environment
/// that is not open any more, to the last one in which something ended.
pub fn weeks(samples: &[Sample], environments: &BTreeMap<EnvironmentId, Named>, now: DateTime<Utc>) -> Vec<Week> {
    let is_good = |sample: &&Sample| sample.state == State::Succeeded;
    let is_bad = |sample: &Sample| matches!(sample.state, State::Failed | State::TimedOut);
    let mut counted: Vec<&Sample> = samples.iter().filter(|sample| is_good(sample) || is_bad(sample)).collect();
    counted.sort_by_key(|sample| sample.ended_at);
    let name = |of: EnvironmentId| environments.get(&of).map_or_else(|| of.to_string(), |named| named.name.clone());
    let is_open = |of: EnvironmentId| environments.get(&of).is_some_and(|named| named.is_open);
    let mut by_week: BTreeMap<(String, EnvironmentId, NaiveDate), Vec<&Sample>> = BTreeMap::new();
    for sample in &counted {
        by_week.entry((name(sample.of), sample.of, monday(sample.ended_at))).or_default().push(sample);
    }
    let mut good_ends: HashMap<EnvironmentId, Vec<DateTime<Utc>>> = HashMap::new();
    for good in counted.iter().copied().filter(is_good) {
        good_ends.entry(good.of).or_default().push(good.ended_at);
    }
    let next_good = |bad: &Sample| {
        let ends = good_ends.get(&bad.of)?;
        let next = ends.get(ends.partition_point(|end| *end <= bad.ended_at))?;
        Some((*next - bad.ended_at).num_seconds())
    };
    let week = |((environment, of, week), all): ((String, EnvironmentId, NaiveDate), Vec<&Sample>)| {
        let good: Vec<&Sample> = all.iter().copied().filter(is_good).collect();
        let ran = |sample: &&Sample| sample.started_at.map(|started| (sample.ended_at - started).num_seconds());
        Week {
            of,
            environment,
            week,
            succeeded: good.len(),
            failed: all.len() - good.len(),
            from_build: median(
                good.iter().filter(|s| s.is_first).map(|s| (s.ended_at - s.announced_at).num_seconds()).collect(),
            ),
            duration: median(all.iter().filter_map(ran).collect()),
            to_next_good: median(all.iter().copied().filter(|s| is_bad(s)).filter_map(next_good).collect()),
        }
    };
    let next = monday(now) + TimeDelta::days(7);
    let mut weeks: Vec<Week> = Vec::new();
    for week in by_week.into_iter().map(week) {
        match weeks.last() {
            Some(last) if last.of == week.of => goes_on_to(week.week, &mut weeks),
            Some(last) if is_open(last.of) => goes_on_to(next, &mut weeks),
            _ => {}
        }
        weeks.push(week);
    }
    if weeks.last().is_some_and(|last| is_open(last.of)) {
        goes_on_to(next, &mut weeks);
    }
    weeks
}

/// Fills in the weeks in which nothing ended, after the last one and before another.
fn goes_on_to(before: NaiveDate, weeks: &mut Vec<Week>) {
    while let Some(last) = weeks.last()
        && last.week + TimeDelta::days(7) < before
    {
        weeks.push(last.empty(last.week + TimeDelta::days(7)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> DateTime<Utc> {
        "2026-11-23T00:00:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::minutes(minutes)
    }

    fn sample(environment: &str, state: State, announced: i64, started: i64, ended: i64) -> Sample {
        let (announced_at, started_at, ended_at) = (at(announced), Some(at(started)), at(ended));
        Sample { of: id(environment), state, is_first: true, announced_at, started_at, ended_at }
    }

    fn id(environment: &str) -> EnvironmentId {
        EnvironmentId(uuid::Uuid::from_u128(environment.len() as u128))
    }

    fn named(open: &[&str]) -> BTreeMap<EnvironmentId, Named> {
        let named = |name: &str| (id(name), Named { name: name.to_owned(), is_open: open.contains(&name) });
        ["Staging", "Production"].map(named).into()
    }

    /// Of environments that are gone.
    fn weeks(samples: &[Sample]) -> Vec<Week> {
        super::weeks(samples, &named(&[]), at(0))
    }

    #[test]
    fn a_week_counts_what_ran_and_tells_medians() {
        let day = 24 * 60;
        let told = weeks(&[
            sample("Staging", State::Succeeded, 0, 10, 20),
            sample("Staging", State::Failed, 0, 30, 34),
            sample("Staging", State::Cancelled, 0, 40, 41),
            sample("Staging", State::Succeeded, 50, 60, 64),
            sample("Staging", State::TimedOut, 0, day, 2 * day),
            sample("Production", State::Failed, 0, 1, 2),
            sample("Staging", State::Succeeded, 7 * day, 7 * day + 1, 7 * day + 3),
        ]);
        let monday = monday(at(0));
        assert_eq!(monday.to_string(), "2026-11-23");
        let week = |n: usize| (told[n].environment.as_str(), told[n].week, told[n].succeeded, told[n].failed);
        assert_eq!(week(0), ("Production", monday, 0, 1));
        assert_eq!(told[0].to_next_good, None, "another environment\'s success is none here");
        assert_eq!(week(1), ("Staging", monday, 2, 2));
        assert_eq!((told[1].from_build, told[1].failure_rate()), (Some(17 * 60), Some(50.0)));
        assert_eq!(told[1].duration, Some(7 * 60), "of 4, 4, 10 minutes and a day, the middle two");
        assert_eq!(told[1].to_next_good, Some(((30 + 5 * day + 3) / 2) * 60 + 30));
        assert_eq!(week(2), ("Staging", monday + TimeDelta::days(7), 1, 0));
        assert_eq!(weeks(&[]), []);
        // Three weeks later it is rolled back to.
        let first = sample("Staging", State::Succeeded, 0, 10, 20);
        let again = Sample { is_first: false, ..sample("Staging", State::Succeeded, 0, 21 * day, 21 * day + 5) };
        let told_again = weeks(&[first, again]);
        assert_eq!(told_again.last().map(|week| (week.succeeded, week.from_build)), Some((1, None)));
        let a_day = |days: i64| (told[2].a_day(at(days * day)) * 100.0).round() as i64;
        assert_eq!((a_day(8), a_day(9)), (100, 50), "of a week that is not over");
        assert_eq!((told[1].a_day(at(99 * day)) * 7.0).round() as i64, 4);
    }

    #[test]
    fn a_week_without_a_deployment_is_there() {
        let day = 24 * 60;
        let told =
            weeks(&[sample("Staging", State::Failed, 0, 10, 20), sample("Staging", State::Succeeded, 0, 10, 22 * day)]);
        assert_eq!(told.iter().map(Week::deployments).collect::<Vec<_>>(), [1, 0, 0, 1]);
        assert_eq!((told[1].failure_rate(), told[1].from_build), (None, None));
        assert_eq!(told[0].to_next_good, Some((22 * day - 20) * 60));
    }

    #[test]
    fn an_environment_that_is_open_and_quiet_is_told_up_to_this_week() {
        let day = 24 * 60;
        let samples =
            [sample("Production", State::Succeeded, 0, 10, 20), sample("Staging", State::Succeeded, 0, 10, 8 * day)];
        let told = |open: &[&str], now: i64| {
            let told = super::weeks(&samples, &named(open), at(now));
            told.iter().map(|week| (week.environment.len(), week.deployments())).collect::<Vec<_>>()
        };
        assert_eq!(told(&[], 20 * day), [(10, 1), (7, 1)]);
        assert_eq!(told(&["Production"], 20 * day), [(10, 1), (10, 0), (10, 0), (7, 1)]);
        assert_eq!(told(&["Production", "Staging"], 20 * day), [(10, 1), (10, 0), (10, 0), (7, 1), (7, 0)]);
        assert_eq!(told(&["Production", "Staging"], 0), [(10, 1), (7, 1)], "by a clock that was put back");
    }
}
