//! Stories of people who don't trust us: checkpoints, proofs, and other people's tools that check them.

use std::process::Command;

use coolops::proof::statement::Statement;
use serde_json::Value;

use crate::story::anchored::{Anchored, LOG};
use crate::story::{Story, build, random_name, story};

/// A file of its own, which goes with it.
pub struct Scratch(pub std::path::PathBuf);

impl Scratch {
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(format!("coolops-proof-{}", random_name()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn file(&self, name: &str, content: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

pub async fn deployed(s: &Story) {
    s.ci_announces(build("master-1")).await;
    s.runner.will_print(&["one", "two"], 0);
    s.presses("ana", "master-1", "Staging").await;
}

#[test]
fn a_checkpoint_is_signed_when_something_happened_and_kept_in_every_place() {
    story(async |s| {
        let scratch = Scratch::new();
        let repository = scratch.0.join("clone");
        let git = |arguments: &[&str]| {
            let output = Command::new("git").arg("-C").arg(&scratch.0).args(arguments).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        };
        git(&["init", "--quiet", "--bare", "remote.git"]);
        git(&["clone", "--quiet", "remote.git", "clone"]);
        let (folder, git_place) = (scratch.0.join("folder"), format!("git:{}", repository.display()));
        let anchored = Anchored::at(s, folder.clone(), &[folder.to_str().unwrap(), &git_place], 7);
        deployed(s).await;
        let size = anchored.signs().await;
        assert_eq!(anchored.app.checkpoint().await.unwrap(), None, "nothing has happened since");
        s.presses("ana", "master-1", "Production").await;
        let then = anchored.signs().await;
        assert!(then > size);
        // The folder has both, the newest under the name that others look for.
        assert_eq!(anchored.files().len(), 2);
        let newest = std::fs::read_to_string(folder.join("checkpoint")).unwrap();
        assert!(newest.starts_with(&format!("{LOG}\n{then}\n")), "{newest}");
        // So has whoever cloned the repository.
        let log = git(&["-C", "remote.git", "log", "--format=%s"]);
        let commits: Vec<&str> = log.lines().collect();
        let (new, old) = (format!("Checkpoint of {then} events"), format!("Checkpoint of {size} events"));
        assert_eq!(commits, [&new, &old], "each with the copy that is called the newest");
        assert_eq!(git(&["-C", "remote.git", "show", "HEAD:checkpoint"]), newest);
        let report = anchored.app.audit(false).await.unwrap();
        assert_eq!((report.findings.len(), report.covered), (0, then));
        assert_eq!(report.checkpoints, 2 * 3 + 2, "two places with two and the newest, and the database's own");
        assert_eq!(report.outside, 2 * 3);
        let variables =
            [("COOLOPS_CHECKPOINT_KEY", anchored.private.as_str()), ("COOLOPS_CHECKPOINTS", folder.to_str().unwrap())];
        let (code, said, _) = s.coolops_with(&["audit", "verify"], &variables);
        assert!(
            code == 0
                && said.contains(&format!(
                    "5 checkpoints are of this log, 3 of them kept outside; the newest covers {then} events."
                )),
            "{said}"
        );
        let (code, said, _) = s.coolops(&["audit", "verify"]);
        assert!(code == 0 && said.contains("No checkpoints are kept outside"), "{said}");
        // Nobody is accused where nothing could be believed.
        let (code, said, why) = s.coolops(&["audit", "verify", "--checkpoints", folder.to_str().unwrap()]);
        assert!(code == 1 && said.is_empty() && why.contains("give it with --key"), "{said}{why}");
    });
}

#[test]
fn after_a_decision_over_a_log_that_was_cut_where_it_stands_checkpoints_go_on() {
    story(async |s| {
        let anchored = Anchored::new(s);
        deployed(s).await;
        s.presses("ana", "master-1", "Production").await;
        let lost = anchored.signs().await;
        s.tampered = true;
        // What was signed stays in its table.
        s.database
            .execute(&format!(
                "alter table event disable trigger all; delete from event where position > {0};
                 delete from slack_message; update event_head set (position, chain_hash) = (select position, chain_hash from event where position = {0});
                 alter table event enable always trigger event_is_append_only; alter table event enable always trigger event_is_never_truncated",
                lost - 1
            ))
            .await;
        s.app.rebuild().await.unwrap();
        assert!(anchored.app.checkpoint().await.unwrap_err().to_string().contains("its end was cut off"));
        let (code, _, said) = s.coolops_with(&["audit", "fork", "--reason", "It was cut"], &anchored.variables());
        assert_eq!(code, 0, "{said}");
        // What was given up had more events than this log has: no place is behind for that.
        anchored.signs().await;
        s.database.set_clock(1_000).await;
        let said = anchored.doctor(s);
        assert!(!said.contains("that were signed"), "{said}");
        s.ci_announces(build("master-2")).await;
        let size = anchored.signs().await;
        assert!(size > lost, "{size} and {lost}");
        let report = anchored.app.audit(false).await.unwrap();
        assert_eq!((report.findings.len(), report.covered), (0, size), "{:?}", report.findings);
        let (code, proof, said) = s.coolops_with(&["audit", "prove", "3"], &anchored.variables());
        assert_eq!(code, 0, "{said}");
        // Its log is the one that the checkpoint names, whichever key is named first.
        let other = coolops::proof::checkpoint::LogKey::read(
            &coolops::proof::checkpoint::LogKey::form("other.test/log", &[9; 32]).unwrap(),
        );
        let keys =
            [other.unwrap().public().clone(), coolops::proof::checkpoint::PublicKey::read(&anchored.public).unwrap()];
        Statement::read(&proof).unwrap().check(&keys).unwrap();
        let added = proof.replacen("\"position\"", "\"approved_by\": \"eve\", \"position\"", 1);
        assert!(Statement::read(&added).unwrap_err().to_string().contains("no event has a field \"approved_by\""));
    });
}

#[test]
fn a_restored_backup_closes_the_log_until_an_operator_decides() {
    story(async |s| {
        let anchored = Anchored::new(s);
        deployed(s).await;
        let before = anchored.signs().await;
        s.presses("ana", "master-1", "Production").await;
        let lost = anchored.signs().await;
        s.tampered = true;
        s.database.execute(&format!(
            "alter table event disable trigger all; alter table log_chunk disable trigger all;
             delete from event where position > {before}; delete from checkpoint where size > {before}; update slack_message set sent_digest = null, sent_payload = null, sent_position = 0;
             delete from log_chunk c where not exists (select from event e where e.stream_id = c.deployment_id);
             update event_head set (position, chain_hash) = (select position, chain_hash from event where position = {before});
             alter table event enable always trigger event_is_append_only; alter table event enable always trigger event_is_never_truncated;
             alter table log_chunk enable always trigger log_chunk_is_append_only; alter table log_chunk enable always trigger log_chunk_is_never_truncated"
        )).await;
        s.app.rebuild().await.unwrap();
        let refused = anchored.app.checkpoint().await.unwrap_err().to_string();
        assert!(
            refused.contains(&format!(
                "has a checkpoint of {lost} events, and this log has {before}: a backup was restored"
            )),
            "{refused}"
        );
        // Nothing is recorded meanwhile, and whoever tries hears why.
        let (status, body) = s.post_build(&build("master-2").body()).await;
        assert_eq!(status.as_u16(), 503, "{body}");
        let (code, _, said) = s.coolops(&["project", "set", "api", "--name", "Other"]);
        assert!(code == 1 && said.contains("the log is closed: ") && said.contains("coolops audit fork"), "{said}");
        // Without a reason nothing is decided; with one, what was given up is in the log for ever.
        let (code, _, said) = s.coolops_with(&["audit", "fork", "--reason", " "], &anchored.variables());
        assert!(code == 1 && said.contains("say why"), "{said}");
        let long = "x".repeat(10_000);
        let (code, _, said) = s.coolops_with(&["audit", "fork", "--reason", &long], &anchored.variables());
        assert!(code == 1 && said.contains("at most 2000 characters"), "{said}");
        let (code, told, said) =
            s.coolops_with(&["audit", "fork", "--reason", "Restored from the backup of 14:00"], &anchored.variables());
        assert!(
            code == 0
                && told.contains(&format!(
                    "Given up: the history that had {lost} events and parts from this one at event {}",
                    before + 1
                )),
            "{told}{said}"
        );
        assert_eq!(s.post_build(&build("master-2").body()).await.0.as_u16(), 201);
        s.settle().await;
        anchored.signs().await;
        let report = anchored.app.audit(false).await.unwrap();
        assert_eq!(report.findings, [], "what was decided is no finding");
        assert!(report.given_up > 0, "and it is told");
        // That excuses nothing else: what is signed since, of the same sizes too, is held against the log as ever.
        let size = report.covered;
        assert!(size <= lost + 2, "{size} and {lost}");
        let key = coolops::proof::checkpoint::LogKey::read(&anchored.private.clone().into()).unwrap();
        let forged = anchored.files()[0].with_file_name("00000000000000000001-forged");
        std::fs::write(&forged, key.sign(size, [9; 32])).unwrap();
        let kinds: Vec<_> = anchored.app.audit(false).await.unwrap().findings.iter().map(|f| f.kind).collect();
        assert_eq!(kinds, [coolops::app::finding::Kind::Fork]);
        std::fs::remove_file(&forged).unwrap();
        let (code, _, said) = s.coolops_with(&["audit", "fork", "--reason", "again"], &anchored.variables());
        assert!(code == 1 && said.contains("there is nothing to decide"), "{said}");
    });
}

/// A log with more than one tile, so that what is remembered of it is asked.
async fn long(s: &Story) {
    for n in 1..=150 {
        s.post_build(&build(&format!("main-{n}")).body()).await;
    }
    s.settle().await;
    assert!(s.app.store.log().head().await.unwrap().0 > 256);
}

#[test]
fn what_is_remembered_of_the_tree_is_made_again_when_it_is_gone_or_wrong() {
    story(async |s| {
        let anchored = Anchored::new(s);
        long(s).await;
        anchored.signs().await;
        for harm in ["delete from tree_tile", "update tree_tile set hash = sha256('x')"] {
            s.database.execute(harm).await;
            s.ci_announces(build(&format!("after-{}", harm.len()))).await;
            anchored.signs().await;
            assert_eq!(anchored.app.audit(false).await.unwrap().findings, [], "{harm}");
        }
        s.database.execute("delete from tree_tile").await;
        let (code, text, said) = s.coolops_with(&["audit", "prove", "3"], &anchored.variables());
        assert_eq!(code, 0, "{said}");
        let key = coolops::proof::checkpoint::PublicKey::read(&anchored.public).unwrap();
        Statement::read(&text).unwrap().check(&[key]).unwrap();
    });
}

#[test]
fn a_log_that_was_closed_by_mistake_is_opened_again_and_nothing_is_given_up() {
    story(async |s| {
        let anchored = Anchored::new(s);
        deployed(s).await;
        anchored.signs().await;
        // For a while somebody else's checkpoint lies there.
        let newest = anchored.folder.join("checkpoint");
        let ours = std::fs::read_to_string(&newest).unwrap();
        let key = coolops::proof::checkpoint::LogKey::read(&anchored.private.clone().into()).unwrap();
        std::fs::write(&newest, key.sign(1_000, [9; 32])).unwrap();
        assert!(anchored.app.checkpoint().await.unwrap_err().to_string().contains("the log is closed"));
        std::fs::write(&newest, ours).unwrap();
        assert_eq!(s.post_build(&build("master-2").body()).await.0.as_u16(), 503);
        let fork = || s.coolops_with(&["audit", "fork", "--reason", "A drill's folder"], &anchored.variables());
        let (code, told, said) = fork();
        assert!(code == 0 && told.contains("Nothing is given up") && told.contains("open again"), "{told}{said}");
        let (code, _, said) = fork();
        assert!(code == 1 && said.contains("there is nothing to decide"), "{said}");
        // Nothing is taken for another history's: what waits is begun, and builds are announced.
        s.presses("ana", "master-1", "Production").await;
        assert!(s.channel().contains("*Production*: :white_check_mark: *succeeded*"), "{}", s.channel());
        anchored.signs().await;
        let report = anchored.app.audit(true).await.unwrap();
        assert_eq!((report.findings.len(), report.given_up), (0, 0), "{:?}", report.findings);
        let (_, told, _) = s.coolops(&["audit", "show", &report.events.to_string()]);
        assert!(!told.contains("not one that had"), "{told}");
    });
}

#[test]
fn a_place_that_was_away_when_it_was_decided_is_told_and_so_is_one_that_is_new() {
    story(async |s| {
        let scratch = Scratch::new();
        let [first, away, new] = ["first", "away", "new"].map(|name| scratch.0.join(name).to_str().unwrap().to_owned());
        let anchored = Anchored::at(s, scratch.0.join("first"), &[&first, &away], 7);
        deployed(s).await;
        let before = anchored.signs().await;
        s.presses("ana", "master-1", "Production").await;
        anchored.signs().await;
        s.tampered = true;
        s.database
            .execute(&format!(
                "alter table event disable trigger all; delete from event where position > {before};
                 update slack_message set sent_digest = null, sent_payload = null, sent_position = 0; update event_head set (position, chain_hash) = (select position, chain_hash from event where position = {before});
                 alter table event enable always trigger event_is_append_only; alter table event enable always trigger event_is_never_truncated"
            ))
            .await;
        // What was printed in the other one is still there.
        assert_eq!(s.database.count("select count(distinct deployment_id) from log_chunk").await, 2);
        s.app.rebuild().await.unwrap();
        anchored.app.checkpoint().await.unwrap_err();
        std::fs::rename(&away, format!("{away}.not")).unwrap();
        std::fs::write(&away, "a file where a folder should be").unwrap();
        let with = |places: &str| {
            [("COOLOPS_CHECKPOINT_KEY", anchored.private.clone()), ("COOLOPS_CHECKPOINTS", places.to_owned())]
        };
        let run = |arguments: &[&str], places: &str| {
            let with = with(places);
            s.coolops_with(arguments, &with.each_ref().map(|(name, value)| (*name, &value[..])))
        };
        let (code, told, said) = run(&["audit", "fork", "--reason", "It was cut"], &format!("{first},{away}"));
        assert!(
            code == 0 && said.contains("The decision is not kept there yet: ") && said.contains(&away),
            "{told}{said}"
        );
        std::fs::remove_file(&away).unwrap();
        std::fs::rename(format!("{away}.not"), &away).unwrap();
        s.ci_announces(build("master-2")).await;
        anchored.signs().await;
        // Each of them alone excuses what was given up.
        s.ci_announces(build("master-3")).await;
        let (code, _, said) = run(&["audit", "checkpoint"], &format!("{first},{away},{new}"));
        assert_eq!(code, 0, "{said}");
        for place in [&first, &away, &new] {
            let (code, told, said) = run(&["audit", "verify"], place);
            assert_eq!(code, 0, "{place}: {told}{said}");
        }
    });
}

#[test]
fn nobody_decides_over_a_log_that_does_not_even_bear_out_itself() {
    story(async |s| {
        let anchored = Anchored::new(s);
        deployed(s).await;
        s.presses("ana", "master-1", "Production").await;
        anchored.signs().await;
        s.tampered = true;
        s.database.execute("alter table event disable trigger all; update event set payload = replace(payload::text, 'master-1', 'master-9')::json where position = 5").await;
        s.app.store.checkpoints().close_log("somebody who wants a decision").await.unwrap();
        let (code, _, said) = s.coolops_with(&["audit", "fork", "--reason", "x"], &anchored.variables());
        assert!(code == 1 && said.contains("event 5 is not as it was written, so nobody can tell"), "{said}");
        assert!(!anchored.folder.join("forks").exists(), "nothing is given up");
    });
}

#[test]
fn a_decision_in_the_database_alone_hides_nothing() {
    story(async |s| {
        let anchored = Anchored::new(s);
        deployed(s).await;
        let lost = anchored.signs().await;
        s.tampered = true;
        // Somebody without the key rewrites everything, and writes the decision that would excuse it.
        let decided = format!(r#"{{"after":0,"until":{lost},"root":"00","reason":"trust me"}}"#);
        let decided = coolops::domain::event::Event::parse("fork_decided", 1, &decided).unwrap();
        let mut append = coolops::store::append::Append::default();
        append.event(coolops::domain::ids::EventId(uuid::Uuid::from_u128(7)), &decided, &crate::story::operator(), 0);
        s.app.store.append(append).await.unwrap();
        s.database.execute(&format!("alter table event disable trigger all; update event set actor = replace(actor::text, 'operator', 'system')::json; {}", super::tampering::RECHAIN)).await;
        s.database.execute("delete from checkpoint; delete from tree_tile").await;
        let kinds: Vec<_> = anchored.app.audit(false).await.unwrap().findings.iter().map(|f| f.kind).collect();
        assert!(kinds.contains(&coolops::app::finding::Kind::RewrittenHistory), "{kinds:?}");
        assert!(anchored.app.checkpoint().await.unwrap_err().to_string().contains("of another history"));
    });
}

#[test]
fn another_key_takes_over_and_what_the_one_before_signed_is_believed_if_somebody_says_so() {
    story(async |s| {
        let anchored = Anchored::new(s);
        deployed(s).await;
        anchored.signs().await;
        let knows = anchored.rekeyed(s, 8, true);
        assert_eq!(knows.checkpoint().await.unwrap(), None, "nothing has happened since");
        s.ci_announces(build("master-2")).await;
        let then = knows.checkpoint().await.unwrap().unwrap().size;
        let report = knows.audit(false).await.unwrap();
        assert_eq!((report.findings.len(), report.covered), (0, then));
        // Who does not know the key before says that it is another's, and puts nothing beside it.
        let forgetful = anchored.rekeyed(s, 9, false);
        let newest = std::fs::read_to_string(anchored.folder.join("checkpoint")).unwrap();
        forgetful.checkpoint().await.unwrap_err();
        assert_eq!(std::fs::read_to_string(anchored.folder.join("checkpoint")).unwrap(), newest);
    });
}

#[test]
fn a_tampered_log_is_not_signed() {
    story(async |s| {
        let anchored = Anchored::new(s);
        deployed(s).await;
        anchored.signs().await;
        s.presses("ana", "master-1", "Production").await;
        s.tampered = true;
        s.database.execute("alter table event disable trigger all; update event set recorded_at = recorded_at - interval '1 us' where position = (select max(position) from event)").await;
        let refused = anchored.app.checkpoint().await.unwrap_err().to_string();
        assert!(refused.contains("is not as it was written; nothing is signed"), "{refused}");
        assert_eq!(anchored.files().len(), 1);
        let said = anchored.doctor(s);
        assert!(
            said.contains("is not as it was written; nothing is signed. coolops audit verify tells more"),
            "{said}"
        );
        // Nor is what is remembered of the tree.
        s.database
            .execute("insert into tree_tile values (0, sha256('x')) on conflict (n) do update set hash = excluded.hash")
            .await;
        assert!(anchored.app.checkpoint().await.is_err());
    });
}

#[test]
fn an_event_is_proved_to_somebody_who_has_the_public_key_alone() {
    story(async |s| {
        let anchored = Anchored::new(s);
        deployed(s).await;
        let id = s.app.store.deployments().list(None, &[], 1).await.unwrap()[0].deployment.of.deployment_id.to_string();
        let (code, _, said) = s.coolops_with(&["audit", "prove", &id], &anchored.variables());
        assert!(code == 1 && said.contains("is not covered by a checkpoint yet"), "{said}");
        anchored.signs().await;
        let (code, text, said) = s.coolops_with(&["audit", "prove", &id[..8]], &anchored.variables());
        assert_eq!(code, 0, "{said}");
        let scratch = Scratch::new();
        let file = scratch.file("proof.json", &text);
        let check = |file: &str, key: &str| {
            let output = Command::new(env!("CARGO_BIN_EXE_coolops"))
                .args(["audit", "check-proof", file, "--key", key])
                .env_clear()
                .output()
                .unwrap();
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
        };
        let (code, told, said) = check(&file, &anchored.public);
        assert!(
            code == 0
                && told.contains("coolops: it succeeded, with 2 lines of output")
                && told.contains("What it printed is sealed by"),
            "{told}{said}"
        );
        // A proof of something else, by somebody else, or changed, proves nothing and says why.
        let proof: Value = serde_json::from_str(&text).unwrap();
        let changed = |change: &dyn Fn(&mut Value)| {
            let mut proof = proof.clone();
            change(&mut proof);
            check(&scratch.file("changed.json", &proof.to_string()), &anchored.public).2
        };
        let other = Anchored::at(s, scratch.0.join("other"), &[], 8);
        let says = check(&file, &other.public).2;
        assert!(says.contains("the checkpoint is not believed: it is not signed by"), "{says}");
        let elsewhere = coolops::proof::checkpoint::LogKey::read(
            &coolops::proof::checkpoint::LogKey::form("other.test/log", &[7; 32]).unwrap(),
        )
        .unwrap();
        let says = check(&file, elsewhere.public().text()).2;
        assert!(says.contains("it is a checkpoint of coolops.test/log, not of other.test/log"), "{says}");
        let payload = proof["event"]["payload"].as_str().unwrap().replace("\"lines\":2", "\"lines\":3");
        for (says, told) in [
            (changed(&|p| p["event"]["payload"] = payload.clone().into()), "its payload is not what was hashed"),
            (
                changed(&|p| p["event"]["actor"] = "{}".into()),
                "its header, its time or its place is not what was hashed",
            ),
            (changed(&|p| p["event"]["recorded_at"] = "2020-01-01T00:00:00.000000Z".into()), "its header, its time"),
            (changed(&|p| p["index"] = 0.into()), "is not in the log of that checkpoint"),
            (changed(&|p| p["seal"]["lines"] = 9.into()), "the seal is not the one that the event carries"),
            (changed(&|p| p["inclusion"] = serde_json::json!([])), "is not in the log of that checkpoint"),
            (changed(&|p| p["inclusion"][0] = "x".into()), "a hash of its proof can't be read"),
            (changed(&|p| p["format"] = "other".into()), "it is no proof of coolops"),
            (
                check(
                    &scratch.file("twice.json", &text.replacen("\"lines\":", "\"lines\": 9, \"lines\":", 1)),
                    &anchored.public,
                )
                .2,
                "\"lines\" stands there twice",
            ),
            (check(&scratch.file("empty.json", ""), &anchored.public).2, "it is no proof of coolops"),
            (check(&file, "x").2, "it is no public key"),
        ] {
            assert!(says.contains(told), "{told}: {says}");
        }
    });
}

#[test]
fn a_verifier_that_nobody_here_wrote_accepts_our_checkpoints_and_proofs() {
    story(async |s| {
        let anchored = Anchored::new(s);
        deployed(s).await;
        let old = std::fs::read_to_string({
            anchored.signs().await;
            anchored.folder.join("checkpoint")
        })
        .unwrap();
        for n in 2..=90 {
            s.post_build(&build(&format!("master-{n}")).body()).await;
        }
        s.settle().await;
        anchored.signs().await;
        let new = std::fs::read_to_string(anchored.folder.join("checkpoint")).unwrap();
        let scratch = Scratch::new();
        let mut proofs = Vec::new();
        for position in ["1", "7", "100", "150"] {
            let (code, text, said) = s.coolops_with(&["audit", "prove", position], &anchored.variables());
            assert_eq!(code, 0, "{said}");
            let proof = Statement::read(&text).unwrap();
            let entry = proof.event.checked().unwrap();
            proofs.push(
                serde_json::json!({ "entry": hex::encode(entry), "index": proof.index, "inclusion": proof.inclusion }),
            );
        }
        let given = serde_json::json!({ "key": anchored.public, "old": old, "new": new, "proofs": proofs });
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/stories/with_aics_tlog.py");
        let library = concat!(env!("CARGO_MANIFEST_DIR"), "/target/python");
        let output = Command::new("python3")
            .args([program, &scratch.file("given.json", &given.to_string())])
            .env("PYTHONPATH", library)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(String::from_utf8_lossy(&output.stdout), "2 checkpoints, 4 proofs\n");
    });
}

#[test]
fn a_key_is_made_for_a_name_and_its_secret_part_is_printed_alone() {
    story(async |s| {
        let (code, private, said) = s.coolops(&["audit", "key", "coolops.example.com/log"]);
        assert!(code == 0 && private.starts_with("PRIVATE+KEY+coolops.example.com/log+"), "{private}");
        assert!(said.contains("\ncoolops.example.com/log+") && !said.contains("PRIVATE"), "{said}");
        let (code, _, said) = s.coolops(&["audit", "key", "a name"]);
        assert!(code == 1 && said.contains("without spaces and plus signs"), "{said}");
        for (variables, says) in [
            (
                [("COOLOPS_CHECKPOINT_KEY", private.trim()), ("COOLOPS_CHECKPOINTS", "")],
                "COOLOPS_CHECKPOINTS is not set",
            ),
            ([("COOLOPS_CHECKPOINT_KEY", ""), ("COOLOPS_CHECKPOINTS", "/srv/x")], "COOLOPS_CHECKPOINT_KEY is not set"),
            ([("COOLOPS_CHECKPOINT_KEY", "x"), ("COOLOPS_CHECKPOINTS", "/srv/x")], "it is no signing key"),
            (
                [("COOLOPS_CHECKPOINT_KEY", private.trim()), ("COOLOPS_CHECKPOINTS", "srv/x")],
                "is no place for checkpoints; write a folder",
            ),
        ] {
            let (code, _, said) = s.coolops_with(&["audit", "verify"], &variables);
            assert!(code == 2 && said.contains(says), "{says}: {said}");
        }
    });
}

#[test]
fn what_somebody_remembers_for_us_of_the_tree_is_not_signed() {
    story(async |s| {
        let anchored = Anchored::new(s);
        deployed(s).await;
        anchored.signs().await;
        s.tampered = true;
        // Each is registered and posted: two events.
        for n in 0..130 {
            assert!(s.post_build(&build(&format!("more-{n}")).body()).await.0.is_success());
        }
        s.settle().await;
        // As many events as a whole tile has are there, and nobody has signed them yet.
        assert!(s.database.count("select count(*) from event").await >= 256);
        s.database.execute("insert into tree_tile (n, hash) values (0, sha256('x')), (-1, sha256('y')) on conflict (n) do update set hash = excluded.hash").await;
        anchored.signs().await;
        assert_eq!(anchored.app.audit(false).await.unwrap().findings, []);
        let event = s
            .database
            .count("select position from event where type = 'build_registered' order by position limit 1")
            .await;
        let (code, proof, said) = s.coolops_with(&["audit", "prove", &event.to_string()], &anchored.variables());
        assert!(code == 0 && proof.contains("coolops-proof-1"), "{said}");
    });
}
