//! Slack refuses, forgets, is late, is away.

use std::time::{Duration, Instant};

use coolops_lab::standin::workspace::Fault;

use super::{Chaos, chaos, counted, counting};
use crate::story::{CHANNEL, read};

/// Builds are announced in many channels while Slack is down, which takes posts `speed` times as fast as usual.
fn announced_while_slack_is_down(channels: usize, builds: usize, speed: u32) {
    chaos(&counting(3, 10, 0), Some(counted(3)), async |s| {
        s.stop("-TERM");
        s.set("COOLOPS_SLACK_SPEED", &speed.to_string());
        // Counted below, at the pace that was chosen; the stand-in would count at Slack's.
        s.standin.workspace().counts_posts = false;
        s.start().await;
        let mut tokens = Vec::new();
        for n in 0..channels {
            let (name, channel) = (format!("Team {n}"), format!("C0TEAM{n:04}"));
            s.standin.workspace().add_channel(&channel, &format!("team-{n}"));
            s.cli(&["project", "create", &name, "--image", &s.image, "--channel", &channel]);
            tokens.push(s.cli(&["project", "token", "new", &format!("team-{n}")]).trim().to_owned());
        }
        s.announces("master-1").await;
        s.injects("503 to everything");
        for method in ["chat.postMessage", "chat.update", "chat.postEphemeral", "conversations.history"] {
            s.standin.workspace().plan(method, Fault::Status(503), u32::MAX);
        }
        s.presses("ana", "master-1", "Staging").await;
        let url = format!("{}/builds", s.url);
        std::thread::scope(|scope| {
            for hand in 0..8 {
                let (url, tokens) = (&url, &tokens);
                scope.spawn(move || {
                    for n in (hand..builds).step_by(8) {
                        let body = serde_json::json!({ "name": format!("build-{n}"), "params": {} }).to_string();
                        let token = format!("Token {}", tokens[n % channels]);
                        ureq::post(url)
                            .header("authorization", token)
                            .send(body)
                            .expect("a build is taken while Slack is down");
                    }
                });
            }
        });
        s.saw(&format!("{builds} builds taken in {channels} channels"));
        let failures = "select coalesce(max(failures), 0)::bigint from rate_bucket";
        s.until("it was tried again a few times", async || s.database.count(failures).await >= 4).await;
        let attempted = s.database.count("select count(*) from slack_message where state = 'posting'").await;
        assert!(attempted <= 100, "{attempted} posts were sent into the outage, and must be looked for");
        let back = Instant::now();
        s.standin.workspace().faults.clear();
        s.injects("Slack is well again");
        let owed = "select count(*) from job where state <> 'done'";
        s.until_long("every message is there", Duration::from_mins(15), async || s.database.count(owed).await == 0)
            .await;
        let took = back.elapsed();
        let posts: Vec<(String, Instant)> = {
            let workspace = s.standin.workspace();
            let posts = workspace.calls.iter().filter(|c| c.method == "chat.postMessage" && c.at > back);
            posts.map(|c| (c.arguments["channel"].as_str().unwrap().to_owned(), c.at)).collect()
        };
        keeps_within(
            &posts.iter().map(|(_, at)| *at).collect::<Vec<_>>(),
            0.2 / f64::from(speed),
            5.0 / f64::from(speed),
        );
        for n in 0..channels {
            let channel = format!("C0TEAM{n:04}");
            let times: Vec<Instant> = posts.iter().filter(|(c, _)| *c == channel).map(|(_, at)| *at).collect();
            keeps_within(&times, 1.0 / f64::from(speed), 3.0 / f64::from(speed));
        }
        s.shows("*succeeded*").await;
        let pace = f64::from(speed) * (channels as f64).min(5.0);
        s.saw(&format!(
            "{:.2} of the {pace:.0} posts a second that the limits allow",
            posts.len() as f64 / took.as_secs_f64() / pace
        ));
        s.saw(&format!(
            "{} posts in {:.0} s after {attempted} that had to be looked for, within the limits",
            posts.len(),
            took.as_secs_f64()
        ));
    });
}

/// In any time there are no more calls than the pace and its burst allow. A call may reach Slack a second later than it
/// was allowed, so that two come closer together.
fn keeps_within(calls: &[Instant], every: f64, burst: f64) {
    for (n, first) in calls.iter().enumerate() {
        for (m, last) in calls.iter().enumerate().skip(n) {
            let (number, time) = ((m - n + 1) as f64, last.duration_since(*first).as_secs_f64());
            assert!(
                number <= 1.0 + (time + burst + 1.0) / every,
                "{number} calls within {time:.2} s, one every {every:.3} s is allowed"
            );
        }
    }
}

#[test]
fn f28_hundreds_of_builds_in_many_channels_while_slack_is_down() {
    announced_while_slack_is_down(10, 300, 20);
}

#[test]
#[ignore = "takes minutes"]
fn f28_ten_thousand_builds_in_two_hundred_channels_while_slack_is_down() {
    announced_while_slack_is_down(200, 10_000, 30);
}

#[test]
#[ignore = "takes minutes"]
fn f28_three_thousand_builds_in_one_channel_while_slack_is_down() {
    announced_while_slack_is_down(1, 3_000, 50);
}

#[test]
fn f29_the_process_dies_after_an_edit() {
    chaos(&counting(3, 10, 0), Some(counted(3)), async |s| {
        s.announces("master-1").await;
        s.stop("-TERM");
        s.set("FAILPOINTS", "after_update=return");
        s.start_roles(&["web"]).await;
        s.unset("FAILPOINTS");
        s.start_worker();
        s.injects("the process dies between an edit and its record");
        s.presses("ana", "master-1", "Staging").await;
        s.until_process_ended(0).await;
        s.start_roles(&["web"]).await;
        s.shows("*succeeded*").await;
        s.saw("the same message, up to date");
    });
}

#[test]
fn f27_slack_asks_three_replicas_to_wait() {
    chaos(&counting(3, 10, 0), Some(counted(3)), async |s| {
        s.second_web().await;
        s.second_web().await;
        s.announces("master-0").await;
        s.injects("429, Retry-After 4 on posts and edits, while several builds and a deployment happen");
        s.standin.workspace().plan("chat.postMessage", Fault::RateLimited(4), 1);
        s.standin.workspace().plan("chat.update", Fault::RateLimited(4), 1);
        for n in 1..=3 {
            s.cli(&["build:new", &format!("master-{n}")]);
        }
        s.presses("ana", "master-0", "Staging").await;
        s.shows("*succeeded*").await;
        s.shows_times("# Api: master-", 4).await;
        s.saw("no call before its time, and all is there");
        s.injects("429 on the search for a lost post, and on a private answer");
        s.standin.workspace().plan("chat.postMessage", Fault::LostReply, 1);
        s.standin.workspace().plan("conversations.history", Fault::RateLimited(3), 1);
        s.standin.workspace().plan("chat.postEphemeral", Fault::RateLimited(3), 1);
        s.cli(&["build:new", "master-4"]);
        s.shows("# Api: master-4").await;
        s.cli(&["environment", "archive", "api", "Production"]);
        s.presses("ben", "master-0", "Production").await;
        s.until("ben is told", async || s.private_notes_of("ben").iter().any(|n| n.contains("Production"))).await;
        s.shows_times("# Api: master-", 5).await;
        s.saw("both came, after the time that was asked for");
    });
}

#[test]
fn f28_slack_answers_503_while_much_happens() {
    chaos(&counting(3, 10, 0), Some(counted(3)), async |s| {
        s.announces("master-1").await;
        s.injects("503 to every edit, while a deployment runs through all its states twice");
        s.standin.workspace().plan("chat.update", Fault::Status(503), u32::MAX);
        for n in 1..=2 {
            s.presses("ana", "master-1", "Staging").await;
            let ended = "select count(*) from deployment where state = 'succeeded'";
            s.until("it has ended", async || s.database.count(ended).await == n).await;
        }
        s.standin.workspace().faults.clear();
        s.cli(&["build:new", "wake-up"]);
        s.shows_times("*succeeded*", 2).await;
        let edits = s.standin.workspace().calls.iter().filter(|c| c.method == "chat.update").count();
        assert!(edits <= 2, "what happened meanwhile became {edits} edits");
        s.saw(&format!("{edits} edit for both deployments"));
    });
}

#[test]
fn f29_slack_takes_a_post_and_its_answer_is_lost() {
    chaos(&counting(3, 10, 0), Some(counted(3)), async |s| {
        s.injects("the answers to five posts are lost");
        s.standin.workspace().plan("chat.postMessage", Fault::LostReply, 5);
        for n in 1..=5 {
            s.cli(&["build:new", &format!("master-{n}")]);
        }
        s.shows_times("# Api: master-", 5).await;
        s.until("all of them are found again", async || {
            s.database.count("select count(*) from event where type = 'message_posted'").await == 5
        })
        .await;
        s.saw("each was found by its metadata, none was posted twice");
    });
}

#[test]
fn f29_the_process_dies_between_the_post_and_its_record() {
    for failpoint in ["after_attempted", "after_post", "after_sent"] {
        chaos(&counting(3, 10, 0), Some(counted(3)), async |s| {
            s.stop("-TERM");
            s.set("FAILPOINTS", &format!("{failpoint}=return"));
            s.start().await;
            s.injects(&format!("the process dies at {failpoint}"));
            s.cli(&["build:new", "master-1"]);
            s.until_process_ended(0).await;
            s.unset("FAILPOINTS");
            s.start().await;
            s.shows("# Api: master-1").await;
            s.until("it is recorded where the message is", async || {
                s.database.count("select count(*) from event where type = 'message_posted'").await == 1
            })
            .await;
            s.saw("one message");
        });
    }
}

#[test]
fn f49_the_process_dies_while_it_tells_people() {
    for failpoint in ["after_report_attempted", "after_report"] {
        chaos(&counting(3, 10, 1), Some(counted(3)), async |s| {
            s.announces("master-1").await;
            s.stop("-TERM");
            s.set("FAILPOINTS", &format!("{failpoint}=return"));
            s.start_roles(&["web"]).await;
            s.start_worker();
            s.injects(&format!("the process dies at {failpoint}"));
            s.presses("ana", "master-1", "Staging").await;
            s.until_process_ended(0).await;
            s.unset("FAILPOINTS");
            s.stop("-TERM");
            s.start().await;
            s.until("both are told", async || read::reports(&s.standin.workspace()).len() == 2).await;
            s.saw("one direct message, one reply in the thread");
        });
    }
}

#[test]
#[ignore = "waits for a late edit"]
fn f30_an_edit_arrives_late() {
    chaos(&counting(3, 10, 0), Some(counted(3)), async |s| {
        s.announces("master-1").await;
        s.injects("an edit that Slack takes only after 14 s, when we have given it up");
        s.standin.workspace().plan("chat.update", Fault::Late(14), 1);
        s.presses("ana", "master-1", "Staging").await;
        s.shows("*succeeded*").await;
        s.saw("the latest state stands");
        s.injects("a post that Slack takes only after 14 s");
        s.standin.workspace().plan("chat.postMessage", Fault::Late(14), 1);
        s.cli(&["build:new", "master-2"]);
        s.shows("# Api: master-2").await;
        s.presses("ana", "master-2", "Staging").await;
        s.shows_times("*succeeded*", 2).await;
        s.saw("found again, and edited; there is no second one");
    });
}

#[test]
fn f35_a_message_is_deleted() {
    chaos(&counting(3, 10, 0), Some(counted(3)), async |s| {
        s.announces("master-1").await;
        s.presses("ana", "master-1", "Staging").await;
        s.shows("*succeeded*").await;
        let press = s.press_of("ana", "master-1", "Staging");
        let ts = s.standin.workspace().channels[0].messages[0].ts.clone();
        s.injects("a person deletes the message");
        s.standin.workspace().delete(CHANNEL, &ts);
        s.standin.shared().deliver(press).await.unwrap();
        s.shows_times("*succeeded*", 2).await;
        s.saw("posted again once, on the next change, with both lines");
    });
}

#[test]
fn f36_the_channel_is_archived_and_opened_again() {
    chaos(&counting(3, 10, 0), Some(counted(3)), async |s| {
        s.announces("master-1").await;
        let press = s.press_of("ana", "master-1", "Staging");
        s.injects("the channel is archived");
        s.standin.workspace().channels[0].is_archived = true;
        s.standin
            .shared()
            .tell(serde_json::json!({ "type": "channel_archive", "channel": CHANNEL, "user": "U0ANA00001" }))
            .await
            .unwrap();
        s.standin.shared().deliver(press).await.unwrap();
        let ended = "select count(*) from deployment where state = 'succeeded'";
        s.until("the deployment goes on all the same", async || s.database.count(ended).await == 1).await;
        s.until("the operator is told", async || {
            s.cli_fails(&["doctor"], "").1.contains("can't be brought up to date there (is_archived)")
        })
        .await;
        s.injects("it is unarchived, and Slack tells us");
        s.standin.workspace().channels[0].is_archived = false;
        let told = s
            .standin
            .shared()
            .tell(serde_json::json!({ "type": "channel_unarchive", "channel": CHANNEL, "user": "U0ANA00001" }))
            .await;
        assert_eq!(told, Ok(200));
        s.shows("*succeeded*").await;
        s.saw("brought up to date at once, long before the hourly look");
    });
}

#[test]
fn f36_the_bot_is_removed_and_invited_again() {
    chaos(&counting(3, 10, 0), Some(counted(3)), async |s| {
        s.announces("master-1").await;
        let press = s.press_of("ana", "master-1", "Staging");
        s.injects("somebody removes the bot from the channel");
        s.standin.workspace().channels[0].is_member = false;
        s.standin.shared().tell(serde_json::json!({ "type": "channel_left", "channel": CHANNEL })).await.unwrap();
        s.standin.shared().deliver(press).await.unwrap();
        let ended = "select count(*) from deployment where state = 'succeeded'";
        s.until("the deployment goes on all the same", async || s.database.count(ended).await == 1).await;
        s.until("the operator is told", async || {
            s.cli_fails(&["doctor"], "").1.contains("invite it there: /invite @coolops")
        })
        .await;
        s.until("what waits is told", async || s.cli_fails(&["doctor"], "").1.contains("(not_in_channel)")).await;
        s.injects("it is invited again, and Slack tells us");
        s.standin.workspace().channels[0].is_member = true;
        let joined = serde_json::json!({ "type": "member_joined_channel", "channel": CHANNEL, "user": "U0COOLOPS1" });
        assert_eq!(s.standin.shared().tell(joined).await, Ok(200));
        s.shows("*succeeded*").await;
        s.saw("brought up to date at once");
    });
}

/// What `/readyz` says, ready or not.
fn readiness(s: &Chaos<'_>) -> String {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    agent.get(format!("{}/readyz", s.url)).call().unwrap().body_mut().read_to_string().unwrap()
}

/// How often Slack was asked to show something.
fn posts(s: &Chaos<'_>) -> usize {
    s.standin.workspace().calls.iter().filter(|c| c.method.starts_with("chat.")).count()
}

#[test]
fn f37_the_app_is_removed_and_says_so() {
    chaos(&counting(1, 5, 0), Some(counted(1)), async |s| {
        let events = format!("{}/slack/events", s.url);
        let post = |body: &str, secret: &str| {
            let signed = s.standin.shared().sign(body.to_owned());
            let signature = if secret.is_empty() { signed.signature } else { secret.to_owned() };
            let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
            let request = agent.post(&events).header("x-slack-request-timestamp", signed.timestamp.clone());
            let mut answer = request.header("x-slack-signature", signature).send(&signed.body).unwrap();
            (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
        };
        assert_eq!(post(r#"{"type":"url_verification","challenge":"3eZbrw1a"}"#, ""), (200, "3eZbrw1a".to_owned()));
        assert_eq!(post(r#"{"type":"url_verification","challenge":"3eZbrw1a"}"#, "v0=00").0, 401);
        assert_eq!(post("{", "").0, 400);
        s.announces("master-1").await;
        s.injects("the app is uninstalled");
        assert_eq!(s.standin.shared().tell(serde_json::json!({ "type": "app_uninstalled" })).await, Ok(200));
        let said = s.cli_fails(&["doctor"], "").1;
        assert!(said.contains("takes nothing from us: app_uninstalled; reinstall the app"), "{said}");
        let calls = posts(s);
        s.presses("ana", "master-1", "Staging").await;
        let ended = "select count(*) from deployment where state = 'succeeded'";
        s.until("the deployment goes on all the same", async || s.database.count(ended).await == 1).await;
        assert_eq!(posts(s), calls, "Slack is left alone");
        s.injects("it is installed again, and the service restarted");
        s.stop("-TERM");
        s.start().await;
        s.shows("*succeeded*").await;
    });
}

#[test]
fn f37_the_token_is_revoked_and_given_back() {
    chaos(&counting(3, 10, 0), Some(counted(3)), async |s| {
        s.announces("master-1").await;
        s.injects("token_revoked on every call");
        for method in ["chat.update", "chat.postMessage", "chat.postEphemeral"] {
            s.standin.workspace().plan(method, Fault::Error("token_revoked".to_owned()), u32::MAX);
        }
        let told = s
            .standin
            .shared()
            .tell(serde_json::json!({ "type": "tokens_revoked", "tokens": { "bot": ["U0COOLOPS1"] } }))
            .await;
        assert_eq!(told, Ok(200));
        s.presses("ana", "master-1", "Staging").await;
        let ended = "select count(*) from deployment where state = 'succeeded'";
        s.until("the deployment goes on all the same", async || s.database.count(ended).await == 1).await;
        s.until("it is told", async || readiness(s).contains("takes nothing from us: token_revoked")).await;
        let calls = posts(s);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(posts(s), calls, "Slack is left alone");
        s.injects("the app is installed again, and the service restarted with its token");
        s.standin.workspace().faults.clear();
        s.stop("-TERM");
        let again = Instant::now();
        s.start().await;
        s.shows("*succeeded*").await;
        let took = again.elapsed();
        assert!(
            took < Duration::from_secs(30),
            "what was put off for a minute waits no longer than it has to: {took:?}"
        );
        s.saw(&format!("everything is brought up to date {:.1} s after the restart", took.as_secs_f64()));
    });
}

#[test]
fn f37_an_outage_after_a_revoked_token_is_not_called_that() {
    chaos(&counting(1, 5, 0), Some(counted(1)), async |s| {
        s.injects("token_revoked on a post");
        s.standin.workspace().plan("chat.postMessage", Fault::Error("token_revoked".to_owned()), 1);
        s.cli(&["build:new", "master-1"]);
        s.until("it is told", async || readiness(s).contains("takes nothing from us: token_revoked")).await;
        s.injects("the token is good again, but Slack answers 500 for a while");
        s.standin.workspace().plan("chat.postMessage", Fault::Status(500), u32::MAX);
        s.database.set_clock(61).await;
        s.until("the new reason is told", async || {
            readiness(s).contains("takes nothing from us: no clear answer to our last call")
        })
        .await;
        s.standin.workspace().faults.clear();
        s.shows("# Api: master-1").await;
        s.presses("ana", "master-1", "Staging").await;
        s.shows("*succeeded*").await;
    });
}
