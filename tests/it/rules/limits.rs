//! Rendering for any input: what comes out is always something that Slack takes.

use chrono::DateTime;
use coolops::domain::build::{ButtonFor, Entry, Source};
use coolops::domain::deployment::{Failure, State};
use coolops::domain::ids::{BuildId, EnvironmentId, ProjectId};
use coolops::keys::{Keyring, Links};
use coolops::projections::build_card::BuildCard;
use coolops::projections::standing::Standing;
use coolops::projections::timed::Timed;
use coolops::slack::answer::{Answer, Whereabouts};
use coolops::slack::render;
use coolops_lab::standin::validate;
use proptest::prelude::*;
use uuid::Uuid;

use crate::snapshot;
use crate::story::given;

fn links() -> Links {
    let keys = Keyring::new(&"MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=".to_owned().into(), &[]).unwrap();
    let id = keys.new_link_key();
    let master = id.split('-').next().unwrap();
    keys.links(&format!("{master}-test")).unwrap()
}

fn card(environments: usize, metadata: Vec<(String, String)>, lines: Vec<Timed>, name: &str) -> BuildCard {
    BuildCard {
        build_id: BuildId(Uuid::from_u128(4)),
        project_id: ProjectId(Uuid::from_u128(1)),
        project_name: "Api".into(),
        build_name: name.into(),
        metadata: metadata.into_iter().map(|(name, value)| Entry { name, value }).collect(),
        source: None,
        environments: (0..environments)
            .map(|n| ButtonFor {
                id: EnvironmentId(Uuid::from_u128(100 + n as u128)),
                name: format!("Environment {n}"),
                protected: false,
            })
            .collect(),
        channel: "C1".into(),
        public_url: "https://coolops.test".into(),
        link_key: "k-1".into(),
        registered_at: DateTime::from_timestamp(1_715_000_000, 0).unwrap(),
        lines,
        posted: vec![],
        version: 7,
    }
}

fn line(n: u128, state: State) -> Timed {
    given::deployment(n, &format!("Environment {n}"), state)
}

fn judge(card: &BuildCard) -> serde_json::Value {
    let payload = serde_json::to_value(render::render(card, &links())).unwrap();
    for (what, found) in [
        ("blocks", validate::blocks(&payload["blocks"])),
        ("attachments", validate::attachments(&payload["attachments"])),
        ("blocks over all of it", validate::together(&payload["blocks"], &payload["attachments"])),
        ("metadata", validate::metadata(&payload["metadata"])),
    ] {
        assert_eq!(found, Ok(()), "Slack would refuse the {what} of {payload}");
    }
    let text = payload["text"].as_str().unwrap();
    assert!(!text.is_empty() && text.chars().count() < 4_000, "the fallback has {} characters", text.chars().count());
    payload
}

#[test]
fn the_message_of_every_state_as_slack_gets_it() {
    let lines = State::ALL.into_iter().zip(1..).map(|(state, n)| line(n, state)).collect();
    let payload = judge(&card(2, vec![("Job url".into(), "https://ci.example.com/7".into())], lines, "master-42"));
    snapshot!("block_kit_of_every_state", serde_json::to_string_pretty(&payload).unwrap());
}

/// What each version of the renderer makes of every state. When this is red, raise `RENDER_VERSION` and add a line:
/// messages that the version before rendered are not rendered anew with the new one when they are audited.
const RENDERED: &[(i32, &str)] = &[
    (2, "6a9b167c9ab0986cf4e558dc856e32f219cdea989534cc7406ec44e76be0bd82"),
    (3, "7684141cc336dd08eed7eb63d73e98664768728222d56bc5bd1ad324ae450400"),
    (4, "5559d48805ee0fa24f0e04e50004061c119a1f894e986ebbb1bde646b2a70a83"),
    (5, "852387cf6bba0b0a2e0287fd2f257551664650c8cd580eb03f6d33620042751d"),
    (6, "377a1313b4b1067bf63c36ccf3c0764baee519f9fea9064e7a871478354c3a03"),
    (7, "71310f9534ebb757d60b69c4b19fc822f4930f04e74cab1b197a3048dd3c4ab3"),
    // How long what a person decided on ran.
    (8, "71310f9534ebb757d60b69c4b19fc822f4930f04e74cab1b197a3048dd3c4ab3"),
    // When what a person decided on ended.
    (9, "71310f9534ebb757d60b69c4b19fc822f4930f04e74cab1b197a3048dd3c4ab3"),
    // That SIGKILL ended it, without a guess at why SIGTERM did not.
    (10, "eb2fdaa7f73c267f59c86881edd8c3abb84825a4c3100a317311fb4cf9d82768"),
];

#[test]
fn another_rendering_is_another_version() {
    let states = State::ALL.into_iter().zip(1..).map(|(state, n)| line(n, state));
    let all =
        |lines: Vec<Timed>| card(2, vec![("Job url".into(), "https://ci.example.com/7".into())], lines, "master-42");
    let posted_again = BuildCard { posted: vec!["1.1".into(), "2.2".into()], ..all(vec![]) };
    let cards = [all(states.collect()), all(given::with_more_to_tell()), posted_again];
    let keys = Keyring::new(&"MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=".to_owned().into(), &[]).unwrap();
    let master = keys.new_link_key();
    let links = keys.links(&format!("{}-pinned", master.split('-').next().unwrap())).unwrap();
    let both =
        |card| format!("{}{}", render::render(card, &links).bytes(), render::render_plainly(card, &links).bytes());
    let digest = hex::encode(render::digest(&cards.iter().map(both).collect::<String>()));
    assert_eq!(
        RENDERED.last(),
        Some(&(render::RENDER_VERSION, digest.as_str())),
        "raise RENDER_VERSION, and say so here"
    );
    assert!(RENDERED.windows(2).all(|two| two[0].0 < two[1].0));
}

#[test]
fn what_a_phone_says_of_every_state_is_the_latest_fact_whole() {
    let text = |lines| judge(&card(2, vec![], lines, "main-42"))["text"].as_str().unwrap().to_owned();
    let of = |state| text(vec![line(2, state)]);
    let said: Vec<String> = [text(vec![])]
        .into_iter()
        .chain(State::ALL.map(of))
        .chain(given::with_more_to_tell().into_iter().map(|line| text(vec![line])))
        .collect();
    snapshot!("what_a_phone_says", said.join("\n"));
    // An older deployment that ends later is the news.
    let (mut older, newer) = (line(1, State::Failed), line(2, State::Succeeded));
    older.since = newer.since + chrono::TimeDelta::seconds(1);
    assert!(text(vec![older, newer]).starts_with("Api main-42: Environment 1 failed"));
}

#[test]
fn what_is_told_beside_a_state_as_slack_gets_it() {
    let payload = judge(&card(2, vec![], given::with_more_to_tell(), "master-42"));
    let lines =
        payload["attachments"].as_array().unwrap().iter().filter_map(|a| a["blocks"][0]["text"]["text"].as_str());
    snapshot!("lines_with_more_to_tell", lines.collect::<Vec<_>>().join("\n"));
}

#[test]
fn sixty_environments_are_a_menu_and_two_hundred_and_fifty_are_groups() {
    let menu = judge(&card(60, vec![], vec![], "m"));
    assert_eq!(menu["blocks"][2]["elements"][0]["options"].as_array().unwrap().len(), 60);
    let groups = judge(&card(250, vec![], vec![], "m"));
    assert_eq!(groups["blocks"][2]["elements"][0]["option_groups"].as_array().unwrap().len(), 3);
    let buttons = judge(&card(25, vec![], vec![], "m"));
    assert_eq!(buttons["blocks"][2]["elements"].as_array().unwrap().len(), 25);
    judge(&card(0, vec![], vec![], "m"));
}

#[test]
fn eighty_fields_of_three_kilobytes_fit() {
    let metadata = (0..80).map(|n| (format!("Field {n}"), "&".repeat(3_000))).collect();
    let payload = judge(&card(20, metadata, vec![], "m"));
    assert!(payload.to_string().contains("and 74 more fields"), "{payload}");
    let emoji = (0..80).map(|n| (format!("Field {n}"), "👨‍👩‍👧‍👦".repeat(300))).collect();
    let payload = judge(&card(25, emoji, vec![], &"👨‍👩‍👧‍👦".repeat(200)));
    assert!(!payload.to_string().contains('\u{fffd}'));
}

#[test]
fn what_ci_told_in_short_is_one_line_with_links_and_a_commits_message_is_whole() {
    let known = [
        ("Branch", "feature/login"),
        ("Run", "https://ci.example.com/runs/7?a=1&b=2"),
        ("Commit", "9c3f1a2"),
        ("Author", "*Ada* <!channel>"),
        ("Pull request", "https://github.com/o/r/pull/42"),
        ("Message", "Fix the fog\n\nIt was foggy."),
        ("Cost", "3"),
        ("branch", "another"),
    ];
    let metadata: Vec<_> = known.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let repository = Some("https://github.com/o/r".to_owned());
    let source = Some(Source { repository, commit: Some("9c3f1a2b4d".into()) });
    let payload = judge(&BuildCard { source, ..card(1, metadata, vec![], "main-42") });
    let text = |n: usize| payload["blocks"][n].clone();
    let line = text(1)["elements"][0]["text"].as_str().unwrap().to_owned();
    let said = "<https://github.com/o/r/tree/feature/login|feature/login> · <https://github.com/o/r/commit/9c3f1a2b4d|9c3f1a2> · \u{2217}Ada\u{2217} &lt;!channel&gt; · <https://github.com/o/r/pull/42|PR 42> · <https://ci.example.com/runs/7?a=1&amp;b=2|CI run> · ";
    assert!(line.starts_with(said), "{line}");
    assert!(line.ends_with("|All about this build>"), "{line}");
    assert_eq!(text(2)["text"]["text"], "Fix the fog\n\nIt was foggy.");
    let fields: Vec<&str> =
        payload["blocks"][3]["fields"].as_array().unwrap().iter().map(|f| f["text"].as_str().unwrap()).collect();
    assert_eq!(fields, ["*Cost*\n3", "*branch*\nanother"], "the second of two with one name is a field");
    // Whatever is said under those names, Slack takes it.
    let hostile = |value: &str| IN_LINE.iter().map(|name| ((*name).to_owned(), value.to_owned())).collect::<Vec<_>>();
    for value in [
        format!("https://ci.example.com/?{}", "&".repeat(470)),
        format!("https://ci.example.com/?{}", "&".repeat(3_000)),
        "<".repeat(80),
        "👨‍👩‍👧‍👦".repeat(300),
        "a\nb".to_owned(),
        "*~_`".to_owned(),
    ] {
        judge(&card(25, [hostile(&value), hostile(&value)].concat(), vec![], "m"));
    }
}

/// Names that CI gives to what stands in one line.
const IN_LINE: [&str; 8] = ["Workflow", "Branch", "Tag", "Commit", "Author", "Pull request", "Run", "Message"];

#[test]
fn thirty_environments_that_all_run_are_all_told() {
    for open in [1, 10, 16, 17, 20, 30] {
        let lines = (1..=open).map(|n| given::deployment(n, &format!("Region {n}."), State::Running)).collect();
        let payload =
            judge(&card(30, vec![("Job url".into(), "https://ci.example.com/7".into())], lines, "m")).to_string();
        for n in 1..=open {
            assert!(payload.contains(&format!("Region {n}.")), "{n} of {open} is missing");
        }
        assert_eq!(payload.matches("*running*").count(), usize::try_from(open).unwrap(), "of {open}");
    }
}

#[test]
fn five_hundred_deployments_show_the_open_ones_and_the_newest() {
    let mut lines: Vec<Timed> =
        (1..=500).map(|n| line(n, if n % 3 == 0 { State::Failed } else { State::Succeeded })).collect();
    lines[5] = line(6, State::Running);
    let payload = judge(&card(2, vec![], lines, "m"));
    let attachments = payload["attachments"].as_array().unwrap();
    assert_eq!(attachments.len(), 17, "15 whole, older ones folded, the rest counted: Slack takes 50 blocks");
    assert!(attachments[0].to_string().contains("Environment 500"), "the newest is first: {}", attachments[0]);
    assert!(attachments[14].to_string().contains("*running*"), "and one that runs stays: {}", attachments[14]);
    let folded = attachments[15]["blocks"][0]["elements"][0]["text"].as_str().unwrap();
    let (shown, rest) = (folded.lines().count(), 500 - 15 - folded.lines().count());
    assert!(shown > 10 && folded.contains("Environment 486"), "{folded}");
    assert!(attachments[16].to_string().contains(&format!("and {rest} other deployments")), "{}", attachments[16]);
    let open = (1..=300).map(|n| line(n, State::Queued)).collect();
    judge(&card(2, vec![], open, "m"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_text_at_all_gives_a_message_that_slack_takes(
        name in "\\PC{1,200}", key in "\\PC{1,100}", value in any::<String>(), found in any::<String>(), environments in 0_usize..40,
        known in proptest::sample::select(vec!["Workflow", "Branch", "TAG", "commit", "Author", "Pull request", "Run", "Message"]),
    ) {
        let failed = given::failed(1, &key, Failure::PullFailed { detail: found });
        let payload = judge(&card(environments, vec![(key, value.clone()), (known.to_owned(), value), ("empty".into(), String::new())], vec![failed], &name)).to_string();
        let hidden = ['\u{202e}', '\u{200b}'];
        prop_assert!(!payload.contains(hidden));
    }
}

#[test]
fn an_answer_stays_within_what_slack_takes_however_much_there_is() {
    let standing = |n: usize| Standing {
        environment: EnvironmentId(Uuid::from_u128(n as u128)),
        name: format!("{} {n}", "&".repeat(50)),
        protected: true,
        locks: vec![],
        good: Some(line(1, State::Succeeded)),
        failed: Some(line(2, State::Failed)),
        open: vec![line(3, State::Running), line(4, State::Queued)],
    };
    let project = |n: usize| Whereabouts {
        project: format!("Project {n}"),
        url: Some("https://coolops.test/projects/x?key=y".into()),
        standings: (0..40).map(standing).collect(),
    };
    let projects: Vec<Whereabouts> = (0..10).map(project).collect();
    let more: Vec<String> = (0..190).map(|n| format!("project-{n}-{}", "<".repeat(40))).collect();
    let answer =
        Answer::Status { projects: projects.clone(), more: more.clone(), of: None }.render("/coolops").unwrap();
    assert_eq!(validate::blocks(&answer["blocks"]), Ok(()));
    let text = answer["blocks"].to_string();
    assert!(text.contains("*Project 0*") && text.contains(" more\""), "of a large project the beginning: {text}");
    assert!(text.contains("Name one of these to see it too: Project "), "and the others by name: {text}");
    assert_eq!(validate::blocks(&Answer::Shown { projects, more }.render("/coolops").unwrap()["blocks"]), Ok(()));
}
