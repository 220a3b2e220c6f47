//! Witnesses: others who sign that a log only grew. Here one installation is the witness of another one.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use coolops::app::App;
use coolops::app::checkpoints::Keeping;
use coolops::app::finding::Kind;
use coolops::app::witnesses::{Witness, Witnessing};
use coolops::places::witness::Endpoint;
use coolops::proof::checkpoint::PublicKey;
use coolops::proof::cosignature::WitnessKey;
use coolops::proof::submission::Submission;
use http_body_util::BodyExt as _;
use secrecy::ExposeSecret;
use tower::ServiceExt as _;

use crate::story::anchored::Anchored;
use crate::story::{Story, build, routes, story};

/// A witness that listens, and the log that asks it.
struct Witnessed {
    anchored: Anchored,
    key: WitnessKey,
    private: String,
    address: String,
    /// The witness's shell.
    witness: Arc<App>,
    /// The log's shell.
    log: App,
}

fn key(name: &str, seed: u8) -> (WitnessKey, String) {
    let private = WitnessKey::form(name, &[seed; 32]).unwrap();
    (WitnessKey::read(&private).unwrap(), private.expose_secret().to_owned())
}

/// What a log is kept with that asks a witness at an address.
fn asking(anchored: &Anchored, key: &WitnessKey, address: &str) -> impl FnOnce(Keeping) -> Keeping {
    let witness = Witness { key: key.public().clone(), at: Endpoint::read(address).unwrap() };
    let public = PublicKey::read(&anchored.public).unwrap();
    move |before| Keeping { believed: vec![public], witnesses: vec![witness], threshold: 1, ..before }
}

/// A shell over the story's database.
fn shell(s: &Story, keeping: Keeping) -> App {
    App::new(s.app.store.clone(), s.keyring(), "https://coolops.test").keeping(keeping)
}

async fn witnessed(s: &Story) -> Witnessed {
    let anchored = Anchored::new(s);
    let (key, private) = key("witness.test", 3);
    let logs = vec![PublicKey::read(&anchored.public).unwrap()];
    let witnessing = Some(Witnessing { key: key.clone(), logs });
    let witness = Arc::new(shell(s, Keeping { witnessing, ..Keeping::default() }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/witness", listener.local_addr().unwrap());
    let served = routes(Arc::clone(&witness), Arc::default());
    tokio::spawn(async move { axum::serve(listener, served).await });
    let signer = coolops::proof::checkpoint::LogKey::read(&anchored.private.clone().into()).unwrap();
    let places = vec![coolops::places::Place::read(anchored.folder.to_str().unwrap()).unwrap()];
    let keeping = Keeping { signer: Some(signer), places, ..Keeping::default() };
    let log = shell(s, asking(&anchored, &key, &address)(keeping));
    Witnessed { anchored, key, private, address, witness, log }
}

impl Witnessed {
    /// What is called the newest checkpoint outside.
    fn newest(&self) -> String {
        std::fs::read_to_string(self.anchored.folder.join("checkpoint")).unwrap()
    }

    fn variables(&self) -> Vec<(String, String)> {
        let witness = format!("{} {}", self.key.public().text(), self.address);
        let own = self.anchored.variables().map(|(name, value)| (name.to_owned(), value.to_owned()));
        // What doctor asks for before it looks at anything.
        let slack =
            [("SLACK_BOT_TOKEN", "xoxb-test"), ("SLACK_SIGNING_SECRET", "test"), ("REDIS_URL", "redis://127.0.0.1:1")];
        let slack = slack.map(|(name, value)| (name.to_owned(), value.to_owned()));
        own.into_iter().chain(slack).chain([("COOLOPS_WITNESSES".to_owned(), witness)]).collect()
    }

    fn says(&self, s: &Story, arguments: &[&str]) -> (i32, String) {
        let variables = self.variables();
        let variables: Vec<(&str, &str)> = variables.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        let (code, told, said) = s.coolops_with(arguments, &variables);
        (code, told + &said)
    }

    /// Why the witness did not cosign.
    async fn problem(&self, s: &Story) -> String {
        let states = s.app.store.witnesses().states().await.unwrap();
        states[0].problem.clone().unwrap_or_default()
    }
}

#[test]
fn a_checkpoint_is_cosigned_each_time_the_log_grew_and_others_can_tell() {
    story(async |s| {
        let w = witnessed(s).await;
        for n in 1..=3 {
            s.ci_announces(build(&format!("master-{n}"))).await;
            w.log.checkpoint().await.unwrap().unwrap();
            assert!(w.key.public().signed(&w.newest()).is_some(), "{}", w.newest());
        }
        let report = w.log.audit(false).await.unwrap();
        assert_eq!(report.findings, []);
        let (code, said) = w.says(s, &["audit", "checkpoint"]);
        assert!(code == 0 && said.contains("— witness.test "), "{said}");
        let (_, proof) = w.says(s, &["audit", "prove", "3"]);
        let file = w.anchored.folder.join("proof.json");
        std::fs::write(&file, proof).unwrap();
        let (file, own, theirs) = (file.to_str().unwrap(), &w.anchored.public, w.key.public().text());
        let check = ["audit", "check-proof", file, "--key", own, "--witness"];
        let (code, said) = w.says(s, &[&check[..], &[&theirs]].concat());
        assert!(code == 0 && said.contains("Cosigned by 1 of 1 witnesses."), "{said}");
        let another = key("another.test", 4).0.public().text();
        let (code, said) = w.says(s, &[&check[..], &[&another]].concat());
        assert!(code == 1 && said.contains("0 of these witnesses cosigned its checkpoint; 1 have to"), "{said}");
        let (code, said) = w.says(s, &[&check[..], &[&another, "--witness", &theirs, "--threshold", "1"]].concat());
        assert!(code == 0 && said.contains("Cosigned by 1 of 2 witnesses."), "{said}");
    });
}

#[test]
fn a_witness_that_is_away_holds_nothing_up_and_cosigns_when_it_is_back() {
    story(async |s| {
        let w = witnessed(s).await;
        s.ci_announces(build("master-1")).await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let nobody = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let away = shell(s, Keeping::default()).with_keeping(|_| {
            let signer = coolops::proof::checkpoint::LogKey::read(&w.anchored.private.clone().into()).unwrap();
            let places = vec![coolops::places::Place::read(w.anchored.folder.to_str().unwrap()).unwrap()];
            let keeping = Keeping { signer: Some(signer), places, ..Keeping::default() };
            asking(&w.anchored, &w.key, &nobody)(keeping)
        });
        away.checkpoint().await.unwrap().unwrap();
        assert!(w.problem(s).await.contains("refused"), "{}", w.problem(s).await);
        let report = away.audit(false).await.unwrap();
        assert_eq!(report.findings.iter().map(|f| f.kind).collect::<Vec<_>>(), [Kind::Uncosigned]);
        let (_, said) = w.says(s, &["doctor"]);
        assert!(said.contains("WRONG  Witness witness.test: has not cosigned since"), "{said}");
        // Nothing happened since, and still it is asked again.
        assert_eq!(w.log.checkpoint().await.unwrap(), None);
        assert!(w.key.public().signed(&w.newest()).is_some());
        assert_eq!(w.log.audit(false).await.unwrap().findings, []);
        let (_, said) = w.says(s, &["doctor"]);
        assert!(said.contains("ok     Witness witness.test: cosigned the newest checkpoint, of "), "{said}");
    });
}

#[test]
fn a_witness_that_is_behind_ahead_or_of_another_history_is_told_apart() {
    story(async |s| {
        let w = witnessed(s).await;
        s.ci_announces(build("master-1")).await;
        w.log.checkpoint().await.unwrap().unwrap();
        // What we know of it is wrong: it says how far it is, and is asked again.
        s.database.execute("update witness set size = 1").await;
        s.ci_announces(build("master-2")).await;
        w.log.checkpoint().await.unwrap().unwrap();
        assert!(w.key.public().signed(&w.newest()).is_some());
        for (harm, said) in [
            (
                "alter table witnessed disable trigger witnessed_only_grows; update witnessed set root = sha256('x'); alter table witnessed enable always trigger witnessed_only_grows",
                "it has seen another history: this log does not go on from that",
            ),
            (
                "update witnessed set size = 1000; update witness set size = 0",
                "it has seen this log with 1000 events, and the newest checkpoint covers",
            ),
            ("delete from witnessed", ""),
        ] {
            s.database.execute(harm).await;
            s.ci_announces(build(&format!("after-{}", harm.len()))).await;
            w.log.checkpoint().await.unwrap().unwrap();
            let problem = w.problem(s).await;
            assert!(problem.contains(said) && problem.is_empty() == said.is_empty(), "{problem}");
        }
        assert_eq!(w.log.audit(false).await.unwrap().findings, []);
    });
}

#[test]
fn whatever_is_not_a_log_that_only_grew_is_not_cosigned() {
    story(async |s| {
        let w = witnessed(s).await;
        s.ci_announces(build("master-1")).await;
        w.log.checkpoint().await.unwrap().unwrap();
        let newest = w.log.newest_signed().await.unwrap().unwrap();
        let submitted = async |old: u64, note: &str| {
            let body = Submission { old, proof: vec![], note: note.to_owned() }.text();
            post(&w.address, &body).await
        };
        let size = newest.size;
        let (status, _, line) = submitted(size, &newest.note).await;
        assert_eq!(status, StatusCode::OK, "the same again");
        assert_eq!(submitted(size, &newest.note).await.2, line, "and the same answer, which costs nothing");
        // A line is of one text: with what another program's log may add it is another one.
        let text = format!("{}\nof another program\n", newest.note.split_once("\n\n").unwrap().0);
        let mut extended = signed_note::Note::new(text.as_bytes(), &[]).unwrap();
        extended.add_sigs(&[&signed_note::StandardSigner::new(&w.anchored.private).unwrap()]).unwrap();
        let extended = String::from_utf8(extended.to_bytes()).unwrap();
        let (status, _, line) = submitted(size, &extended).await;
        assert_eq!(status, StatusCode::OK, "{line}");
        assert!(w.key.public().signed(&format!("{extended}{line}")).is_some(), "{line}");
        let (status, kind, text) = submitted(0, &newest.note).await;
        assert_eq!((status, kind.as_str(), text), (StatusCode::CONFLICT, "text/x.tlog.size", format!("{size}\n")));
        assert_eq!(submitted(size + 1, &newest.note).await.0, StatusCode::BAD_REQUEST);
        let signer = coolops::proof::checkpoint::LogKey::read(&w.anchored.private.clone().into()).unwrap();
        assert_eq!(
            submitted(size, &signer.sign(size, [7; 32])).await.0,
            StatusCode::UNPROCESSABLE_ENTITY,
            "another root"
        );
        // A note with a line of a known key that does not fit is none.
        let other = signer.sign(size, [8; 32]);
        let (text, lines) = newest.note.split_once("\n\n").unwrap();
        let broken = format!("{text}\n\n{}{lines}", other.split_once("\n\n").unwrap().1);
        assert_eq!(submitted(size, &broken).await.0, StatusCode::FORBIDDEN);
        // Whoever monitors the log gets what was cosigned.
        let monitored = async |origin: &str| {
            let hash = hex::encode(sha2::Digest::finalize(sha2::Digest::chain_update(
                <sha2::Sha256 as sha2::Digest>::new(),
                origin,
            )));
            let asked = Request::get(format!("/witness/{hash}/checkpoint")).body(Body::empty()).unwrap();
            let answer = routes(Arc::clone(&w.witness), Arc::default()).oneshot(asked).await.unwrap();
            let status = answer.status().as_u16();
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            (status, String::from_utf8(body.to_vec()).unwrap())
        };
        let (status, note) = monitored("coolops.test/log").await;
        assert!(status == 200 && w.key.public().signed(&note).is_some(), "{note}");
        assert!(
            coolops::proof::checkpoint::open(&note, &[PublicKey::read(&w.anchored.public).unwrap()]).is_ok(),
            "{note}"
        );
        assert_eq!(monitored("other.test/log").await.0, 404);
        assert_eq!(submitted(size, &signer.sign(size + 5, [7; 32])).await.0, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(
            submitted(size, &newest.note.replace(&format!("\n{size}\n"), "\n99\n")).await.0,
            StatusCode::FORBIDDEN
        );
        assert_eq!(
            submitted(size, &newest.note.replace("coolops.test/log\n", "other.test/log\n")).await.0,
            StatusCode::NOT_FOUND
        );
        for body in ["", "old 1", "old 1\n\nnothing", &"x".repeat(60_000)] {
            let (status, _, text) = post(&w.address, body).await;
            assert!(status.is_client_error() && !text.is_empty(), "{status} {text}");
        }
        assert_eq!(post(&w.address, &"x".repeat(140_000)).await.0, StatusCode::PAYLOAD_TOO_LARGE);
        // Who is no witness says so.
        let own = shell(s, Keeping::default());
        assert!(matches!(own.cosign("old 0\n\nx").await, Err(coolops::app::witnesses::NotCosigned::UnknownLog)));
        assert_eq!(s.database.count("select size from witnessed").await, size as i64);
        let (_, said) = w.says(s, &["doctor"]);
        assert!(
            said.contains("WRONG  Log coolops.test/log, which is witnessed here: it signed two histories"),
            "{said}"
        );
        let (code, said) = w.says(s, &["audit", "key", "witness.test", "--witness"]);
        assert!(code == 0 && said.contains("This is COOLOPS_WITNESS_KEY"), "{said}");
        assert!(w.private.starts_with("PRIVATE+KEY+witness.test+"));
    });
}

#[test]
fn of_two_at_once_one_is_cosigned_and_the_other_hears_how_far_the_log_is() {
    story(async |s| {
        let w = witnessed(s).await;
        let signer = coolops::proof::checkpoint::LogKey::read(&w.anchored.private.clone().into()).unwrap();
        // An empty log is a beginning too.
        let nothing = coolops::proof::tree::Growing::default().root();
        assert_eq!(first(&w, &signer.sign(0, [7; 32])).await, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(first(&w, &signer.sign(0, nothing)).await, StatusCode::OK);
        let notes: Vec<String> = (1..=6).map(|n| signer.sign(n, [n as u8; 32])).collect();
        let asked = notes.iter().map(|note| first(&w, note));
        let mut answers = futures::future::join_all(asked).await;
        answers.sort();
        assert_eq!(answers.iter().filter(|status| **status == StatusCode::OK).count(), 1, "{answers:?}");
        assert_eq!(answers.iter().filter(|status| **status == StatusCode::CONFLICT).count(), 5, "{answers:?}");
    });
}

#[test]
fn when_many_ask_at_the_same_moment_each_gets_its_turn() {
    story(async |s| {
        let w = witnessed(s).await;
        let signer = coolops::proof::checkpoint::LogKey::read(&w.anchored.private.clone().into()).unwrap();
        // Nobody is done before all have asked.
        let mut held = s.database.owner().await;
        sqlx::raw_sql("begin; lock table witnessed").execute(&mut held).await.unwrap();
        let notes: Vec<String> = (1..=12).map(|n| signer.sign(n, [n as u8; 32])).collect();
        let asked = futures::future::join_all(notes.iter().map(|note| first(&w, note)));
        let released = async {
            let waiting =
                "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
            while s.database.count(waiting).await < 4 {}
            sqlx::raw_sql("commit").execute(&mut held).await.unwrap();
        };
        // They are given up before what is asked is.
        let released = async {
            let released = tokio::time::timeout(std::time::Duration::from_secs(4), released).await;
            released.expect("four of them wait at the same moment");
        };
        let (mut answers, ()) = futures::join!(asked, released);
        answers.sort();
        assert_eq!((answers[0], &answers[1..]), (StatusCode::OK, &[StatusCode::CONFLICT; 11][..]));
    });
}

/// Submits a checkpoint as the first that the witness sees.
async fn first(w: &Witnessed, note: &str) -> StatusCode {
    let body = Submission { old: 0, proof: vec![], note: note.to_owned() }.text();
    post(&w.address, &body).await.0
}

#[test]
fn a_line_that_nobody_signed_is_not_taken_for_a_cosignature() {
    story(async |s| {
        let w = witnessed(s).await;
        s.ci_announces(build("master-1")).await;
        w.log.checkpoint().await.unwrap().unwrap();
        s.database.execute("update cosignature set line = 'x'; update witnessed set at = at - interval '1 hour'").await;
        // It is asked for again, and what is kept outside stays a checkpoint.
        w.log.checkpoint().await.unwrap();
        assert!(coolops::proof::checkpoint::open(&w.newest(), &[PublicKey::read(&w.anchored.public).unwrap()]).is_ok());
        s.ci_announces(build("master-2")).await;
        w.log.checkpoint().await.unwrap().unwrap();
        assert!(w.key.public().signed(&w.newest()).is_some(), "{}", w.newest());
    });
}

async fn post(address: &str, body: &str) -> (StatusCode, String, String) {
    let answer = Endpoint::read(address).unwrap().add_checkpoint(body.to_owned()).await.unwrap();
    (StatusCode::from_u16(answer.status).unwrap(), answer.kind, answer.text)
}

#[test]
fn whatever_a_witness_answers_only_its_own_signature_is_one() {
    story(async |s| {
        let w = witnessed(s).await;
        let answer = Arc::new(std::sync::Mutex::new((200_u16, String::new())));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let answered = Arc::clone(&answer);
        let odd = axum::Router::new().fallback(move || {
            let (status, text) = answered.lock().unwrap().clone();
            async move { (StatusCode::from_u16(status).unwrap(), text) }
        });
        tokio::spawn(async move { axum::serve(listener, odd).await });
        let signer = || coolops::proof::checkpoint::LogKey::read(&w.anchored.private.clone().into()).unwrap();
        let places = || vec![coolops::places::Place::read(w.anchored.folder.to_str().unwrap()).unwrap()];
        let keeping = Keeping { signer: Some(signer()), places: places(), ..Keeping::default() };
        let log = shell(s, asking(&w.anchored, &w.key, &address)(keeping));
        // Of another witness, over the same text.
        s.ci_announces(build("master-0")).await;
        log.checkpoint().await.unwrap().unwrap();
        let (another, _) = key("witness.test", 9);
        let theirs = another.sign(&w.newest(), 1_700_000_000).unwrap();
        for (n, (status, text, says)) in (1..).zip([
            (403, String::new(), "it knows this log by another key"),
            (404, String::new(), "it does not know this log"),
            (500, String::new(), "it answered 500"),
            (200, theirs, "is not signed by its key"),
            (200, "thank you".to_owned(), "is not signed by its key"),
            (200, String::new(), "is not signed by its key"),
        ]) {
            *answer.lock().unwrap() = (status, text);
            s.ci_announces(build(&format!("master-{n}"))).await;
            log.checkpoint().await.unwrap().unwrap();
            let problem = w.problem(s).await;
            assert!(problem.contains(says), "{says}: {problem}");
            assert!(w.key.public().signed(&w.newest()).is_none(), "{}", w.newest());
            let kinds: Vec<Kind> = log.audit(false).await.unwrap().findings.iter().map(|f| f.kind).collect();
            assert_eq!(kinds, [Kind::Uncosigned], "{says}");
        }
        // Two of three have to: one has.
        let (second, third) = (key("second.test", 4).0, key("third.test", 5).0);
        let own = Witness { key: w.key.public().clone(), at: Endpoint::read(&w.address).unwrap() };
        let others =
            [second, third].map(|key| Witness { key: key.public().clone(), at: Endpoint::read(&address).unwrap() });
        let keeping = Keeping {
            signer: Some(signer()),
            places: places(),
            believed: vec![PublicKey::read(&w.anchored.public).unwrap()],
            witnesses: std::iter::once(own).chain(others).collect(),
            threshold: 2,
            ..Keeping::default()
        };
        let log = shell(s, keeping);
        s.ci_announces(build("master-9")).await;
        log.checkpoint().await.unwrap().unwrap();
        let findings = log.audit(false).await.unwrap().findings;
        assert!(
            findings.len() == 1 && findings[0].said.contains("is cosigned by 1 of the 2 witnesses that have to"),
            "{findings:#?}"
        );
    });
}
