//! Stories of people who write `/coolops …`.

use coolops::domain::settings::EnvironmentChange;

use crate::snapshot;
use crate::story::{Story, build, operator, story};

/// A channel with three builds, of which the second runs in Production and the first ran there before.
async fn rolled_out(s: &Story) {
    for n in 1..=3 {
        s.ci_announces(build(&format!("master-{n}"))).await;
    }
    s.presses("ana", "master-1", "Production").await;
    s.presses("ben", "master-2", "Production").await;
}

#[test]
fn help_says_what_there_is_and_nothing_else_is_shown_to_others() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        let help = s.writes("ana", "").await;
        assert_eq!(s.writes("ana", "HELP").await, help);
        snapshot!("commands_help", help);
        assert!(!s.channel().contains("/coolops"), "{}", s.channel());
    });
}

#[test]
fn status_says_what_is_where_and_is_shown_to_everybody_on_demand() {
    story(async |s| {
        rolled_out(s).await;
        s.runner.will_print(&["no"], 3);
        s.presses("ana", "master-3", "Production").await;
        s.runner.will_print(&["yes"], 0);
        s.runner.hold();
        s.presses("chi", "master-2", "Staging").await;
        s.presses("ana", "master-3", "Staging").await;
        let told = s.writes("ben", "status").await;
        snapshot!("commands_status", told.clone());
        assert_eq!(s.writes("ben", "status ap").await, told);
        let before = s.channel();
        s.presses_in_answer("ben", "Show to everybody").await;
        s.comes_to_show("*Api* · (its page)").await;
        let shown = s.channel().replace(&before, "");
        assert_eq!(shown.trim(), told.replace("[Show to everybody]", "").trim());
        assert!(!shown.contains("<@"), "nobody is pinged: {shown}");
        s.container_ends("master-2", 0).await;
        s.container_ends("master-3", 0).await;
    });
}

#[test]
fn a_build_is_deployed_by_a_command_as_by_its_button() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.ci_announces(build("master-10")).await;
        let told = s.writes("ana", "deploy \u{201c}master\u{2013}1\u{201d} to stag").await;
        assert!(
            told.starts_with(
                "*master-1* is on its way to *Staging*; its line in the build's message shows how it goes. (See logs)"
            ),
            "an exact name is meant before a beginning: {told}"
        );
        assert!(s.channel().contains("<@U0ANA00001> → *Staging*: :white_check_mark: *succeeded*"), "{}", s.channel());
        assert!(s.writes("ana", "deploy LATEST to Production").await.starts_with("*master-10* is on its way"));
        s.runner.hold();
        s.writes("ana", "deploy master-10 to staging").await;
        let refused = s.writes("ben", "deploy master-10 to staging").await;
        assert!(refused.starts_with("master-10 is already running on Staging"), "{refused}");
        assert_eq!(s.private_notes_of("ben").len(), 1, "told once");
        s.container_ends("master-10", 0).await;
        let builds = s.writes("ben", "builds").await;
        let names: Vec<&str> = builds.lines().map(|l| l.split(" · ").next().unwrap()).collect();
        assert_eq!(names, ["The newest builds of *Api*:", "*(master-10)*", "*(master-1)*"]);
        let log = s.writes("ben", "logs stag").await;
        assert!(
            log.starts_with("*master-10* → *Staging* :white_check_mark: *succeeded*") && log.ends_with("(See logs)"),
            "{log}"
        );
    });
}

#[test]
fn the_same_signed_command_is_one_deployment() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        let signed = s.standin.shared().signed_command("C0DEPLOYS1", "U0ANA00001", "deploy latest to staging").unwrap();
        for _ in 0..2 {
            assert_eq!(s.deliver_command(&signed).await.0, 200);
        }
        s.settle().await;
        assert_eq!(s.channel().matches("*succeeded*").count(), 1, "{}", s.channel());
    });
}

#[test]
fn a_protected_environment_and_an_older_build_are_asked_back_first() {
    story(async |s| {
        rolled_out(s).await;
        let asked = s.writes("ana", "deploy master-1 to production").await;
        assert_eq!(
            asked,
            "Production runs master-2, and master-1 is older. Shall it go from master-2 to master-1?\n[Deploy master-1 to Production!]"
        );
        assert_eq!(s.channel().matches("*succeeded*").count(), 2, "nothing was started");
        let protect = EnvironmentChange::Protect(true);
        s.app.change_environment(s.project(), "Production", protect, &operator()).await.unwrap();
        let asked = s.writes("ana", "deploy master-3 to production").await;
        assert_eq!(asked, "Production is protected, so a press is asked back first.\n[Deploy master-3 to Production!]");
        s.presses_in_answer("ana", "Deploy master-3 to Production").await;
        assert_eq!(s.channel().matches("*succeeded*").count(), 3, "{}", s.channel());
    });
}

#[test]
fn a_rollback_names_the_build_before_and_asks() {
    story(async |s| {
        s.ci_announces(build("master-0")).await;
        assert_eq!(s.writes("ana", "rollback prod").await, "Nothing was deployed to Production with success yet.");
        rolled_out(s).await;
        s.presses("ben", "master-2", "Production").await;
        let asked = s.writes("ana", "rollback prod").await;
        assert_eq!(
            asked,
            "Production runs master-2. Before it, master-1 went well there. Shall it go from master-2 to master-1?\n[Deploy master-1 to Production!]"
        );
        s.presses_in_answer("ana", "Deploy master-1 to Production").await;
        assert!(s.writes("ana", "status").await.contains("*Production*: *master-1* since"));
        s.presses("ana", "master-3", "Staging").await;
        let none = "Staging runs master-3; no other build went well there before.";
        assert_eq!(s.writes("ana", "rollback staging").await, none);
    });
}

#[test]
fn what_is_on_its_way_is_cancelled_by_a_command_with_a_reason() {
    story(async |s| {
        rolled_out(s).await;
        assert_eq!(s.writes("ben", "cancel staging").await, "Nothing is on its way to Staging.");
        s.runner.hold();
        s.presses("ana", "master-1", "Staging").await;
        s.presses("ana", "master-2", "Staging").await;
        let which = s.writes("ben", "cancel staging").await;
        assert_eq!(
            which,
            "Several are on their way to *Staging*. Which one shall stop?\n[Cancel master-1 (running)] [Cancel master-2 (queued)]"
        );
        s.presses_in_answer("ben", "Cancel master-2 (queued)").await;
        assert!(s.channel().contains("*cancelled* by <@U0BEN00001>"), "{}", s.channel());
        let told = s.writes("ben", "cancel staging because wrong <!channel> *branch*").await;
        assert_eq!(told, "*master-1* on *Staging* is told to stop; its line shows how it ends.");
        s.comes_to_show("*cancelled* by <@U0BEN00001>: wrong <!channel> ∗branch∗ (exit code 143)").await;
    });
}

#[test]
fn what_is_not_understood_is_answered_with_what_is_wrong_and_what_to_paste() {
    story(async |s| {
        let elsewhere = "No project's builds come to this channel. Write it where they are announced.";
        s.writes_in("C0RANDOM01", "ana", "status").await;
        assert_eq!(s.last_seen_only_by("ana"), elsewhere);
        s.writes_in("D0ANA00001", "ana", "deploy latest to production").await;
        assert_eq!(s.last_seen_only_by("ana"), elsewhere);
        s.ci_announces(build("master-1")).await;
        s.ci_announces(build("master-2")).await;
        let long = "x".repeat(3_000);
        for (written, answer) in [
            ("stauts", "There is no command \"stauts\".\nTry: `/coolops status`"),
            (
                "deploy mster-2 to production",
                "No build begins with \"mster-2\".\nTry: `/coolops deploy master-2 to production`",
            ),
            (
                "deploy master to production",
                "\"master\" can be several builds.\nTry one of these:\n`/coolops deploy master-2 to production`\n`/coolops deploy master-1 to production`",
            ),
            (
                "deploy master-1 to prodution",
                "No environment here begins with \"prodution\".\nTry: `/coolops deploy master-1 to Production`",
            ),
            (
                "deploy <!channel> to `x`",
                "No environment here begins with \"ˋxˋ\".\nTry one of these:\n`/coolops deploy <!channel> to Production`\n`/coolops deploy <!channel> to Staging`",
            ),
            (
                "status web",
                "No project whose builds come to this channel begins with \"web\".\nTry: `/coolops status api`",
            ),
            (&long, "That has 3000 characters; a command has 2000 at most.\nTry: `/coolops help`"),
        ] {
            assert_eq!(s.writes("ana", written).await, answer, "{written}");
        }
        assert_eq!(s.runner.starts(), [0; 0], "nothing was started");
        // Another workspace's person, and what Slack did not sign.
        let signed = s.standin.shared().signed_command("C0DEPLOYS1", "U0ANA00001", "status").unwrap();
        let foreign = s.standin.shared().sign(signed.body.replace("T0DEMO0001", "T0FOREIGN1"));
        assert!(s.deliver_command(&foreign).await.1.contains("This command came from another workspace"));
        let unsigned = coolops_lab::standin::press::Signed { signature: "v0=00".into(), ..signed.clone() };
        assert_eq!(s.deliver_command(&unsigned).await.0, 401);
        let nothing = s.standin.shared().sign("text=help".to_owned());
        assert_eq!(s.deliver_command(&nothing).await.0, 400);
        let check = s.standin.shared().sign("ssl_check=1&token=x".to_owned());
        assert_eq!(s.deliver_command(&check).await, (200.try_into().unwrap(), "{}".to_owned()));
    });
}

#[test]
fn where_several_projects_share_a_channel_the_project_is_named() {
    story(async |s| {
        let web =
            s.app.create_project("web", "Web shop", "registry.test/deploy:1", "C0DEPLOYS1", &operator()).await.unwrap();
        s.app.create_environment(web.id, "Production", None, &operator()).await.unwrap();
        s.app.create_environment(web.id, "Customer 7", None, &operator()).await.unwrap();
        s.ci_announces(build("master-1")).await;
        assert_eq!(
            s.writes("ana", "deploy latest to production").await,
            "\"production\" can be several environments.\nTry one of these:\n`/coolops deploy latest to api Production`\n`/coolops deploy latest to web Production`"
        );
        assert!(
            s.writes("ana", "deploy latest to AP prod").await.starts_with("*master-1* is on its way to *Production*")
        );
        assert_eq!(s.writes("ana", "deploy latest to customer").await, "Web shop has no build yet.");
        assert_eq!(s.writes("ana", "logs web shop customer 7").await, "Nothing was deployed to Customer 7 yet.");
        assert_eq!(
            s.writes("ana", "builds").await,
            "Builds of several projects come to this channel; name one.\nTry one of these:\n`/coolops builds api`\n`/coolops builds web`"
        );
        let all = s.writes("ana", "status").await;
        assert!(all.contains("*Api* · (its page)") && all.contains("*Web shop* · (its page)"), "{all}");
    });
}
