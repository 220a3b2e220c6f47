//! Stories of who may do what.

use coolops::domain::deployment::Person;
use coolops::domain::installation::Installation;
use coolops::domain::rights::{Rights, Who};
use coolops::domain::settings::EnvironmentChange;
use coolops_lab::standin::workspace::{Fault, TEAM};

use crate::snapshot;
use crate::story::{Story, build, operator, story};

const OPS: &str = "S0OPS00001";

fn ops() -> Who {
    Who::Group { id: OPS.to_owned(), handle: Some("ops".to_owned()) }
}

fn user(id: &str) -> Who {
    Who::User { id: id.to_owned(), name: None }
}

fn times(all: &str, words: &str) -> usize {
    all.matches(words).count()
}

async fn allow(s: &Story, environment: &str, rights: Rights) {
    let change = EnvironmentChange::Allow { rights, was: None };
    s.app.change_environment(s.project(), environment, change, &operator()).await.unwrap();
}

/// Who is in the group from now on.
fn group_is(s: &Story, users: &[&str]) {
    s.standin.workspace().groups[0].users = users.iter().map(|u| (*u).to_owned()).collect();
}

#[test]
fn only_who_is_named_or_in_a_group_that_is_may_deploy() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        allow(s, "Production", Rights { deploy: Some(vec![ops()]), ..Rights::default() }).await;
        s.presses("ben", "master-1", "Production").await;
        assert_eq!(s.private_notes_of("ben"), ["You may not deploy to Production: only @ops may."]);
        s.presses("ben", "master-1", "Staging").await;
        s.presses("ana", "master-1", "Production").await;
        assert_eq!(times(&s.channel(), "*succeeded*"), 2, "{}", s.channel());
        assert_eq!(
            s.writes("ben", "deploy master-1 to production").await,
            "You may not deploy to Production: only @ops may."
        );
        s.chooses("ben", "<@U0ANA00001> → *Production*", "Deploy again").await;
        assert_eq!(times(&s.private_notes_of("ben").join(" "), "only @ops may"), 3);
        let told = s.writes("ben", "who production").await;
        snapshot!("who_may_do_what", told);
        let told = s.writes("ana", "who production").await;
        assert!(told.contains("deploy: *@ops* (you may, being in *@ops*)"), "{told}");
        assert_eq!(s.runner.starts().len(), 2);
    });
}

#[test]
fn who_may_lock_and_stop_is_named_as_well_and_who_administers_is_not_asked_back() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        let rights = Rights {
            lock: Some(vec![user("U0BEN00001")]),
            stop: Some(vec![]),
            administer: vec![ops()],
            ..Rights::default()
        };
        allow(s, "Staging", rights).await;
        assert_eq!(s.writes("chi", "lock staging").await, "You may not lock Staging: only U0BEN00001 and @ops may.");
        s.writes("ben", "lock staging because of a release").await;
        let told = s.writes("chi", "unlock staging").await;
        assert_eq!(told, "You may not lock Staging: only U0BEN00001 and @ops may.", "nor take it away");
        s.runner.hold();
        s.writes("ana", "unlock staging").await;
        assert!(s.channel().contains(":unlock: *Staging* is unlocked by ana"), "not asked back:\n{}", s.channel());
        assert!(s.direct("ben").contains("took away your lock of *Staging*"), "{}", s.direct("ben"));
        s.presses("ben", "master-1", "Staging").await;
        // Who may not is told so, and is not asked why.
        s.chooses("chi", "<@U0BEN00001> → *Staging*: *running*", "Cancel …").await;
        let note = "You may not stop the deployments of others on Staging: only @ops may.";
        assert_eq!(s.private_notes_of("chi").last().unwrap(), note);
        s.cancels("ben", "<@U0BEN00001> → *Staging*: *running*", "").await;
        s.comes_to_show("*cancelled* by <@U0BEN00001>").await;
        s.presses("chi", "master-1", "Staging").await;
        s.cancels("ana", "<@U0CHI00001> → *Staging*: *running*", "").await;
        s.comes_to_show("*cancelled* by <@U0ANA00001>").await;
    });
}

#[test]
fn who_may_not_any_more_when_their_turn_comes_is_refused_and_the_next_one_runs() {
    story(async |s| {
        for n in 1..=3 {
            s.ci_announces(build(&format!("master-{n}"))).await;
        }
        s.runner.hold();
        s.presses("ana", "master-1", "Staging").await;
        s.presses("ben", "master-2", "Staging").await;
        s.presses("ana", "master-3", "Staging").await;
        allow(s, "Staging", Rights { deploy: Some(vec![ops()]), ..Rights::default() }).await;
        s.container_ends("master-1", 0).await;
        s.comes_to_show("<@U0BEN00001> → *Staging*: :no_entry_sign: *refused*: only @ops may").await;
        s.comes_to_show("<@U0ANA00001> → *Staging*: *running*").await;
        s.settle().await;
        assert!(
            s.direct("ben").contains("*master-2* → *Staging*: :no_entry_sign: *refused*: only @ops may"),
            "{}",
            s.direct("ben")
        );
        assert_eq!(s.runner.starts(), vec![1, 1], "what was refused never ran");
        s.container_ends("master-3", 0).await;
    });
}

#[test]
fn who_lost_the_workspace_between_press_and_start_is_refused_and_the_next_one_runs() {
    story(async |s| {
        for n in 1..=3 {
            s.ci_announces(build(&format!("master-{n}"))).await;
        }
        s.runner.hold();
        s.presses("ana", "master-1", "Staging").await;
        s.presses("ben", "master-2", "Staging").await;
        s.presses("ana", "master-3", "Staging").await;
        s.standin.workspace().users[1].has_left = true;
        // What Slack said of somebody counts for five minutes.
        s.database.set_clock(301).await;
        s.app.store.keep_clock().await.unwrap();
        s.container_ends("master-1", 0).await;
        let refused =
            "<@U0BEN00001> → *Staging*: :no_entry_sign: *refused*: guests, bots and people who have left may not";
        s.comes_to_show(refused).await;
        s.comes_to_show("<@U0ANA00001> → *Staging*: *running*").await;
        assert_eq!(s.runner.starts(), vec![1, 1], "what was refused never ran");
        s.container_ends("master-3", 0).await;
    });
}

#[test]
fn people_of_other_workspaces_and_guests_may_not_unless_it_is_said() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.standin.workspace().users[2].is_guest = true;
        s.presses("chi", "master-1", "Staging").await;
        assert_eq!(
            s.private_notes_of("chi"),
            ["You may not deploy to Staging: guests, bots and people who have left may not."]
        );
        // Of another workspace, with the id of one of ours.
        let press = s.press_of("ben", "master-1", "Staging");
        s.deliver_changed(&press, |payload| payload["user"]["team_id"] = "T0OTHER001".into()).await;
        assert_eq!(s.private_notes_of("ben"), ["You may not deploy to Staging: people of other workspaces may not."]);
        assert!(s.runner.starts().is_empty());
        let rights = Rights { other_workspaces: true, guests: true, ..Rights::default() };
        allow(s, "Staging", rights).await;
        s.presses("chi", "master-1", "Staging").await;
        let press = s.press_of("ben", "master-1", "Staging");
        s.deliver_changed(&press, |payload| payload["user"]["team_id"] = "T0OTHER001".into()).await;
        assert_eq!(times(&s.channel(), "*succeeded*"), 2, "{}", s.channel());
        let teams = "select count(*) from event where type = 'deployment_requested' and payload->'requested_by'->>'team' = 'T0OTHER001'";
        assert_eq!(s.database.count(teams).await, 1, "their own workspace is recorded");
    });
}

#[test]
fn a_group_that_is_gone_or_empty_is_nobody_and_one_that_can_not_be_asked_about_counts_for_an_hour() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        let gone = Who::Group { id: "S0GONE0001".to_owned(), handle: Some("gone".to_owned()) };
        allow(s, "Production", Rights { deploy: Some(vec![gone]), ..Rights::default() }).await;
        s.presses("ana", "master-1", "Production").await;
        assert_eq!(s.private_notes_of("ana"), ["You may not deploy to Production: only @gone may."]);
        allow(s, "Production", Rights { deploy: Some(vec![ops()]), ..Rights::default() }).await;
        // Never asked about, and Slack does not answer.
        s.standin.workspace().plan("usergroups.users.list", Fault::Status(503), 1);
        s.presses("ana", "master-1", "Production").await;
        let note = "You may not deploy to Production: who is in @ops may, and Slack does not say who that is.";
        assert_eq!(s.private_notes_of("ana").last().unwrap(), note);
        // Answered half an hour ago, it counts; two hours ago it does not, nor in an hour.
        let answered = |ago: &str| {
            format!(
                "insert into slack_person (id, doc, asked_at) values ('{OPS}', '{{\"members\": [\"U0ANA00001\"]}}', clock_timestamp() - interval '{ago}')
                 on conflict (id) do update set doc = excluded.doc, asked_at = excluded.asked_at"
            )
        };
        for ago in ["2 hours", "-2 hours"] {
            s.database.execute(&answered(ago)).await;
            s.presses("ana", "master-1", "Production").await;
            assert_eq!((s.private_notes_of("ana").last().unwrap().as_str(), s.runner.starts().len()), (note, 0));
        }
        s.database.execute(&answered("30 minutes")).await;
        s.presses("ana", "master-1", "Production").await;
        assert_eq!(s.runner.starts().len(), 1, "{}", s.channel());
    });
}

#[test]
fn slack_is_asked_who_is_in_a_group_once_in_five_minutes() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        allow(s, "Staging", Rights { deploy: Some(vec![ops()]), ..Rights::default() }).await;
        for _ in 0..3 {
            s.presses("ana", "master-1", "Staging").await;
        }
        let asked = |s: &Story, method: &str| s.standin.workspace().calls.iter().filter(|c| c.method == method).count();
        assert_eq!((asked(s, "usergroups.users.list"), asked(s, "users.info")), (1, 1));
        group_is(s, &[]);
        s.presses("ana", "master-1", "Staging").await;
        assert_eq!(s.runner.starts().len(), 4, "so long the answer counts");
        s.database.set_clock(301).await;
        s.app.store.keep_clock().await.unwrap();
        let project = s.app.project_named("api").await.unwrap();
        let ana = Person { team: TEAM.to_owned(), user: "U0ANA00001".to_owned(), name: "ana".to_owned() };
        let known = s
            .app
            .known(
                &Installation::default(),
                std::slice::from_ref(&project.environment_named("Staging").unwrap().rights),
                &ana,
            )
            .await
            .unwrap();
        assert_eq!((asked(s, "usergroups.users.list"), known.groups[OPS]), (2, false), "and no longer");
    });
}
