//! Stories of a team that shares environments.

use coolops::domain::settings::EnvironmentChange;
use coolops_lab::standin::workspace::Fault;

use crate::snapshot;
use crate::story::{Story, build, operator, read, story};

async fn protects(s: &Story, environment: &str, protected: bool) {
    s.app
        .change_environment(s.project(), environment, EnvironmentChange::Protect(protected), &operator())
        .await
        .unwrap();
}

/// What somebody is asked who presses *Cancel …* on the newest line with these words.
async fn asked_back_by(s: &Story, user: &str, words: &str) -> Option<String> {
    assert_eq!(s.deliver(&s.choice_of(user, words, "Cancel …")).await, 200);
    read::dialog(&s.standin.workspace(), user)
}

/// What is asked back before the n-th button of the newest message counts.
fn asked_back(s: &Story, n: usize) -> Option<String> {
    read::asked_back(s.standin.workspace().channels[0].messages.last().unwrap(), n)
}

#[test]
fn a_protected_environment_has_a_red_button_that_asks_back() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        protects(s, "Production", true).await;
        s.ci_announces(build("mas<!channel>*ter-2")).await;
        assert!(s.channel().ends_with("[Deploy to Production!] [Deploy to Staging]"), "{}", s.channel());
        assert_eq!(s.channel().matches("!]").count(), 1, "an older message keeps its buttons");
        assert_eq!(
            asked_back(s, 0).unwrap(),
            "Deploy to Production? mas<!channel>*ter-2 goes to Production, which is protected. [Deploy] [Don't]"
        );
        assert_eq!(asked_back(s, 1), None, "Staging is not");
        s.presses("ana", "ter-2", "Production").await;
        assert!(s.channel().contains("*Production*: :white_check_mark: *succeeded*"), "{}", s.channel());
        protects(s, "production", false).await;
        s.ci_announces(build("master-3")).await;
        assert_eq!(asked_back(s, 0), None, "it is not any more");
    });
}

#[test]
fn a_menu_asks_back_when_one_of_its_environments_is_protected() {
    story(async |s| {
        for n in 0..28 {
            s.app.create_environment(s.project(), &format!("Customer {n}"), None, &operator()).await.unwrap();
        }
        s.ci_announces(build("master-1")).await;
        assert_eq!(asked_back(s, 0), None);
        for n in 0..28 {
            protects(s, &format!("Customer {n}"), true).await;
        }
        s.ci_announces(build(&"&".repeat(100))).await;
        s.presses("ana", "&&&&", "Customer 7").await;
        assert!(s.channel().contains("*Customer 7*: :white_check_mark: *succeeded*"), "{}", s.channel());
        let asked = asked_back(s, 0).unwrap();
        assert!(
            asked.contains("goes to the environment that you chose. Protected are: Customer 0, Customer 1"),
            "{asked}"
        );
        assert!(asked.ends_with("… [Deploy] [Don't]"), "{asked}");
    });
}

#[test]
fn what_waits_is_cancelled_from_its_line_and_what_runs_is_told_to_stop() {
    story(async |s| {
        for n in 1..=3 {
            s.ci_announces(build(&format!("master-{n}"))).await;
        }
        s.runner.hold();
        for n in 1..=3 {
            s.presses("ana", &format!("master-{n}"), "Staging").await;
        }
        assert_eq!(
            asked_back_by(s, "ben", "behind *master-1*").await.unwrap(),
            "Cancel it? master-2 on Staging: it waits, and will not start. [Cancel it] [Let it be]"
        );
        assert_eq!(
            asked_back_by(s, "ben", "*running*").await.unwrap(),
            "Cancel it? master-1 on Staging: its container gets SIGTERM, and SIGKILL 10 s later. What it did stays done. [Cancel it] [Let it be]"
        );
        s.cancels("ben", "behind *master-1*", "").await;
        assert!(s.channel().contains("*Staging*: :no_entry_sign: *cancelled* by <@U0BEN00001>"), "{}", s.channel());
        assert!(s.channel().contains("*queued* behind *master-1*"), "the third moved up:\n{}", s.channel());
        s.cancels("ben", "*running*", "").await;
        s.comes_to_show("*cancelled* by <@U0BEN00001> (exit code 143)").await;
        s.settle().await;
        assert_eq!(s.channel().matches("*running*").count(), 1, "the third has its turn:\n{}", s.channel());
        s.container_ends("master-3", 0).await;
        snapshot!("cancelled_from_slack", s.channel());
        assert_eq!(s.private_notes_of("ben"), [""; 0]);
    });
}

#[test]
fn a_cancel_that_comes_too_late_or_second_says_what_happened() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.runner.hold();
        s.presses("ana", "master-1", "Staging").await;
        let (first, late) = (s.cancel_of("ben", "*running*", "").await, s.cancel_of("chi", "*running*", "").await);
        let second = s.cancel_of("ana", "*running*", "").await;
        assert_eq!(s.deliver(&first).await, 200);
        assert_eq!(s.deliver(&second).await, 200);
        s.comes_to_show("*cancelled* by <@U0BEN00001>").await;
        s.settle().await;
        assert_eq!(s.deliver(&first).await, 200, "the same bytes again");
        s.settle().await;
        assert_eq!(s.private_notes_of("ben"), [""; 0], "who wanted it hears nothing of its end");
        assert_eq!(s.deliver(&late).await, 200);
        assert_eq!(s.deliver(&late).await, 200, "the same bytes again");
        s.settle().await;
        // One of the two had happened, and the answer says which.
        let over = "master-1 on Staging has ended already (cancelled): there is nothing to stop.";
        let stopping = "master-1 on Staging is being stopped already: ben wanted so.";
        let told = s.private_notes_of("ana");
        assert!(told == [over] || told == [stopping], "{told:?}");
        assert_eq!(s.private_notes_of("chi"), [over]);
        assert_eq!(s.channel().matches("cancelled").count(), 1, "{}", s.channel());
    });
}

#[test]
fn a_finished_line_deploys_its_build_again_where_that_is_still_possible() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.ci_announces(build("master-2")).await;
        s.runner.will_print(&["no"], 3);
        s.presses("ana", "master-1", "Staging").await;
        s.runner.will_print(&["yes"], 0);
        s.chooses("ben", "*failed*", "Deploy again").await;
        assert!(s.channel().contains("<@U0BEN00001> → *Staging*: :white_check_mark: *succeeded*"), "{}", s.channel());
        s.presses("ana", "master-2", "Staging").await;
        protects(s, "Staging", true).await;
        // It is asked back as a command is: of an older build, and of a protected environment.
        let first = "<@U0BEN00001> → *Staging*: :white_check_mark: *succeeded*";
        s.chooses("chi", first, "Deploy again").await;
        s.told_only("chi", "Staging runs master-2, and master-1 is older. Shall it go from master-2 to master-1?")
            .await;
        let second = "<@U0ANA00001> → *Staging*: :white_check_mark: *succeeded*";
        s.chooses("chi", second, "Deploy again").await;
        s.told_only("chi", "Staging is protected, so a press is asked back first.").await;
        s.chooses("chi", second, "Roll back …").await;
        s.told_only("chi", "Staging runs master-2. Before it, master-1 went well there.").await;
        s.presses_in_answer("chi", "Deploy master-1 to Staging").await;
        assert!(s.channel().contains("<@U0CHI00001> → *Staging*: :white_check_mark: *succeeded*"), "{}", s.channel());
        s.app.change_environment(s.project(), "Staging", EnvironmentChange::Archive, &operator()).await.unwrap();
        s.chooses("ben", "<@U0CHI00001> → *Staging*: :white_check_mark: *succeeded*", "Deploy again").await;
        assert!(s.private_notes_of("ben")[0].starts_with("The environment Staging does not exist any more"));
    });
}

#[test]
fn a_choice_in_a_menu_that_is_not_ours_or_elsewhere_changes_nothing() {
    story(async |s| {
        s.standin.workspace().add_channel("C0FORMER01", "former");
        s.ci_announces(build("master-1")).await;
        s.runner.hold();
        s.presses("ana", "master-1", "Staging").await;
        let choice = |s: &Story| s.choice_of("ben", "*running*", "Cancel …");
        s.deliver_changed(&choice(s), |p| p["message"]["app_id"] = "A0FOREIGN1".into()).await;
        s.deliver_changed(&choice(s), |p| p["channel"]["id"] = "C0FORMER01".into()).await;
        s.deliver_changed(&choice(s), |p| p["actions"][0]["value"] = "v1.cancel.5".into()).await;
        let unknown = format!("v1.cancel.{}", uuid::Uuid::from_u128(5));
        s.deliver_changed(&choice(s), |p| p["actions"][0]["value"] = unknown.into()).await;
        let notes = s.private_notes_of("ben");
        assert!(notes.iter().any(|n| n.contains("not on a message of this coolops")), "{notes:?}");
        assert!(
            notes.iter().any(|n| n.contains("deployed from another channel now, so nothing was done")),
            "{notes:?}"
        );
        assert_eq!(s.channel().matches("*running*").count(), 1, "{}", s.channel());
        // What takes away stays possible, whatever was archived.
        s.archive_project().await;
        s.cancels("ben", "*running*", "").await;
        s.comes_to_show("*cancelled* by <@U0BEN00001>").await;
    });
}

#[test]
fn a_newer_press_takes_the_place_of_those_that_wait_where_that_is_wanted() {
    story(async |s| {
        for n in 1..=4 {
            s.ci_announces(build(&format!("master-{n}"))).await;
        }
        let superseding = |on| EnvironmentChange::Supersede(on);
        s.app.change_environment(s.project(), "Staging", superseding(true), &operator()).await.unwrap();
        s.runner.hold();
        for (user, n) in [("ana", 1), ("ben", 2), ("chi", 3)] {
            s.presses(user, &format!("master-{n}"), "Staging").await;
        }
        assert!(
            s.channel().contains("*Staging*: :no_entry_sign: *cancelled*: superseded by master-3"),
            "{}",
            s.channel()
        );
        assert_eq!(s.channel().matches("*queued* behind *master-1*").count(), 1, "{}", s.channel());
        assert_eq!(s.channel().matches("*running*").count(), 1, "what runs is left alone:\n{}", s.channel());
        // Under a lock too: the newest waits for it, the older ones make room.
        s.writes("ana", "lock staging").await;
        s.container_ends("master-1", 0).await;
        s.presses("ben", "master-4", "Staging").await;
        let waits = "*queued*, waits for the lock of <@U0ANA00001>";
        assert_eq!(s.channel().matches(waits).count(), 1, "{}", s.channel());
        assert!(s.channel().contains("superseded by master-4"), "{}", s.channel());
        s.writes("ana", "unlock staging").await;
        s.container_ends("master-4", 0).await;
        // Elsewhere they wait in their order.
        s.presses("ana", "master-1", "Production").await;
        s.presses("ben", "master-2", "Production").await;
        s.presses("chi", "master-3", "Production").await;
        assert_eq!(s.channel().matches("superseded").count(), 2, "{}", s.channel());
        for n in 1..=3 {
            s.container_ends(&format!("master-{n}"), 0).await;
        }
    });
}

#[test]
fn a_deployment_is_cancelled_with_a_reason_that_a_dialog_asks_for() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.runner.hold();
        s.presses("ana", "master-1", "Staging").await;
        s.cancels("ben", "*running*", "wrong <!channel> *branch*").await;
        s.comes_to_show("*cancelled* by <@U0BEN00001>: wrong <!channel> ∗branch∗ (exit code 143)").await;
        assert_eq!(s.standin.workspace().calls.iter().filter(|c| c.method == "views.open").count(), 1);
        // Of what has ended nobody is asked why it shall end.
        s.presses("ana", "master-1", "Production").await;
        let late = s.choice_of("chi", "*running*", "Cancel …");
        s.container_ends("master-1", 0).await;
        assert_eq!(s.deliver(&late).await, 200);
        s.settle().await;
        assert_eq!(read::dialog(&s.standin.workspace(), "chi"), None);
        let over = "master-1 on Production has ended already (succeeded): there is nothing to stop.";
        assert_eq!(s.private_notes_of("chi"), [over]);
    });
}

#[test]
fn a_dialog_that_slack_does_not_open_or_that_is_filled_in_too_late_says_so() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.runner.hold();
        s.presses("ana", "master-1", "Staging").await;
        for word in ["expired_trigger_id", "internal_error"] {
            s.standin.workspace().plan("views.open", Fault::Error(word.into()), 1);
            assert_eq!(s.deliver(&s.choice_of("ben", "*running*", "Cancel …")).await, 200);
            s.told_only("ben", "Slack did not open the dialog, so nothing was cancelled. Press again, or write: /coolops cancel Staging because …").await;
            s.standin.workspace().channels[0].messages.retain(|m| m.only_for.is_none());
        }
        assert_eq!(s.channel().matches("*running*").count(), 1, "{}", s.channel());
        // Longer than a client of Slack's lets through.
        let long = s.cancel_of("ben", "*running*", &"y".repeat(501)).await;
        let (status, said) = s.deliver_and_read(&long).await;
        assert_eq!((status.as_u16(), &said["response_action"]), (200, &"errors".into()));
        assert_eq!(said["errors"]["reason"], "That is too long: 500 characters at most.");
        let late = s.cancel_of("ben", "*running*", "late").await;
        s.container_ends("master-1", 0).await;
        assert_eq!(s.deliver(&late).await, 200);
        s.settle().await;
        let over = "master-1 on Staging has ended already (succeeded): there is nothing to stop.";
        assert_eq!(s.private_notes_of("ben"), [over]);
        // A dialog of somebody else's app, and one that says nothing of ours.
        for (callback, about) in [("other", "{}"), ("cancel", "{}"), ("cancel", "nonsense")] {
            let view =
                serde_json::json!({ "callback_id": callback, "private_metadata": about, "state": { "values": {} } });
            let user = serde_json::json!({ "id": "U0BEN00001", "username": "ben", "team_id": "T0DEMO0001" });
            let payload = serde_json::json!({ "type": "view_submission", "user": user, "view": view });
            let body = serde_urlencoded::to_string([("payload", payload.to_string())]).unwrap();
            assert_eq!(s.deliver(&s.standin.shared().sign(body)).await, 200, "{callback} {about}");
        }
    });
}

#[test]
fn whoever_agreed_to_the_end_of_what_waited_is_asked_anew_where_it_has_started() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.ci_announces(build("master-2")).await;
        s.runner.hold();
        s.presses("ana", "master-1", "Staging").await;
        s.presses("ben", "master-2", "Staging").await;
        let agreed = s.cancel_of("chi", "*queued* behind *master-1*", "not yet").await;
        let asked = read::dialog(&s.standin.workspace(), "chi").unwrap();
        assert_eq!(asked, "Cancel it? master-2 on Staging: it waits, and will not start. [Cancel it] [Let it be]");
        s.container_ends("master-1", 0).await;
        s.comes_to_show("*running*").await;
        let (status, said) = s.deliver_and_read(&agreed).await;
        assert_eq!(said["response_action"], "update", "{said}");
        let id = s.standin.workspace().dialogs[0].id.clone();
        s.standin.shared().answered_dialog(&id, status.as_u16(), &said.to_string()).unwrap();
        let asked = read::dialog(&s.standin.workspace(), "chi").unwrap();
        assert_eq!(
            asked,
            "Cancel it? It has started meanwhile. master-2 on Staging: its container gets SIGTERM, and SIGKILL 10 s later. What it did stays done. [Cancel it] [Let it be]"
        );
        s.settle().await;
        assert_eq!(s.channel().matches("*running*").count(), 1, "nothing was cancelled:\n{}", s.channel());
        // Whoever agrees to that too has it cancelled.
        let agreed = s.standin.shared().signed_submission(&id, &[("reason", "not yet")]).unwrap();
        assert_eq!(s.deliver(&agreed).await, 200);
        s.comes_to_show("*cancelled* by <@U0CHI00001>: not yet (exit code 143)").await;
    });
}

#[test]
fn whoever_presses_where_the_app_is_no_member_any_more_hears_directly_why_nothing_happened() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.runner.hold();
        s.presses("ana", "master-1", "Staging").await;
        let press = s.press_of("ben", "master-1", "Staging");
        s.standin.workspace().channels[0].is_member = false;
        assert_eq!(s.deliver(&press).await, 200);
        s.settle().await;
        let said = s.last_seen_only_by("ben");
        assert!(said.starts_with("master-1 is already running on Staging"), "{said}");
        assert!(said.ends_with("It was started by <@U0ANA00001>. (You pressed it in <#C0DEPLOYS1>.)"), "{said}");
        let direct = {
            let workspace = s.standin.workspace();
            let mut all = workspace.channels.iter();
            all.find(|c| c.messages.iter().any(|m| read::message(m) == said)).unwrap().with.clone()
        };
        assert_eq!(direct.as_deref(), Some("U0BEN00001"));
        // Where that is refused too nobody tries for ever.
        s.standin.workspace().plan("conversations.open", Fault::Error("missing_scope".into()), 100);
        assert_eq!(s.deliver(&s.press_of("chi", "master-1", "Staging")).await, 200);
        s.settle().await;
        assert_eq!(s.last_seen_only_by("chi"), "");
    });
}

#[test]
fn a_cancel_button_of_an_older_message_goes_on_working() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.runner.hold();
        s.presses("ana", "master-1", "Staging").await;
        let press = s.choice_of("ben", "*running*", "Cancel …");
        let as_before = |p: &mut serde_json::Value| {
            let value = p["actions"][0]["value"].as_str().unwrap().replace("v1.ask_cancel.", "v1.cancel.");
            p["actions"][0]["value"] = value.into();
        };
        s.deliver_changed(&press, as_before).await;
        s.comes_to_show("*cancelled* by <@U0BEN00001> (exit code 143)").await;
    });
}

#[test]
fn who_only_opens_a_log_is_told_nothing() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.presses("ana", "master-1", "Staging").await;
        assert_eq!(s.deliver(&s.choice_of("ben", "*succeeded*", "See logs")).await, 200);
        s.settle().await;
        assert_eq!(s.last_seen_only_by("ben"), "");
    });
}
