//! Stories of people who take the log away with them: exports, and what checks them.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::proof::{Scratch, deployed};
use crate::story::anchored::{Anchored, LOG};
use crate::story::{build, story};

#[test]
fn an_export_is_checked_without_the_database_and_against_a_checkpoint() {
    story(async |s| {
        let anchored = Anchored::new(s);
        deployed(s).await;
        let scratch = Scratch::new();
        let path = |name: &str| scratch.0.join(name).to_str().unwrap().to_owned();
        for form in ["jsonl", "csv"] {
            let size = anchored.signs().await;
            let file = path(&format!("log.{form}"));
            let (code, _, said) = s.coolops(&["audit", "export", "--format", form, "--output", &file]);
            assert!(code == 0 && said.contains("Events 1 to "), "{said}");
            let checkpoint = anchored.folder.join("checkpoint");
            let check = |file: &str| {
                s.coolops(&[
                    "audit",
                    "check-export",
                    file,
                    "--checkpoint",
                    checkpoint.to_str().unwrap(),
                    "--key",
                    &anchored.public,
                ])
            };
            let (code, told, said) = check(&file);
            assert!(
                code == 0 && told.contains(&format!("The first {size} are those of the checkpoint.")),
                "{told}{said}"
            );
            let whole = std::fs::read_to_string(&file).unwrap();
            let ends = format!(".{form}");
            let headings = usize::from(form == "csv");
            let lines: Vec<&str> = whole.lines().collect();
            let without = |n: usize| [&lines[..n], &lines[n + 1..]].concat().join("\n") + "\n";
            for (changed, says) in [
                (whole[..whole.len() - 20].to_owned(), "is cut off: the export is not whole"),
                (lines[..lines.len() - 2].join("\n") + "\n", "it was cut off"),
                (whole.replacen("Staging", "Stagung", 1), "was changed: its payload is not what was hashed"),
                (without(headings + 2), "event 3 is missing, the next one is 4"),
                (without(headings), "it can't be held against the checkpoint"),
                (
                    whole
                        .replace("\"kind\":\"operator\"", "\"kind\":\"operatar\"")
                        .replace("\\\"kind\\\":\\\"operator\\\"", "\\\"kind\\\":\\\"operatar\\\"")
                        .replace("\"\"kind\"\":\"\"operator\"\"", "\"\"kind\"\":\"\"operatar\"\""),
                    "its header, its time or its place",
                ),
                ("nonsense\n".to_owned(), "line 1 is no"),
                (String::new(), "there is no event in it"),
            ] {
                let says = if form == "csv" && changed == "nonsense\n" { "line 1 is not the headings" } else { says };
                let (code, _, said) = check(&scratch.file(&format!("changed{ends}"), &changed));
                assert!(code == 1 && said.contains(says), "{form}: {says}: {said}");
            }
            // A file is gone on with: what was cut off in a crash is written again, and nothing twice.
            std::fs::write(&file, &whole[..whole.len() - 20]).unwrap();
            s.post_build(&build(&format!("later-{form}")).body()).await;
            s.settle().await;
            let (code, _, said) = s.coolops(&["audit", "export", "--format", form, "--output", &file]);
            assert_eq!(code, 0, "{said}");
            assert_eq!(check(&file).0, 0);
            assert!(std::fs::read_to_string(&file).unwrap().starts_with(&whole[..whole.len() - 20]));
            let (code, _, said) =
                s.coolops(&["audit", "check-export", &scratch.file("other.txt", &whole), "--format", form]);
            assert_eq!(code, 0, "{said}");
        }
        // From the middle on it is checked by itself.
        let (_, text, _) = s.coolops(&["audit", "export", "--since", "5", "--until", "8"]);
        assert_eq!(text.lines().count(), 4);
        let (code, told, _) = s.coolops(&["audit", "check-export", &scratch.file("middle.jsonl", &text)]);
        assert!(code == 0 && told.starts_with("Events 5 to 8 fit together."), "{told}");
        // A file of another log is not written to.
        let line = text.replace("\"position\":8", "\"position\":7");
        let (code, _, said) = s.coolops(&["audit", "export", "--output", &scratch.file("foreign.jsonl", &line)]);
        assert!(code == 1 && said.contains("is an export of another log: nothing is written"), "{said}");
    });
}

#[test]
fn an_export_never_harms_a_file_that_is_none() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        let scratch = Scratch::new();
        for (content, says) in [
            ("a diary without a last line's end", "it is no export: nothing is written"),
            ("a diary\nwith two lines", "its last line is no line of an export"),
            ("a diary\n", "its last line is no line of an export"),
        ] {
            let file = scratch.file("diary", content);
            let (code, _, said) = s.coolops(&["audit", "export", "--output", &file]);
            assert!(code == 1 && said.contains(says), "{content}: {said}");
            assert_eq!(std::fs::read_to_string(&file).unwrap(), content);
        }
        // Parts put one behind the other are one file.
        let file = scratch.0.join("parts.csv").to_str().unwrap().to_owned();
        for range in [["--since", "1", "--until", "3"], ["--since", "4", "--until", "6"]] {
            let (code, _, said) =
                s.coolops(&[&["audit", "export", "--format", "csv", "--output", &file], &range[..]].concat());
            assert_eq!(code, 0, "{said}");
        }
        let (code, told, said) = s.coolops(&["audit", "check-export", &file]);
        assert!(code == 0 && told.starts_with("Events 1 to 6 fit together."), "{told}{said}");
        // Nor is anything in it that other readers would find and this one not look at.
        let whole = std::fs::read_to_string(&file).unwrap();
        let second = whole.lines().nth(2).unwrap();
        for added in [format!("{second}\r{second}"), format!("{second},approved"), format!("\"{second}")] {
            let forged = scratch.file("forged.csv", &whole.replacen(second, &added, 1));
            let (code, _, said) = s.coolops(&["audit", "check-export", &forged]);
            assert!(code == 1 && said.contains("line 3 is no line of an export"), "{added}: {said}");
        }
        let (code, _, said) = s.coolops(&["audit", "export", "--since", "9999", "--follow"]);
        assert!(code == 1 && said.contains("there is no event 9999"), "{said}");
    });
}

#[test]
fn an_export_that_follows_tells_what_happens_as_it_happens() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        let scratch = Scratch::new();
        let (file, said) = (scratch.0.join("log.jsonl"), scratch.0.join("said"));
        let mut follower = Command::new(env!("CARGO_BIN_EXE_coolops"))
            .args(["audit", "export", "--follow", "--output", file.to_str().unwrap()])
            .env_clear()
            .env("DATABASE_URL", &s.database.url)
            .env("COOLOPS_MASTER_KEY", crate::story::MASTER_KEY)
            .stderr(std::fs::File::create(&said).unwrap())
            .spawn()
            .unwrap();
        let comes = async |into: &std::path::Path, words: &str| {
            let began = std::time::Instant::now();
            while !std::fs::read_to_string(into).unwrap_or_default().contains(words) {
                assert!(began.elapsed().as_secs() < 20, "{words} does not come");
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        comes(&file, "master-1").await;
        s.ci_announces(build("master-2")).await;
        comes(&file, "master-2").await;
        // Nobody gets to the database for a while; it is waited for, and what happened meanwhile comes.
        s.ci_announces(build("master-3")).await;
        comes(&file, "master-3").await;
        s.database.lets_in(false).await;
        comes(&said, "The database does not answer").await;
        s.database.lets_in(true).await;
        s.ci_announces(build("master-4")).await;
        comes(&file, "master-4").await;
        follower.kill().unwrap();
        follower.wait().unwrap();
        assert_eq!(s.coolops(&["audit", "check-export", file.to_str().unwrap()]).0, 0);
    });
}

#[test]
fn an_export_that_follows_ends_where_the_log_is_written_anew() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        let scratch = Scratch::new();
        let (file, said) = (scratch.0.join("log.csv"), scratch.0.join("said"));
        let mut follower = Command::new(env!("CARGO_BIN_EXE_coolops"))
            .args(["audit", "export", "--follow", "--output", file.to_str().unwrap()])
            .env_clear()
            .env("DATABASE_URL", &s.database.url)
            .env("COOLOPS_MASTER_KEY", crate::story::MASTER_KEY)
            .stderr(std::fs::File::create(&said).unwrap())
            .spawn()
            .unwrap();
        let read = |path: &std::path::Path| std::fs::read_to_string(path).unwrap_or_default();
        until("master-1 comes", || read(&file).contains("master-1").then_some(())).await;
        s.tampered = true;
        s.database
            .execute("alter table event disable trigger all; update event set chain_hash = sha256('') where position = (select max(position) from event)")
            .await;
        let ended = until("it ends", || follower.try_wait().unwrap()).await;
        assert_eq!(ended.code(), Some(1));
        assert!(read(&said).contains("the database has another log now"), "{}", read(&said));
        // What it had written by then is as its name says.
        assert!(read(&file).starts_with("position,"), "{}", read(&file));
        assert_eq!(s.coolops(&["audit", "check-export", file.to_str().unwrap()]).0, 0);
        let (code, _, said) = s.coolops(&["audit", "check-export", file.to_str().unwrap(), "--key", "x"]);
        assert!(code == 2 && said.contains("--checkpoint"), "a key alone checks nothing: {said}");
    });
}

/// What comes of looking again and again.
async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = std::time::Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed().as_secs() < 20, "{what}: it does not come");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[test]
fn an_export_that_follows_ends_with_whoever_reads_it() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        let mut follower = Command::new(env!("CARGO_BIN_EXE_coolops"))
            .args(["audit", "export", "--follow"])
            .env_clear()
            .env("DATABASE_URL", &s.database.url)
            .env("COOLOPS_MASTER_KEY", crate::story::MASTER_KEY)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // As `| head -1` does: it takes a line, and is gone. Nothing else happens.
        let mut first = String::new();
        BufReader::new(follower.stdout.take().unwrap()).read_line(&mut first).unwrap();
        assert!(first.starts_with("{\"position\":1,"), "{first}");
        let began = std::time::Instant::now();
        let ended = loop {
            if let Some(ended) = follower.try_wait().unwrap() {
                break ended;
            }
            if began.elapsed().as_secs() > 20 {
                follower.kill().unwrap();
                panic!("it goes on though nobody reads it");
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        };
        assert!(ended.success(), "{ended}");
    });
}

/// The link of the chain that an event has with what it says now.
fn recomputed(event: &coolops::proof::exported::Exported<'_>) -> String {
    use coolops::proof::chain;
    let header = chain::Header {
        event_id: event.event_id,
        tenant_id: event.tenant_id,
        stream_type: &event.stream_type,
        stream_id: event.stream_id,
        stream_version: event.stream_version,
        kind: &event.kind,
        schema_version: event.schema_version,
        actor: &event.actor,
        correlation_id: event.correlation_id,
        causation_id: event.causation_id,
        fence: event.fence,
    };
    let item = chain::item_hash(&header, &chain::body_hash(event.payload.as_bytes()));
    let entry = chain::entry(event.position, event.micros_since_2000().unwrap(), &item);
    hex::encode(chain::link(&hex::decode(&event.previous).unwrap().try_into().unwrap(), &entry))
}

/// What the verifier says that was written from the documents alone.
fn verify(arguments: &[&str]) -> (i32, String) {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/verify.py");
    let library = concat!(env!("CARGO_MANIFEST_DIR"), "/target/python");
    let output = Command::new("python3").arg(program).args(arguments).env("PYTHONPATH", library).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout) + &text(&output.stderr))
}

#[test]
fn the_verifier_that_was_written_from_the_documents_finds_what_ours_finds() {
    story(async |s| {
        let anchored = Anchored::new(s);
        deployed(s).await;
        anchored.signs().await;
        let scratch = Scratch::new();
        let checkpoint = anchored.folder.join("checkpoint").to_str().unwrap().to_owned();
        let (_, log, _) = s.coolops(&["audit", "export"]);
        let last = log.lines().last().unwrap();
        let sealed = log.lines().find(|line| line.contains("deployment_succeeded")).unwrap();
        let position = serde_json::from_str::<Value>(sealed).unwrap()["position"].to_string();
        let (_, proof, _) = s.coolops_with(&["audit", "prove", &position], &anchored.variables());
        assert!(proof.contains("\"seal\""), "{proof}");
        let exports = |text: &str| verify(&["export", &scratch.file("log.jsonl", text), &checkpoint, &anchored.public]);
        let proves = |text: &str, key: &str| verify(&["proof", &scratch.file("proof.json", text), key]);
        let size = log.lines().count();
        assert_eq!(
            exports(&log),
            (0, format!("Everything fits in {}; {LOG} signed {size} events.\n", scratch.0.join("log.jsonl").display()))
        );
        let (code, said) = proves(&proof, &anchored.public);
        assert_eq!(code, 0, "{said}");
        let other = Anchored::at(s, scratch.0.join("other"), &[], 8);
        for (text, says) in [
            (log.replacen("Staging", "Stagung", 1), "was edited"),
            (log.replacen(&format!("{}\n", log.lines().nth(2).unwrap()), "", 1), "does not follow"),
            (log.replacen(&format!("{last}\n"), "", 1), "ends before position"),
            (log[..log.len() - 5].to_owned(), "is cut off"),
        ] {
            let (code, said) = exports(&text);
            assert!(code == 1 && said.contains(says), "{says}: {said}");
        }
        // A whole history that was computed anew fits together, and is not the one that was signed.
        let mut rewritten = String::new();
        let mut link = None::<String>;
        for line in log.lines() {
            let mut event: coolops::proof::exported::Exported<'_> = serde_json::from_str(line).unwrap();
            if let Some(link) = &link {
                event.previous = link.clone();
            }
            event.payload = event.payload.replace("Staging", "Stagung").into();
            event.body_hash = hex::encode(coolops::proof::chain::body_hash(event.payload.as_bytes()));
            let mut anew = serde_json::to_value(&event).unwrap();
            let chained = recomputed(&event);
            anew["chain_hash"] = chained.clone().into();
            link = Some(chained);
            rewritten += &(anew.to_string() + "\n");
        }
        assert_ne!(rewritten, log);
        let (code, said) = exports(&rewritten);
        assert!(code == 1 && said.contains("root is not that of the events' tree"), "{said}");
        let file = scratch.file("rewritten.jsonl", &rewritten);
        assert_eq!(s.coolops(&["audit", "check-export", &file]).0, 0, "it fits together");
        let held = ["audit", "check-export", &file, "--checkpoint", &checkpoint, "--key"];
        let (code, _, said) = s.coolops(&[&held[..], &[&anchored.public]].concat());
        assert!(
            code == 1 && said.contains(&format!("the first {size} events are not those of the checkpoint")),
            "{said}"
        );
        let (code, _, said) = s.coolops(&[&held[..], &[&other.public]].concat());
        assert!(code == 1 && said.contains("it is not signed by"), "{said}");
        // What private texts say may stand beside; nothing else may.
        let (_, plain, _) = s.coolops(&["audit", "export", "--plain", "--since", "0"]);
        assert!(plain.contains("\"plain\""), "{plain}");
        assert_eq!(exports(&plain).0, 0, "{}", exports(&plain).1);
        let ours = |text: &str| s.coolops(&["audit", "check-export", &scratch.file("ours.jsonl", text)]);
        assert_eq!(ours(&plain).0, 0, "{}", ours(&plain).2);
        let added = log.replacen("{\"position\":", "{\"approved_by\":\"eve\",\"position\":", 1);
        let time = log.replacen("Z\",\"type\"", "0Z\",\"type\"", 1);
        let twice = log.replacen("{\"position\":1,", "{\"position\":1,\"position\":1,", 1);
        let id = log.replacen("\"event_id\":\"", "\"event_id\":\"{", 1);
        let first_id = log.split("\"event_id\":\"").nth(1).unwrap()[..36].to_owned();
        let upper = log.replacen(&first_id, &first_id.to_uppercase(), 1);
        let simple = log.replacen(&first_id, &first_id.replace('-', ""), 1);
        let absent = log.replacen("\"fence\":null,", "", 1);
        let number = log.replacen("\"schema_version\":1,", "\"schema_version\":true,", 1);
        let shorter = log.replacen("0Z\",\"type\"", "Z\",\"type\"", 1);
        let first_previous = log.split("\"previous\":\"").nth(1).unwrap()[..64].to_owned();
        let capital = log.replacen(&first_previous, &first_previous.to_uppercase(), 1);
        let zero = log.replacen("\"schema_version\":1,", "\"schema_version\":-0,", 1);
        let beside = log.replacen("{\"position\":", "{\"plain\":{\"a\":\"b\",\"a\":\"c\"},\"position\":", 1);
        let no_text = log.replacen("{\"position\":", "{\"plain\":{\"a\":1e999},\"position\":", 1);
        let no_fence = log.replacen("\"fence\":null", "\"fence\":-0", 1);
        let nothing = log.replacen("{\"position\":", "{\"plain\":false,\"position\":", 1);
        let null = log.replacen("{\"position\":", "{\"plain\":null,\"position\":", 1);
        let digits = log.replacen("\"recorded_at\":\"2", "\"recorded_at\":\"\u{662}", 1);
        for text in [
            added, time, twice, id, upper, simple, absent, number, capital, zero, beside, no_text, digits, no_fence,
            nothing, null,
        ] {
            assert!(text != log && ours(&text).0 == 1 && exports(&text).0 == 1, "{}", ours(&text).2);
        }
        if shorter != log {
            assert!(ours(&shorter).0 == 1 && exports(&shorter).0 == 1, "{}", ours(&shorter).2);
        }
        let our_check = |text: &str| {
            let file = scratch.file("ours.json", text);
            s.coolops(&["audit", "check-proof", &file, "--key", &anchored.public]).0
        };
        assert_eq!(our_check(&proof), 0);
        let seal = proof.find("\"seal\"").map(|at| (at, at + proof[at..].find('}').unwrap())).unwrap();
        let unsealed = format!("{}{}", &proof[..seal.0], proof[seal.1 + 1..].trim_start_matches([',', ' ', '\n']));
        for text in [
            proof.replacen("{\n", "{\n\"approved_by\": \"eve\",\n", 1),
            proof.replacen("\"fence\":", "\"fence_\":", 1),
            proof.replacen("\"index\":", "\"index\": true, \"_\":", 1),
            unsealed,
            proof.replacen("\"lines\": 2", "\"lines\": 2.0", 1),
            proof.replacen("\\n\"\n}", "\"\n}", 1),
        ] {
            assert!(text != proof && our_check(&text) == 1 && proves(&text, &anchored.public).0 == 1, "{text}");
        }
        for (text, key, says) in [
            (proof.replace("\\\"lines\\\":2", "\\\"lines\\\":3"), &anchored.public, "was edited"),
            (proof.replace("\"lines\": 2", "\"lines\": 3"), &anchored.public, "The seal is not"),
            (proof.clone(), &other.public, "not signed by"),
        ] {
            assert!(text != proof || *key == other.public, "nothing was changed");
            let (code, said) = proves(&text, key);
            assert!(code == 1 && said.contains(says), "{says}: {said}");
        }
        let program = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/verify.py")).unwrap();
        assert!(program.lines().count() <= 60);
    });
}

#[test]
fn what_would_move_a_terminal_is_escaped_in_an_export_and_in_a_proof() {
    story(async |s| {
        let anchored = Anchored::new(s);
        let mut announced = build("master-1");
        announced.metadata.push(("note".to_owned(), "a\u{9b}2Jb\u{202e}c".to_owned()));
        s.ci_announces(announced).await;
        anchored.signs().await;
        let (_, log, _) = s.coolops(&["audit", "export"]);
        let moves = |text: &str| text.contains('\u{9b}') || text.contains('\u{202e}');
        assert!(log.contains("\\u009b") && !moves(&log), "{log}");
        let scratch = Scratch::new();
        assert_eq!(s.coolops(&["audit", "check-export", &scratch.file("log.jsonl", &log)]).0, 0);
        let position = s.database.count("select position from event where type = 'build_registered'").await;
        let (_, proof, _) = s.coolops_with(&["audit", "prove", &position.to_string()], &anchored.variables());
        assert!(proof.contains("\\u009b") && !moves(&proof), "{proof}");
        let file = scratch.file("proof.json", &proof);
        assert_eq!(s.coolops(&["audit", "check-proof", &file, "--key", &anchored.public]).0, 0);
    });
}

#[test]
fn two_exports_do_not_write_to_one_file_and_a_line_without_an_end_is_none() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        let scratch = Scratch::new();
        let file = scratch.file("log.jsonl", "");
        let held = std::fs::OpenOptions::new().append(true).open(&file).unwrap();
        held.lock().unwrap();
        let (code, _, said) = s.coolops(&["audit", "export", "--output", &file]);
        assert!(code == 1 && said.contains("another export writes to it"), "{said}");
        drop(held);
        assert_eq!(s.coolops(&["audit", "export", "--output", &file]).0, 0);
        let endless = scratch.file("endless.jsonl", &" ".repeat(17 << 20));
        let (code, _, said) = s.coolops(&["audit", "check-export", &endless]);
        assert!(code == 1 && said.contains("longer than any"), "{said}");
    });
}

#[test]
fn a_proof_of_a_deployment_that_never_ran_is_valid_everywhere() {
    story(async |s| {
        let anchored = Anchored::new(s);
        s.ci_announces(build("master-1")).await;
        s.ci_announces(build("master-2")).await;
        s.runner.hold();
        s.presses("ana", "master-1", "Staging").await;
        let first = s.app.store.deployments().list(None, &[], 1).await.unwrap()[0].deployment.of.deployment_id;
        s.presses("ben", "master-2", "Staging").await;
        let waiting =
            s.app.store.deployments().list(None, &[], 1).await.unwrap()[0].deployment.of.deployment_id.to_string();
        let (code, _, said) = s.coolops(&["deployment", "stop", &waiting, "--reason", "not wanted"]);
        assert_eq!(code, 0, "{said}");
        s.runner.ends(first, 0);
        s.settle().await;
        anchored.signs().await;
        let (code, proof, said) = s.coolops_with(&["audit", "prove", &waiting], &anchored.variables());
        assert!(code == 0 && proof.contains("\\\"log\\\":null"), "{proof}{said}");
        let scratch = Scratch::new();
        let file = scratch.file("proof.json", &proof);
        let (code, said) = verify(&["proof", &file, &anchored.public]);
        assert!(code == 0 && said.contains("Everything fits"), "{said}");
        assert_eq!(s.coolops(&["audit", "check-proof", &file, "--key", &anchored.public]).0, 0);
    });
}
