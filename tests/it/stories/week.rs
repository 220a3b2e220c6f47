//! Simulated weeks: a project's life in a time that is simulated, on processes that die anywhere, sleep, and start again,
//! with a Slack and an engine in trouble. After each death the log is held to what must always hold, and at the end of
//! the week everything.
//!
//! A seed is one week. `COOLOPS_SEED=17 ./just test a_simulated_week` lives that one again: the same happens in the same
//! order. Postgres and the calls of Slack are real ones, so how far a process gets between two moves may differ a little.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use coolops::app::CommandError;
use coolops::app::erasure::{PersonKind, Whom};
use coolops::domain::deployment::{StopReason, Verdict};
use coolops::domain::erasure::ErasureRefusal;
use coolops::domain::erasure_events::OutputGone;
use coolops::domain::event::{DeploymentEvent, Event, Recorded};
use coolops::domain::ids::DeploymentId;
use coolops::domain::settings::{EnvironmentChange, ProjectChange};
use coolops::domain::state::State;
use coolops_lab::standin::press::{Press, Signed};
use coolops_lab::standin::workspace::Fault;
use sqlx::PgConnection;

use super::random::the_past_stays_what_it_was;
use crate::story::dice::{Again, Dice, number};
use crate::story::invariants::{
    each_deployment_keeps_to_its_states_and_ends_once, environments_are_held_by_one_at_a_time, is_nowhere,
    locks_are_one_at_a_time_and_nobody_has_their_turn_under_anothers, positions_have_no_gaps,
    who_waits_waits_behind_somebody,
};
use crate::story::process::{self, Process};
use crate::story::{
    Announcement, CHANNEL, OWED_TO_SLACK, RUNS_NOT_DONE, Story, build, from_ci, from_slack, operator, read, story,
};

const PEOPLE: [&str; 3] = ["ana", "ben", "chi"];
const PLACES: [&str; 2] = ["Staging", "Production"];
const CANARY: &str = "week-canary-51c0";
const PRINTED: [&str; 3] = ["begins with week-canary-51c0", "line 2", "line 3"];
const STORED: &str = "begins with ***\nline 2\nline 3\n";

/// What the world has beside what the service knows.
struct Week<'a> {
    s: &'a Story,
    seed: u64,
    /// Of this moment: what comes later does not depend on how often they were rolled before.
    dice: Dice,
    /// Since the week began.
    now: Duration,
    clock: PgConnection,
    processes: Vec<Option<Process>>,
    builds: usize,
    /// When containers end, and how.
    ends: BTreeMap<DeploymentId, (Duration, i64)>,
    erased: BTreeSet<DeploymentId>,
    deaths: usize,
}

impl<'a> Week<'a> {
    async fn begin(s: &'a Story, seed: u64) -> Self {
        let frozen = "create table world (now timestamptz not null); insert into world select clock_timestamp();
                      grant select on world to public;
                      create or replace function coolops_now() returns timestamptz language plpgsql stable parallel safe as
                      'begin return (select now from public.world); end'; comment on function coolops_now is 'moved by a test'";
        s.database.execute(frozen).await;
        s.app.change_project(s.project(), ProjectChange::TimeLimit(10), &operator()).await.unwrap();
        for place in PLACES {
            let canary = CANARY.to_owned().into();
            s.app.set_secret(s.project(), place, "CANARY", &canary, &operator()).await.unwrap();
        }
        s.runner.hold();
        s.runner.will_print(&PRINTED, 0);
        s.standin.workspace().counts_posts = true;
        let clock = s.database.owner().await;
        let (now, dice) = (Duration::ZERO, Dice(seed));
        let mut week = Self {
            s,
            seed,
            dice,
            now,
            clock,
            processes: Vec::new(),
            builds: 0,
            ends: BTreeMap::new(),
            erased: BTreeSet::new(),
            deaths: 0,
        };
        for _ in 0..3 {
            week.processes.push(Some(Process::start(s, now).await));
        }
        week
    }

    fn tell(&self, what: &str) {
        let (seconds, ms) = (self.now.as_secs(), self.now.subsec_millis());
        let (day, hour, minute, second) = (seconds / 86_400 + 1, seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
        println!("[{}] day {day} {hour:02}:{minute:02}:{second:02}.{ms:03}  {what}", self.seed);
    }

    fn dice_of(&self, n: u64) -> Dice {
        Dice(self.seed << 24 ^ n)
    }

    /// A day at work: three times something happens, for some minutes.
    async fn day(&mut self, day: u64) {
        for shift in 0..3 {
            let moment = (day * 3 + shift) * 1_000;
            self.dice = self.dice_of(moment);
            let calm = Duration::from_hours(day * 24 + shift * 5 + 8) + Duration::from_mins(self.dice.roll(60) as u64);
            self.passes(calm.saturating_sub(self.now)).await;
            for n in 1..=12 {
                self.dice = self.dice_of(moment + n);
                let time = [200, 700, 2_000, 6_000, 15_000, 45_000][self.dice.roll(6)];
                self.passes(Duration::from_millis(time)).await;
                // Who is not chosen sleeps on.
                let n = self.dice.roll(self.processes.len());
                match self.processes[n] {
                    Some(_) => self.moves(n).await,
                    None => self.starts_one().await,
                }
                if self.dice.roll(3) > 0 {
                    self.something().await;
                }
            }
        }
    }

    /// Time passes in the world; containers end.
    async fn passes(&mut self, time: Duration) {
        self.now += time;
        let passed = format!("update world set now = now + interval '{} ms'", time.as_millis());
        sqlx::query(sqlx::AssertSqlSafe(passed)).execute(&mut self.clock).await.unwrap();
        self.s.standin.workspace().simulated = Some(self.now);
        for id in self.s.runner.running() {
            match self.ends.get(&id) {
                Some((at, code)) if self.now >= *at => {
                    self.tell(&format!("{} ends with {code}", short(id)));
                    self.s.runner.ends(id, *code);
                }
                Some(_) => {}
                // One in five runs for longer than it may.
                None => {
                    let mut dice = self.dice_of(1_000_000 + self.ends.len() as u64);
                    let seconds = if dice.roll(5) == 0 { 3_600 } else { 5 + dice.roll(200) as u64 };
                    let ends = (self.now + Duration::from_secs(seconds), [0, 0, 0, 3][dice.roll(4)]);
                    self.ends.insert(id, ends);
                }
            }
        }
    }

    /// One process moves, or what is left of it is found.
    async fn moves(&mut self, n: usize) {
        if let Some(process) = &mut self.processes[n] {
            process.moves(self.now);
        }
        assert_eq!(self.s.standin.workspace().breaches, Vec::<String>::new(), "I8");
        self.buries(n).await;
    }

    /// A process that died is gone, and what it leaves is held to what must hold.
    async fn buries(&mut self, n: usize) {
        let Some(place) = self.processes[n].as_ref().and_then(Process::died) else { return };
        self.tell(&format!("process {n} died {place}"));
        self.processes[n] = None;
        self.deaths += 1;
        // What died with it may have been an answer that Slack wants no calls for a while. Nobody else knows.
        self.s.standin.workspace().reopen();
        self.what_must_always_hold_holds().await;
    }

    /// One of those that live gets a request.
    async fn is_told(&mut self, request: Request<Body>) -> Option<StatusCode> {
        let alive: Vec<usize> = (0..self.processes.len()).filter(|n| self.processes[*n].is_some()).collect();
        if alive.is_empty() {
            return None;
        }
        let n = alive[self.dice.roll(alive.len())];
        let answer = self.processes[n].as_mut().expect("it lives").hears(self.now, request);
        self.buries(n).await;
        answer
    }

    async fn announces(&mut self, announcement: &Announcement) {
        let (authorization, body) = (format!("Token {}", self.s.token), announcement.body());
        // CI is patient, and not sure whether it was heard.
        for _ in 0..20 {
            match self.is_told(from_ci(&authorization, &body)).await {
                Some(status) if status.is_success() => return,
                Some(status) => assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "CI is refused"),
                None => self.starts_one().await,
            }
            self.passes(Duration::from_secs(2)).await;
        }
        panic!("CI is not heard");
    }

    async fn starts_one(&mut self) {
        if let Some(n) = self.processes.iter().position(Option::is_none) {
            self.tell(&format!("process {n} starts"));
            self.processes[n] = Some(Process::start(self.s, self.now).await);
        }
    }

    /// The press of a button that somebody sees.
    fn press(&mut self) -> Option<Signed> {
        let (who, place) = (self.dice.one(&PEOPLE), self.dice.one(&PLACES));
        let press = {
            let workspace = self.s.standin.workspace();
            let user = workspace.users.iter().find(|u| u.name == who)?.id.clone();
            let messages: Vec<_> =
                workspace.channels[0].messages.iter().filter(|m| read::build_of(m).is_some()).collect();
            let message = messages.get(messages.len().checked_sub(1 + self.dice.roll(3))?)?;
            let (action_id, option) = read::button(message, place)?;
            Press { channel: CHANNEL.to_owned(), ts: message.ts.clone(), user, action_id, option }
        };
        self.tell(&format!("{who} presses {place}"));
        self.s.standin.shared().signed_press(&press)
    }

    async fn writes(&mut self, text: &str) {
        let who = self.dice.one(&PEOPLE);
        self.tell(&format!("{who}: /coolops {text}"));
        let user = self.s.standin.workspace().users.iter().find(|u| u.name == who).unwrap().id.clone();
        let signed = self.s.standin.shared().signed_command(CHANNEL, &user, text).unwrap();
        self.is_told(from_slack("/slack/commands", &signed)).await;
    }

    /// One more thing happens.
    async fn something(&mut self) {
        match self.dice.roll(22) {
            0..=2 => {
                self.builds += 1;
                self.tell(&format!("CI announces main-{}", self.builds));
                self.announces(&build(&format!("main-{}", self.builds))).await;
            }
            3..=9 => {
                if let Some(signed) = self.press() {
                    for _ in 0..=usize::from(self.dice.roll(4) == 0) {
                        self.is_told(from_slack("/slack/interactions", &signed)).await;
                    }
                }
            }
            10 => {
                let text =
                    ["lock api Staging because of the dice", "lock api Production for 30m", "lock all of api for 1h"];
                let text = self.dice.one(&text);
                self.writes(text).await;
            }
            11 | 12 => {
                let text = self.dice.one(&["unlock api Staging", "unlock api Production", "unlock all of api"]);
                self.writes(text).await;
            }
            13 => self.an_operator_does_something().await,
            14..=16 => {
                let (method, fault, times) = match self.dice.roll(7) {
                    0 => ("chat.postMessage", Fault::LostReply, 1),
                    1 => ("chat.postMessage", Fault::Status(503), 1 + self.dice.roll(3) as u32),
                    2 => ("chat.postMessage", Fault::RateLimited(1 + self.dice.roll(60) as u32), 1),
                    3 => ("chat.update", Fault::LostReply, 1),
                    4 => ("chat.update", Fault::Error("internal_error".into()), 1 + self.dice.roll(3) as u32),
                    5 => ("chat.update", Fault::RateLimited(1 + self.dice.roll(60) as u32), 1),
                    _ => ("conversations.history", Fault::Status(500), 1),
                };
                self.tell(&format!("Slack: the next {times} {method} {fault:?}"));
                self.s.standin.workspace().plan(method, fault, times);
            }
            17 => {
                let method = self.dice.one(&["create", "start", "remove", "look", "wait"]);
                self.tell(&format!("the engine: the next {method} has no answer"));
                if self.dice.roll(2) == 0 && ["create", "start"].contains(&method) {
                    self.s.runner.will_lose_the_answer_of(method);
                } else {
                    self.s.runner.will_not_answer(method);
                }
            }
            _ => {
                let (n, place) = (self.dice.roll(self.processes.len()), self.dice.one(&process::DEATHS));
                let waits = self.dice.roll(2) * (1 + self.dice.roll(60));
                match (&self.processes[n], waits as u64) {
                    (Some(process), 0) => {
                        self.tell(&format!("process {n} is to die {place}"));
                        process.dies_at(Some(place));
                    }
                    (Some(process), waits) => {
                        self.tell(&format!("process {n} is to die after {waits} waits"));
                        process.dies_after(waits);
                    }
                    (None, _) => {}
                }
            }
        }
    }

    async fn an_operator_does_something(&mut self) {
        let app = &self.s.app;
        app.store.keep_clock().await.unwrap();
        let place = self.dice.one(&PLACES);
        let done = match self.dice.roll(6) {
            0 => {
                let open = app.store.deployments().open().await.unwrap();
                let Some(id) = open.first().copied() else { return };
                let reason = StopReason::Operator { by: "test".into(), reason: "the dice say so".into() };
                let done = app.stop(id, &reason, &operator()).await;
                format!("stops a deployment{}", or_not(&done))
            }
            1 => {
                let whom = self.dice.one(&PEOPLE);
                let whom_of = Whom { text: whom, kind: PersonKind::Person };
                let done = app.erase_person(whom_of, "asked for it", &operator()).await;
                format!("erases {whom}{}", or_not(&done))
            }
            2 => {
                let ended = app.store.deployments().list(None, &[State::Succeeded, State::Failed], 5).await.unwrap();
                let Some(of) = ended.first().map(|d| d.deployment.of) else { return };
                let why = OutputGone::Asked { reason: "it printed a key".into() };
                let done = app.erase_output(of.deployment_id, why, &operator()).await;
                if done.is_ok() {
                    self.erased.insert(of.deployment_id);
                }
                format!("erases the output of {}{}", short(of.deployment_id), or_not(&done))
            }
            3 => {
                let change = EnvironmentChange::Supersede(self.dice.roll(2) == 0);
                app.change_environment(self.s.project(), place, change, &operator()).await.unwrap();
                format!("changes {place}")
            }
            4 => {
                let change = EnvironmentChange::Protect(self.dice.roll(2) == 0);
                app.change_environment(self.s.project(), place, change, &operator()).await.unwrap();
                format!("protects {place} or not")
            }
            _ => {
                let value = self.dice.roll(100).to_string();
                let change = EnvironmentChange::SetVariable { name: "ROLL".into(), value };
                app.change_environment(self.s.project(), place, change, &operator()).await.unwrap();
                format!("sets a variable of {place}")
            }
        };
        self.tell(&format!("an operator {done}"));
    }

    async fn log(&self) -> Vec<Recorded> {
        self.s.app.store.log().after(0, 100_000).await.unwrap().into_iter().map(Result::unwrap).collect()
    }

    /// Whatever is under way.
    async fn what_must_always_hold_holds(&self) {
        positions_have_no_gaps(&self.s.database).await;
        who_waits_waits_behind_somebody(&self.s.database).await;
        let events = self.log().await;
        each_deployment_keeps_to_its_states_and_ends_once(&events);
        environments_are_held_by_one_at_a_time(&events);
        locks_are_one_at_a_time_and_nobody_has_their_turn_under_anothers(&events);
        for (id, starts) in self.s.runner.starts_by_deployment() {
            assert_eq!(starts, 1, "I4: the container of {id} was started {starts} times");
        }
        assert_eq!(self.s.app.audit(false).await.unwrap().findings, [], "I2, I9");
        assert_eq!(self.s.standin.workspace().breaches, Vec::<String>::new(), "I8");
        self.logs_are_what_was_printed().await;
        is_nowhere(CANARY, &self.s.database, &self.s.standin, &[]).await;
    }

    /// Everybody lives and nothing is in the way: until nothing is left to do.
    async fn comes_to_rest(&mut self) {
        self.s.standin.workspace().faults.clear();
        for _ in 0..self.processes.len() {
            self.starts_one().await;
        }
        for process in self.processes.iter().flatten() {
            process.dies_at(None);
        }
        self.s.app.store.keep_clock().await.unwrap();
        for text in ["unlock api Staging", "unlock api Production", "unlock all of api"] {
            for who in PEOPLE {
                self.s.writes_in(CHANNEL, who, text).await;
            }
        }
        for round in 0.. {
            let time = Duration::from_secs(1 + self.dice.roll(20) as u64);
            self.passes(time).await;
            for n in 0..self.processes.len() {
                self.moves(n).await;
            }
            let deployments = self.s.app.store.deployments();
            for lost in deployments.list(None, &[State::Unknown], 100).await.unwrap() {
                let id = lost.deployment.of.deployment_id;
                self.s.app.resolve(id, Verdict::Failed, "nobody knows", &operator()).await.unwrap();
            }
            let owed = self.s.database.count(OWED_TO_SLACK).await + self.s.database.count(RUNS_NOT_DONE).await;
            let open = deployments.open().await.unwrap().len();
            if open == 0 && owed == 0 && self.s.runner.left() == 0 {
                break;
            }
            if round == 1_000 {
                let left = "select coalesce(string_agg(format('%s %s, %s attempts, due in %s, %s, turn %s', kind, state, attempts, run_at - coolops_now(), last_error, turn), E'\n'), '') from job where state <> 'done'";
                let left = self.s.database.text(left).await;
                panic!(
                    "it does not come to rest: {open} are open, {} containers are there, and this is owed:\n{left}",
                    self.s.runner.left()
                );
            }
        }
    }

    /// Once everybody was erased nothing in the channel names anybody.
    async fn everybody_can_be_erased(&mut self) {
        self.s.app.store.keep_clock().await.unwrap();
        for whom in PEOPLE {
            match self
                .s
                .app
                .erase_person(Whom { text: whom, kind: PersonKind::Person }, "asked for it", &operator())
                .await
            {
                Err(CommandError::Refused(ErasureRefusal::Nobody(..))) => {}
                done => drop(done.unwrap()),
            }
        }
        self.comes_to_rest().await;
        let workspace = self.s.standin.workspace();
        for message in workspace.channels[0].messages.iter().filter(|message| message.only_for.is_none()) {
            let shown = format!("{} {} {}", message.text, message.blocks, message.attachments);
            for user in &workspace.users[..PEOPLE.len()] {
                assert!(!shown.contains(&user.id), "{} is named after all were erased: {shown}", user.name);
            }
        }
    }

    /// I6: what is stored of those that are over is what was printed.
    async fn logs_are_what_was_printed(&self) {
        for recorded in self.log().await {
            let (id, seal) = match &recorded.event {
                Event::Deployment(DeploymentEvent::Succeeded(e)) => (e.of.deployment_id, &e.log),
                Event::Deployment(DeploymentEvent::Failed(e)) if e.log.chunks > 0 => (e.of.deployment_id, &e.log),
                _ => continue,
            };
            if self.erased.contains(&id) {
                continue;
            }
            // This engine loses nothing.
            assert_eq!(seal.gaps, 0, "I6: the output of {id} is said to have gaps");
            let chunks = self.s.app.store.journals().chunks_from(id, 0, 1_000_000).await.unwrap();
            let stored: Vec<u8> = chunks.into_iter().flat_map(|c| c.body).collect();
            assert_eq!(String::from_utf8(stored).unwrap(), STORED, "I6: the output of {id}");
        }
    }
}

/// Whether it was refused, in words.
fn or_not<T, E: std::fmt::Display>(done: &Result<T, E>) -> String {
    done.as_ref().err().map(|why| format!(", which is refused: {why}")).unwrap_or_default()
}

fn short(id: DeploymentId) -> String {
    id.to_string().chars().take(8).collect()
}

fn week(seed: u64) {
    let _again = Again { seed, of: "a_simulated_week" };
    let begun = std::time::Instant::now();
    story(async |s| {
        let mut week = Week::begin(s, seed).await;
        for day in 0..7 {
            week.day(day).await;
        }
        week.comes_to_rest().await;
        week.everybody_can_be_erased().await;
        week.processes.clear();
        week.what_must_always_hold_holds().await;
        the_past_stays_what_it_was(s, seed, 25).await;
        let (deaths, events, ran) = (week.deaths, week.log().await.len(), s.runner.starts().len());
        println!(
            "seed {seed}: {deaths} deaths, {events} events, {ran} deployments ran, in {:.1} s",
            begun.elapsed().as_secs_f64()
        );
    });
}

/// Four weeks with the tests; as many as are asked for, in the night.
#[test]
fn a_simulated_week_leaves_nothing_undone_and_nothing_done_twice() {
    let seeds = match number("COOLOPS_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..1 + number("COOLOPS_WEEKS").unwrap_or(4),
    };
    // A week waits more than it works.
    let seeds = std::sync::Mutex::new(seeds);
    let next = || seeds.lock().unwrap().next();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| std::iter::from_fn(next).for_each(week));
        }
    });
}
