//! Random lives of a project: presses, locks, an engine that loses answers, duplicates, settings. Whatever happens, the past
//! stays what it was: every prefix of the log folds to the state of then, and replaying twice is as once.
//!
//! A seed is one life. `COOLOPS_SEED=17 ./just test random` lives that one again; `./just chaos --seeds 1000` lives many.

use std::collections::BTreeMap;

use coolops::domain::deployment::StopReason;
use coolops::domain::event::Recorded;
use coolops::domain::moment::Moment;
use coolops::domain::settings::EnvironmentChange;
use coolops::domain::state::State;
use coolops::projections::build_card::BuildCard;
use coolops::slack::render;

use super::travel::folded;
use crate::story::dice::{Again, Dice, number};
use crate::story::{Story, build, operator, story};

const PEOPLE: [&str; 3] = ["ana", "ben", "chi"];
const PLACES: [&str; 2] = ["Staging", "Production"];

/// One more thing happens.
async fn something(s: &Story, dice: &mut Dice, builds: &mut usize) {
    let who = dice.one(&PEOPLE);
    let place = dice.one(&PLACES);
    match dice.roll(14) {
        0 | 1 => {
            *builds += 1;
            s.ci_announces(build(&format!("main-{builds}"))).await;
        }
        // CI is not sure whether it was heard.
        2 if *builds > 0 => {
            let again = format!("main-{}", 1 + dice.roll(*builds));
            let (status, body) = s.post_build(&build(&again).body()).await;
            assert!(status.is_success(), "{body}");
        }
        3..=6 if *builds > 0 => {
            let signed = s.press_of(who, &format!("main-{}", 1 + dice.roll(*builds)), place);
            s.deliver(&signed).await;
            // Slack is not sure either.
            if dice.roll(3) == 0 {
                s.deliver(&signed).await;
            }
        }
        7 | 8 => ends_one(s, dice).await,
        9 => {
            let open = s.app.store.deployments().open().await.unwrap();
            if !open.is_empty() {
                let id = open[dice.roll(open.len())];
                let reason = StopReason::Operator { by: "test".into(), reason: "the dice say so".into() };
                s.app.stop(id, &reason, &operator()).await.ok();
            }
        }
        10 => s.writes_in(crate::story::CHANNEL, who, &format!("lock api {place} because of the dice")).await,
        11 => s.writes_in(crate::story::CHANNEL, who, &format!("unlock api {place}")).await,
        12 => {
            let change = match dice.roll(3) {
                0 => EnvironmentChange::Protect(dice.roll(2) == 0),
                1 => EnvironmentChange::Supersede(dice.roll(2) == 0),
                _ => EnvironmentChange::SetVariable { name: "ROLL".into(), value: dice.roll(100).to_string() },
            };
            s.app.change_environment(s.project(), place, change, &operator()).await.ok();
        }
        // Something breaks, once. (Slack in trouble closes it for everybody for longer than a story waits: that is the soak's.)
        _ => match dice.roll(2) {
            0 => s.runner.will_lose_the_answer_of(dice.one(&["create", "start", "remove"])),
            _ => s.runner.will_not_answer(dice.one(&["create", "start", "remove"])),
        },
    }
    if dice.roll(3) > 0 {
        s.settle().await;
    }
}

async fn ends_one(s: &Story, dice: &mut Dice) {
    let running = s.app.store.deployments().list(None, &[State::Running], 100).await.unwrap();
    let running: Vec<_> = running.iter().filter(|d| s.runner.holds(d.deployment.of.deployment_id)).collect();
    if !running.is_empty() {
        let chosen = running[dice.roll(running.len())].deployment.of.deployment_id;
        s.runner.ends(chosen, [0, 0, 3][dice.roll(3)]);
    }
}

/// Every message, rendered from the log alone, by so many threads at once.
fn rendered(s: &Story, log: &[Recorded], threads: usize) -> BTreeMap<String, String> {
    let keys = s.keyring();
    let mut of_builds: BTreeMap<String, Vec<&Recorded>> = BTreeMap::new();
    for recorded in log {
        of_builds.entry(recorded.event.address().correlation.to_string()).or_default().push(recorded);
    }
    let of_builds: Vec<_> = of_builds.into_iter().collect();
    let render = |(of, events): &(String, Vec<&Recorded>)| {
        let card = BuildCard::fold(events.iter().copied())?;
        Some((of.clone(), render::render(&card, &keys.links(&card.link_key).unwrap()).bytes()))
    };
    std::thread::scope(|scope| {
        let parts = of_builds.chunks(of_builds.len().div_ceil(threads).max(1));
        let working: Vec<_> =
            parts.map(|part| scope.spawn(|| part.iter().filter_map(render).collect::<Vec<_>>())).collect();
        working.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

fn life(seed: u64) {
    let _again = Again { seed, of: "a_random_life" };
    story(async |s| {
        let mut dice = Dice(seed);
        let mut builds = 0;
        s.runner.hold();
        for _ in 0..40 {
            something(s, &mut dice, &mut builds).await;
        }
        for place in PLACES {
            for who in PEOPLE {
                s.writes_in(crate::story::CHANNEL, who, &format!("unlock api {place}")).await;
            }
        }
        // Until nothing runs any more, and nothing waits for it.
        for _ in 0..200 {
            s.settle().await;
            if s.app.store.deployments().open().await.unwrap().is_empty() {
                break;
            }
            ends_one(s, &mut dice).await;
            let unknown = s.app.store.deployments().list(None, &[State::Unknown], 100).await.unwrap();
            for lost in unknown {
                let verdict = coolops::domain::deployment::Verdict::Failed;
                s.app.resolve(lost.deployment.of.deployment_id, verdict, "lost", &operator()).await.unwrap();
            }
        }
        the_past_stays_what_it_was(s, seed, 1).await;
    });
}

/// The past after each so many events, the rows after two replays of which one is from nothing, and every message, however
/// many threads render it, and in another process.
pub async fn the_past_stays_what_it_was(s: &Story, seed: u64, every: usize) {
    let log: Vec<Recorded> =
        s.app.store.log().after(0, 100_000).await.unwrap().into_iter().map(Result::unwrap).collect();
    for n in (1..=log.len()).rev().step_by(every) {
        let when = s.app.when(Moment::Position(log[n - 1].position)).await.unwrap();
        let board = s.app.board(when, None).await.unwrap();
        let expected: Vec<_> = folded(&log[..n]).into_iter().collect();
        assert_eq!(board.projects, expected, "seed {seed}, after event {n}: {:?}", log[n - 1].event);
    }
    let (before, rows) = (rendered(s, &log, 1), projections(s).await);
    s.app.rebuild().await.unwrap().tables.iter().for_each(|table| {
        assert_eq!((table.removed, table.written), (0, 0), "seed {seed}: {}", table.table);
    });
    // From nothing, and once more from what that made.
    s.database.execute(&format!("truncate {}", TABLES.join(", "))).await;
    let rebuilt = s.app.rebuild().await.unwrap();
    assert!(rebuilt.tables.iter().any(|table| table.written > 0), "seed {seed}");
    assert_eq!(projections(s).await, rows, "seed {seed}");
    s.app.rebuild().await.unwrap().tables.iter().for_each(|table| {
        assert_eq!((table.removed, table.written), (0, 0), "seed {seed}: {}, a second time", table.table);
    });
    assert_eq!(projections(s).await, rows, "seed {seed}");
    for threads in [1, 3] {
        assert_eq!(rendered(s, &log, threads), before, "seed {seed}, by {threads} threads");
    }
    // Another process renders the same bytes.
    let (code, told, said) = s.coolops(&["replay", "--verify"]);
    let messages = before.len();
    let said_so = format!("{messages} message{}, rendered anew from the events,", if messages == 1 { "" } else { "s" });
    assert!(code == 0 && told.contains(&said_so), "seed {seed}: {told}{said}");
    // What travels to now sees what the rows of now say.
    let head = s.app.now().await.unwrap();
    let project = s.app.project_named("api").await.unwrap();
    let everything = s.app.installation_anew().await.unwrap().value.lock.clone();
    let live = coolops::app::status::of(&s.app.store, &project, everything.as_ref()).await.unwrap();
    assert_eq!(s.app.board(head, None).await.unwrap().projects, [(project, live)], "seed {seed}");
}

const TABLES: [&str; 5] = ["project", "token", "build", "deployment", "boundary"];

/// All rows that are derived from the log.
async fn projections(s: &Story) -> Vec<String> {
    let mut rows = Vec::new();
    for table in TABLES {
        let all = format!("select coalesce(string_agg(t::text, E'\\n' order by t::text), '') from {table} t");
        rows.push(s.database.text(&all).await);
    }
    rows
}

/// Eight lives with the tests; as many as are asked for, in the night.
#[test]
fn a_random_life_leaves_a_past_that_stays_what_it_was() {
    let seeds = match number("COOLOPS_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..1 + number("COOLOPS_SEEDS").unwrap_or(8),
    };
    // A life waits more than it works.
    let seeds = std::sync::Mutex::new(seeds);
    let next = || seeds.lock().unwrap().next();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| std::iter::from_fn(next).for_each(life));
        }
    });
}
