//! Stories of the places where checkpoints are kept: folders, repositories, a bucket; full, emptied, gone, or somebody else's.

use std::io::Write;
use std::process::Command;
use std::time::Duration;

use axum::http::StatusCode;
use coolops::app::finding::Kind;
use coolops::places::Place;

use super::proof::{Scratch, deployed};
use crate::story::anchored::Anchored;
use crate::story::{build, story};

/// What git tells somebody else who works there.
fn git_of_eve(scratch: &Scratch, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command.arg("-C").arg(&scratch.0).args(["-c", "user.name=eve", "-c", "user.email=eve@localhost"]);
    let output = command.args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A repository on another machine, cloned into folders here.
fn cloned(scratch: &Scratch, folders: &[&str]) {
    git_of_eve(scratch, &["init", "--quiet", "--bare", "--initial-branch=main", "remote.git"]);
    for folder in folders {
        git_of_eve(scratch, &["clone", "--quiet", "remote.git", folder]);
    }
}

#[test]
fn where_a_repository_has_an_origin_that_says_what_is_kept() {
    story(async |s| {
        let scratch = Scratch::new();
        let git = |arguments: &[&str]| git_of_eve(&scratch, arguments);
        cloned(&scratch, &["clone"]);
        let place = format!("git:{}", scratch.0.join("clone").display());
        let anchored = Anchored::at(s, scratch.0.join("folder"), &[&place], 7);
        deployed(s).await;
        anchored.signs().await;
        let copy = scratch.0.join("copy");
        git(&["clone", "--quiet", "--no-hardlinks", "clone", "copy"]);
        // Somebody else commits something there: what is signed next comes on top of it.
        git(&["clone", "--quiet", "remote.git", "eves"]);
        std::fs::write(scratch.0.join("eves/README"), "What is this?").unwrap();
        git(&["-C", "eves", "add", "README"]);
        git(&["-C", "eves", "commit", "--quiet", "-m", "Ask"]);
        git(&["-C", "eves", "push", "--quiet", "origin", "HEAD"]);
        s.presses("ana", "master-1", "Production").await;
        let then = anchored.signs().await;
        let places = s.app.store.checkpoints().places().await.unwrap();
        assert_eq!(places[0].problem, None);
        assert!(git(&["-C", "remote.git", "show", "HEAD:checkpoint"]).contains(&format!("\n{then}\n")));
        assert_eq!(git(&["-C", "remote.git", "show", "HEAD:README"]), "What is this?");
        // A file that a full disk tore is written anew.
        let folder = scratch.0.join("clone/checkpoints");
        let day = std::fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
        s.ci_announces(build("master-2")).await;
        std::fs::write(day.join("torn.new"), "").unwrap();
        anchored.signs().await;
        assert_eq!(s.app.store.checkpoints().places().await.unwrap()[0].problem, None);
        // A clone that was put back to an older state, with its database, is no witness for it.
        std::fs::remove_dir_all(scratch.0.join("clone")).unwrap();
        std::fs::rename(&copy, scratch.0.join("clone")).unwrap();
        let remote = scratch.0.join("remote.git");
        git(&["-C", "clone", "remote", "set-url", "origin", remote.to_str().unwrap()]);
        s.tampered = true;
        s.database
            .execute(&format!(
                "alter table event disable trigger all; delete from event where position > {0}; delete from checkpoint where size > {0};
                 delete from slack_message; update event_head set (position, chain_hash) = (select position, chain_hash from event where position = {0});
                 alter table event enable always trigger event_is_append_only; alter table event enable always trigger event_is_never_truncated",
                then - 1
            ))
            .await;
        let refused = anchored.app.checkpoint().await.unwrap_err().to_string();
        assert!(refused.contains("a backup was restored, or its end was cut off"), "{refused}");
        // What is decided is at the origin before it counts, and holds from then on.
        s.app.rebuild().await.unwrap();
        let with = [("COOLOPS_CHECKPOINT_KEY", anchored.private.as_str()), ("COOLOPS_CHECKPOINTS", place.as_str())];
        let (code, _, said) = s.coolops_with(&["audit", "fork", "--reason", "It was put back"], &with);
        assert_eq!(code, 0, "{said}");
        assert!(git(&["-C", "remote.git", "ls-tree", "-r", "--name-only", "HEAD"]).contains("forks/"));
        s.ci_announces(build("master-3")).await;
        anchored.signs().await;
        anchored.app.hold_against_places(Duration::from_secs(30)).await.unwrap();
        assert_eq!(anchored.app.audit(false).await.unwrap().findings, []);
    });
}

#[test]
fn a_place_that_does_not_answer_keeps_no_other_from_being_heard_at_the_start() {
    story(async |s| {
        let anchored = Anchored::new(s);
        deployed(s).await;
        anchored.signs().await;
        s.tampered = true;
        s.database
            .execute(
                "alter table event disable trigger all; delete from event where position = (select max(position) from event);
                 update event_head set position = position - 1, chain_hash = (select chain_hash from event order by position desc limit 1)",
            )
            .await;
        // Its origin takes connections, and says nothing.
        let scratch = Scratch::new();
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let origin = format!("git://{}/x", silent.local_addr().unwrap());
        let repository = scratch.0.join("kept");
        git_of_eve(&scratch, &["init", "--quiet", "--bare", "kept"]);
        git_of_eve(&scratch, &["-C", "kept", "remote", "add", "origin", &origin]);
        let places = [format!("git:{}", repository.display()), anchored.folder.display().to_string()];
        let both = Anchored::at(s, anchored.folder.clone(), &[&places[0], &places[1]], 7);
        let held = both.app.hold_against_places(Duration::from_secs(1)).await;
        assert!(held.unwrap_err().to_string().contains("a backup was restored, or its end was cut off"));
        assert!(s.app.store.checkpoints().closed().await.unwrap().is_some(), "nothing starts a second time");
    });
}

#[test]
fn whatever_is_left_half_done_in_a_repository_is_in_nobody_s_way() {
    story(async |s| {
        let scratch = Scratch::new();
        let git = |arguments: &[&str]| git_of_eve(&scratch, arguments);
        // Another host began there too.
        cloned(&scratch, &["clone", "eves"]);
        std::fs::write(scratch.0.join("eves/README"), "What is this?").unwrap();
        git(&["-C", "eves", "add", "README"]);
        git(&["-C", "eves", "commit", "--quiet", "-m", "Begin"]);
        git(&["-C", "eves", "push", "--quiet", "origin", "HEAD"]);
        std::fs::write(scratch.0.join("clone/mine"), "mine").unwrap();
        git(&["-C", "clone", "add", "mine"]);
        git(&["-C", "clone", "commit", "--quiet", "-m", "Begin elsewhere"]);
        std::fs::write(scratch.0.join("clone/.git/index.lock"), "").unwrap();
        let place = format!("git:{}", scratch.0.join("clone").display());
        let anchored = Anchored::at(s, scratch.0.join("folder"), &[&place], 7);
        let well = async || s.app.store.checkpoints().places().await.unwrap()[0].problem.clone();
        deployed(s).await;
        let first = anchored.signs().await;
        assert_eq!(well().await, None);
        let newest = || git(&["-C", "remote.git", "show", "HEAD:checkpoint"]);
        assert!(newest().contains(&format!("\n{first}\n")), "{}", newest());
        assert_eq!(git(&["-C", "remote.git", "show", "HEAD:README"]), "What is this?");
        // What was committed here, and is not there, is somebody's own, and stays.
        assert_eq!(git(&["-C", "clone", "log", "--format=%s"]), "Begin elsewhere\n");
        assert_eq!(std::fs::read_to_string(scratch.0.join("clone/mine")).unwrap(), "mine");
        // Somebody deletes what is called the newest, and leaves a note of their own.
        git(&["-C", "eves", "pull", "--quiet"]);
        git(&["-C", "eves", "rm", "--quiet", "checkpoint"]);
        std::fs::write(scratch.0.join("eves/checkpoints/für später"), "mine").unwrap();
        git(&["-C", "eves", "add", "checkpoints"]);
        git(&["-C", "eves", "commit", "--quiet", "-m", "Tidy up"]);
        git(&["-C", "eves", "push", "--quiet", "origin", "HEAD"]);
        s.ci_announces(build("master-2")).await;
        let then = anchored.signs().await;
        assert_eq!(well().await, None);
        assert!(newest().contains(&format!("\n{then}\n")), "{}", newest());
        let of_eve = anchored.app.audit(false).await.unwrap().findings;
        assert_eq!(of_eve.iter().map(|found| found.kind).collect::<Vec<_>>(), [Kind::BadCheckpoint], "{of_eve:?}");
        // Or the branch: what was kept there is gone, whatever this machine still has.
        git(&["-C", "remote.git", "update-ref", "-d", "refs/heads/main"]);
        let report = anchored.app.audit(false).await.unwrap();
        assert!(report.findings.iter().any(|f| f.said.contains("which was kept there")), "{:?}", report.findings);
        s.ci_announces(build("master-3")).await;
        anchored.signs().await;
        assert_eq!(well().await, None);
        assert_eq!(anchored.app.audit(false).await.unwrap().findings, [], "they are sent again");
    });
}

#[test]
fn a_folder_in_a_repository_is_a_place_and_whoever_reads_it_is_in_nobody_s_way() {
    story(async |s| {
        let scratch = Scratch::new();
        let git = |arguments: &[&str]| git_of_eve(&scratch, arguments);
        cloned(&scratch, &["clone", "eves"]);
        std::fs::create_dir(scratch.0.join("clone/coolops")).unwrap();
        let written = format!("git:{}", scratch.0.join("clone/coolops").display());
        let anchored = Anchored::at(s, scratch.0.join("folder"), &[&written], 7);
        deployed(s).await;
        anchored.signs().await;
        let names = git(&["-C", "remote.git", "ls-tree", "-r", "--name-only", "HEAD"]);
        assert!(names.lines().all(|name| name.starts_with("coolops/checkpoint")), "{names}");
        assert_eq!(anchored.app.audit(false).await.unwrap().findings, []);
        // Several processes look at once at what somebody has just pushed.
        let place = Place::read(&written).unwrap();
        for n in 0..5 {
            git(&["-C", "eves", "pull", "--quiet", "origin", "main"]);
            git(&["-C", "eves", "commit", "--quiet", "--allow-empty", "-m", &format!("Ask {n}")]);
            git(&["-C", "eves", "push", "--quiet", "origin", "HEAD"]);
            for newest in futures::future::join_all((0..6).map(|_| place.newest())).await {
                assert!(newest.unwrap().is_some());
            }
        }
    });
}

#[test]
fn a_place_that_is_full_or_gone_holds_nothing_up_and_is_told() {
    story(async |s| {
        let scratch = Scratch::new();
        let (good, bad) = (scratch.0.join("good"), scratch.file("bad", "a file where a folder should be"));
        let anchored = Anchored::at(s, good.clone(), &[&bad, good.to_str().unwrap(), "git:/nowhere/at/all"], 7);
        deployed(s).await;
        anchored.signs().await;
        assert_eq!(anchored.files().len(), 1, "the other place has it");
        let places = s.app.store.checkpoints().places().await.unwrap();
        let failing: Vec<_> = places.iter().filter(|p| p.problem.is_some() && p.failing_since.is_some()).collect();
        assert_eq!(failing.len(), 2, "{places:?}");
        // What happens is recorded all the same, and what a place missed it is sent when it is back.
        s.presses("ana", "master-1", "Production").await;
        std::fs::remove_file(&bad).unwrap();
        anchored.signs().await;
        let places = s.app.store.checkpoints().places().await.unwrap();
        let back = places.iter().find(|p| p.place == bad).unwrap();
        assert_eq!((&back.problem, back.failing_since), (&None, None));
        let days = std::fs::read_dir(std::path::Path::new(&bad).join("checkpoints")).unwrap();
        assert_eq!(days.map(|day| std::fs::read_dir(day.unwrap().path()).unwrap().count()).sum::<usize>(), 2);
    });
}

/// A disk of 64 KiB.
struct Disk(std::path::PathBuf);

impl Disk {
    fn new(at: std::path::PathBuf) -> Self {
        std::fs::create_dir_all(&at).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "coolops-test"]).arg(&at).status();
        assert!(mounted.unwrap().success(), "{} can't be mounted", at.display());
        Self(at)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        Command::new("umount").arg(&self.0).status().ok();
    }
}

#[test]
fn while_a_disk_is_full_builds_and_presses_go_on_and_doctor_says_what_is_not_kept() {
    story(async |s| {
        let scratch = Scratch::new();
        let disk = Disk::new(scratch.0.join("disk"));
        let anchored = Anchored::at(s, disk.0.clone(), &[disk.0.to_str().unwrap()], 7);
        deployed(s).await;
        anchored.signs().await;
        assert_eq!(anchored.files().len(), 1);
        let filler = disk.0.join("filler");
        while std::fs::OpenOptions::new().create(true).append(true).open(&filler).unwrap().write_all(&[0; 1024]).is_ok()
        {
        }
        s.presses("ana", "master-1", "Production").await;
        anchored.app.checkpoint().await.unwrap();
        assert_eq!(s.channel().matches("*succeeded*").count(), 2, "{}", s.channel());
        let said = anchored.doctor(s);
        assert!(
            said.contains("WRONG") && said.contains("can't be kept since 20") && said.contains("No space left"),
            "{said}"
        );
        assert_eq!(anchored.files().len(), 1, "nothing is half written");
        std::fs::remove_file(&filler).unwrap();
        s.ci_announces(build("master-2")).await;
        anchored.signs().await;
        assert_eq!(anchored.files().len(), 3, "what it missed is there too");
        let said = anchored.doctor(s);
        assert!(!said.contains("can't be kept"), "{said}");
        // As where what should be mounted there is not.
        std::fs::rename(disk.0.join("checkpoint"), disk.0.join("aside")).unwrap();
        let said = anchored.doctor(s);
        assert!(said.contains("is what should be mounted there mounted?"), "{said}");
        std::fs::rename(disk.0.join("aside"), disk.0.join("checkpoint")).unwrap();
        assert_eq!(anchored.app.audit(false).await.unwrap().findings, []);
    });
}

/// What signs and keeps checkpoints in places of which one is a bucket at an address.
fn with_a_bucket<'a>(
    anchored: &'a Anchored,
    (places, address): (&'a str, &'a str),
    secret: &'a str,
) -> [(&'static str, &'a str); 7] {
    [
        ("COOLOPS_CHECKPOINT_KEY", &anchored.private),
        ("COOLOPS_CHECKPOINTS", places),
        ("AWS_ACCESS_KEY_ID", "AKIATEST"),
        ("AWS_SECRET_ACCESS_KEY", secret),
        ("AWS_REGION", "eu-west-1"),
        ("AWS_ENDPOINT", address),
        ("AWS_ALLOW_HTTP", "true"),
    ]
}

/// A bucket's answer to a question for what is in it: it shows nothing.
const NOTHING_LISTED: &str =
    "<ListBucketResult><Name>b</Name><KeyCount>0</KeyCount><IsTruncated>false</IsTruncated></ListBucketResult>";

#[test]
fn checkpoints_are_kept_in_a_bucket() {
    story(async |s| {
        let bench = crate::images::Bench::new();
        let amazon = crate::images::amazon::Amazon::start(&bench);
        let address = amazon.url.clone();
        amazon.says(&["s3", "mb", "s3://checkpoints"]);
        let anchored = Anchored::new(s);
        let places = format!("s3://checkpoints/coolops/log,{}", anchored.folder.display());
        let with = |secret| with_a_bucket(&anchored, (&places, &address), secret);
        deployed(s).await;
        let (code, note, said) = s.coolops_with(&["audit", "checkpoint"], &with("secret"));
        assert_eq!(code, 0, "{note}{said}");
        let (code, again, _) = s.coolops_with(&["audit", "checkpoint"], &with("secret"));
        assert_eq!((code, &again), (0, &note), "nothing new");
        let listed = amazon.says(&["s3", "ls", "--recursive", "s3://checkpoints/coolops/log/"]);
        assert_eq!(listed.lines().count(), 2, "{listed}");
        let kept = amazon.says(&["s3", "cp", "s3://checkpoints/coolops/log/checkpoint", "-"]);
        assert_eq!(kept, note);
        let (code, told, said) = s.coolops_with(&["audit", "verify"], &with("secret"));
        assert!(code == 0 && told.contains("5 checkpoints are of this log, 4 of them kept outside"), "{told}{said}");
        // What was put there by somebody else is found.
        let forged = bench.path("forged");
        std::fs::write(&forged, note.replacen("/log\n", "/log2\n", 1)).unwrap();
        amazon.says(&[
            "s3",
            "cp",
            forged.to_str().unwrap(),
            "s3://checkpoints/coolops/log/checkpoints/2026-01-01/forged",
        ]);
        let (code, told, _) = s.coolops_with(&["audit", "verify"], &with("secret"));
        assert!(code == 1 && told.contains("checkpoints/2026-01-01/forged: "), "{told}");
        // A bucket that is gone is told, without its key, and the other place is kept up to date.
        drop(amazon);
        s.presses("ana", "master-1", "Production").await;
        let (code, newer, said) = s.coolops_with(&["audit", "checkpoint"], &with("hunter2"));
        assert!(code == 1 && newer != note && said.contains("s3://checkpoints/coolops/log: "), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
        assert_eq!(std::fs::read_to_string(anchored.folder.join("checkpoint")).unwrap(), newer);
        s.tampered = true;
    });
}

/// A bucket with object lock: it takes nothing that has no checksum. It shows nothing of what it has.
async fn locked_bucket(request: axum::extract::Request) -> axum::response::Response {
    use axum::response::IntoResponse;
    let has_checksum = request.headers().contains_key("x-amz-checksum-sha256");
    let is_list = request.uri().query().is_some_and(|query| query.contains("list-type"));
    match request.method().as_str() {
        "PUT" if has_checksum => (StatusCode::OK, [("etag", "\"7\"")]).into_response(),
        "PUT" => StatusCode::BAD_REQUEST.into_response(),
        _ if is_list => NOTHING_LISTED.into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

#[test]
fn a_bucket_with_object_lock_takes_checkpoints() {
    story(async |s| {
        deployed(s).await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(locked_bucket)).await });
        let anchored = Anchored::new(s);
        let with = with_a_bucket(&anchored, ("s3://b/log", &address), "secret");
        let (code, told, said) = s.coolops_with(&["audit", "checkpoint"], &with);
        assert_eq!(code, 0, "{told}{said}");
        let places = s.app.store.checkpoints().places().await.unwrap();
        assert_eq!(places[0].problem, None);
    });
}

/// A bucket that shows nothing but what it was asked for by name; the first newest checkpoint lands there late.
#[derive(Default)]
struct SlowBucket {
    kept: std::sync::Mutex<std::collections::HashMap<String, axum::body::Bytes>>,
    is_asked: tokio::sync::Notify,
    lets_through: tokio::sync::Notify,
    asked: std::sync::atomic::AtomicUsize,
}

impl SlowBucket {
    async fn answers(self: std::sync::Arc<Self>, request: axum::extract::Request) -> axum::response::Response {
        use axum::response::IntoResponse;
        let (head, body) = request.into_parts();
        let file = head.uri.path().to_owned();
        let is_newest = file == "/b/log/checkpoint";
        match (head.method.as_str(), head.uri.query()) {
            ("PUT", _) => {
                let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
                if is_newest && self.asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0 {
                    self.is_asked.notify_one();
                    self.lets_through.notified().await;
                }
                self.kept.lock().unwrap().insert(file, body);
                (StatusCode::OK, [("etag", "\"7\"")]).into_response()
            }
            (_, Some(query)) if query.contains("list-type") => NOTHING_LISTED.into_response(),
            _ => match self.kept.lock().unwrap().get(&file).cloned() {
                Some(kept) => {
                    let headers = [("etag", "\"7\""), ("last-modified", "Sun, 29 Nov 2026 10:00:00 GMT")];
                    (StatusCode::OK, headers, kept).into_response()
                }
                None => StatusCode::NOT_FOUND.into_response(),
            },
        }
    }
}

#[test]
fn of_two_that_keep_their_checkpoints_at_one_place_the_slower_leaves_no_older_one_as_the_newest() {
    story(async |s| {
        deployed(s).await;
        let bucket = std::sync::Arc::new(SlowBucket::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let answering = bucket.clone();
        let router = axum::Router::new().fallback(move |request| answering.clone().answers(request));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let anchored = Anchored::new(s);
        let with = with_a_bucket(&anchored, ("s3://b/log", &address), "secret");
        let (slower, quicker) = tokio::task::block_in_place(|| {
            std::thread::scope(|scope| {
                let slower = scope.spawn(|| s.coolops_with(&["audit", "checkpoint"], &with));
                let asked = tokio::time::timeout(std::time::Duration::from_secs(20), bucket.is_asked.notified());
                let asked = tokio::runtime::Handle::current().block_on(asked);
                asked.unwrap_or_else(|_| {
                    panic!("it puts no newest checkpoint there; has it ended? {}", slower.is_finished())
                });
                s.coolops(&["project", "set", "api", "--name", "Api 2"]);
                let quicker = s.coolops_with(&["audit", "checkpoint"], &with);
                bucket.lets_through.notify_one();
                (slower.join().unwrap(), quicker)
            })
        });
        assert_eq!((slower.0, quicker.0), (0, 0), "{slower:?} {quicker:?}");
        let newest = bucket.kept.lock().unwrap()["/b/log/checkpoint"].clone();
        assert_eq!(
            String::from_utf8_lossy(&newest),
            quicker.1,
            "it went {} times",
            bucket.asked.load(std::sync::atomic::Ordering::SeqCst)
        );
    });
}

#[test]
fn what_somebody_else_keeps_in_a_place_is_left_alone_and_told() {
    story(async |s| {
        let anchored = Anchored::new(s);
        std::fs::write(anchored.folder.join("checkpoint"), "a note of somebody else").unwrap();
        deployed(s).await;
        let refused = anchored.app.checkpoint().await.unwrap_err().to_string();
        assert!(refused.contains("no place where checkpoints are kept can be read"), "{refused}");
        assert_eq!(std::fs::read_to_string(anchored.folder.join("checkpoint")).unwrap(), "a note of somebody else");
        let (code, told, _) = s.coolops_with(&["audit", "verify"], &anchored.variables());
        assert!(code == 1 && told.contains("checkpoint: it is no checkpoint"), "{told}");
    });
}

#[test]
fn a_place_that_was_emptied_is_filled_again_and_one_that_never_was_proves_nothing() {
    story(async |s| {
        let anchored = Anchored::new(s);
        deployed(s).await;
        anchored.signs().await;
        s.ci_announces(build("master-2")).await;
        anchored.signs().await;
        std::fs::remove_dir_all(&anchored.folder).unwrap();
        let (code, told, _) = s.coolops_with(&["audit", "verify"], &anchored.variables());
        assert!(code == 1 && told.contains("can't be read: there is no folder"), "{told}");
        assert!(!anchored.folder.exists(), "nobody who looks makes it");
        anchored.app.checkpoint().await.unwrap();
        assert_eq!(anchored.files().len(), 2);
        assert_eq!(anchored.app.audit(false).await.unwrap().findings, []);
        // A place by a wrong name is no proof.
        let typo = format!("{}-typo", anchored.folder.display());
        let (code, told, _) = s.coolops(&["audit", "verify", "--key", &anchored.public, "--checkpoints", &typo]);
        assert!(
            code == 1 && told.contains("there is no folder") && told.contains("nothing outside bears it out"),
            "{told}"
        );
        // The other half of a key is not shown to anybody.
        let (code, _, said) = s.coolops(&["audit", "verify", "--key", &anchored.private, "--checkpoints", &typo]);
        assert!(code == 1 && said.contains("it is no public key") && !said.contains("PRIVATE+KEY+coolops"), "{said}");
    });
}

#[test]
fn a_place_that_was_set_back_or_lost_a_file_is_sent_what_it_lacks() {
    story(async |s| {
        let anchored = Anchored::new(s);
        deployed(s).await;
        anchored.signs().await;
        let first = anchored.files();
        let newest = std::fs::read(anchored.folder.join("checkpoint")).unwrap();
        for n in 2..=4 {
            s.ci_announces(build(&format!("master-{n}"))).await;
            anchored.signs().await;
        }
        let all = anchored.files();
        // As from a backup of the folder.
        all.iter().filter(|file| !first.contains(file)).for_each(|file| std::fs::remove_file(file).unwrap());
        std::fs::write(anchored.folder.join("checkpoint"), newest).unwrap();
        anchored.app.checkpoint().await.unwrap();
        assert_eq!(anchored.files(), all);
        // A single file: whoever looks at all of them says so, and sends it.
        std::fs::remove_file(&all[1]).unwrap();
        let (code, told, _) = s.coolops_with(&["audit", "verify"], &anchored.variables());
        assert!(code == 1 && told.contains("lacks the checkpoint of"), "{told}");
        let (code, _, said) = s.coolops_with(&["audit", "checkpoint"], &anchored.variables());
        assert!(code == 0 && said.contains("Sent again what was not there any more: 1 checkpoint."), "{said}");
        assert_eq!(anchored.files(), all);
        assert_eq!(anchored.app.audit(false).await.unwrap().findings, []);
        // That of the newest is no other: its copy stands for none.
        std::fs::remove_file(all.last().unwrap()).unwrap();
        assert_eq!(s.coolops_with(&["audit", "checkpoint"], &anchored.variables()).0, 0);
        assert_eq!(anchored.files(), all);
    });
}

#[test]
fn what_somebody_writes_into_the_table_of_checkpoints_is_sent_nowhere() {
    story(async |s| {
        let anchored = Anchored::new(s);
        deployed(s).await;
        anchored.signs().await;
        s.tampered = true;
        let old = s.database.text("select note from checkpoint").await;
        for (n, size, note) in
            [("9223372036854775807", "1000000000000", old.as_str()), ("9223372036854775806", "7", "junk")]
        {
            let planted = format!(
                "insert into checkpoint (n, size, root, key_id, note, code) overriding system value select {n}, {size}, root, 'x', $junk${note}$junk$, code from checkpoint limit 1"
            );
            s.database.execute(&planted).await;
        }
        s.ci_announces(build("master-2")).await;
        let size = anchored.signs().await;
        s.ci_announces(build("master-3")).await;
        assert_eq!(anchored.signs().await, size + 2, "it goes on behind the true one");
        let newest = std::fs::read_to_string(anchored.folder.join("checkpoint")).unwrap();
        assert!(newest.contains(&format!("\n{}\n", size + 2)), "{newest}");
        assert_eq!(anchored.files().len(), 3);
        assert_eq!(s.app.store.lags().await.unwrap().signed, size as i64 + 2);
        let told = anchored.app.audit(false).await.unwrap().findings;
        let says = |words: &str| told.iter().any(|f| f.kind == Kind::BadCheckpoint && f.said.contains(words));
        let planted =
            "this database, the checkpoint of 1000000000000 events: its size, root or key is not that of its note";
        assert!(says(planted) && says("the checkpoint of 7 events"), "{told:?}");
        // A true note of long ago, as a new row: it was signed once, and is not the newest.
        let again = "insert into checkpoint (n, size, root, key_id, note, signed_at, code) overriding system value
                       select 9223372036854775805, size, root, 'again', note, signed_at, code from checkpoint order by n limit 1";
        s.database.execute(again).await;
        s.ci_announces(build("master-4")).await;
        assert_eq!(anchored.signs().await, size + 4);
        assert!(
            std::fs::read_to_string(anchored.folder.join("checkpoint")).unwrap().contains(&format!("\n{}\n", size + 4))
        );
        // These rows are told, and nothing else.
        let findings = anchored.app.audit(false).await.unwrap().findings;
        assert!(findings.iter().all(|found| found.kind == Kind::BadCheckpoint), "{findings:#?}");
        assert!(!findings.is_empty());
    });
}

#[test]
fn a_clock_that_goes_back_keeps_nothing_from_being_kept() {
    story(async |s| {
        let anchored = Anchored::new(s);
        deployed(s).await;
        anchored.signs().await;
        s.database.execute("update checkpoint set signed_at = signed_at + interval '1 hour'").await;
        for n in 2..=4 {
            s.ci_announces(build(&format!("master-{n}"))).await;
            anchored.signs().await;
        }
        // The file of the first is of another day, perhaps; the others are there.
        assert!(anchored.files().len() >= 4, "{:?}", anchored.files());
        assert_eq!(anchored.app.audit(false).await.unwrap().findings, []);
    });
}

#[test]
fn nobody_is_left_to_think_that_what_happened_is_signed() {
    story(async |s| {
        let anchored = Anchored::new(s);
        deployed(s).await;
        let lag = async || {
            let lags = s.app.store.lags().await.unwrap();
            (lags.oldest_unsigned_seconds as i64, lags.places_failing)
        };
        // The very first time the only place can't be used: which it is, and why.
        std::fs::write(anchored.folder.join("checkpoint"), "what somebody else keeps there\n").unwrap();
        s.database.set_clock(400).await;
        assert_eq!(lag().await, (0, 0), "nobody tried to keep any");
        assert!(anchored.app.checkpoint().await.unwrap_err().to_string().contains("nothing is signed until one can"));
        let said = anchored.doctor(s);
        assert!(said.contains("can't be kept since 20") && said.contains("nothing is signed until one can"), "{said}");
        let (behind, failing) = lag().await;
        assert!(behind >= 400 && failing == 2, "{behind} s, the place, and that nothing is signed: {failing}");
        std::fs::remove_file(anchored.folder.join("checkpoint")).unwrap();
        let size = anchored.signs().await;
        let said = anchored.doctor(s);
        assert!(said.contains(&format!("cover {size} events")) && !said.contains("signed"), "{said}");
        assert_eq!(lag().await, (0, 0));
        // Nobody signs any more.
        s.ci_announces(build("master-2")).await;
        s.database.set_clock(1_000).await;
        let said = anchored.doctor(s);
        assert!(said.contains("nothing that happened in the last 10 min 0 s is signed; is a coolops serve"), "{said}");
        // Or not for this place.
        anchored.signs().await;
        s.database.execute(&format!("update checkpoint_place set size = {size}")).await;
        s.database.set_clock(2_000).await;
        let said = anchored.doctor(s);
        assert!(said.contains(&format!("cover {size} events of ")), "{said}");
        // Nor where something is signed all the time.
        s.ci_announces(build("master-3")).await;
        anchored.signs().await;
        s.database.execute(&format!("update checkpoint_place set size = {size}")).await;
        let said = anchored.doctor(s);
        assert!(said.contains(&format!("cover {size} events of ")), "{said}");
    });
}

#[test]
fn what_lies_where_the_newest_should_be_stops_nobody() {
    story(async |s| {
        let scratch = Scratch::new();
        let (odd, well) = (scratch.0.join("odd"), scratch.0.join("well"));
        std::fs::create_dir_all(&odd).unwrap();
        let anchored = Anchored::at(s, odd.clone(), &[odd.to_str().unwrap(), well.to_str().unwrap()], 7);
        deployed(s).await;
        let newest = odd.join("checkpoint");
        let problem = async || {
            let places = s.app.store.checkpoints().places().await.unwrap();
            places.iter().find(|place| place.place.ends_with("odd")).unwrap().problem.clone().unwrap_or_default()
        };
        let fifo = Command::new("mkfifo").arg(&newest).status().unwrap();
        assert!(fifo.success());
        let size = anchored.signs().await;
        assert!(problem().await.contains("checkpoint is no file"), "{}", problem().await);
        assert!(std::fs::read_to_string(well.join("checkpoint")).unwrap().contains(&format!("\n{size}\n")));
        std::fs::remove_file(&newest).unwrap();
        let huge = std::fs::File::create(&newest).unwrap();
        huge.set_len(1 << 36).unwrap();
        s.ci_announces(build("master-2")).await;
        anchored.signs().await;
        assert!(problem().await.contains("is larger than any checkpoint"), "{}", problem().await);
        std::fs::remove_file(&newest).unwrap();
        s.ci_announces(build("master-3")).await;
        let size = anchored.signs().await;
        assert_eq!(problem().await, "");
        assert!(std::fs::read_to_string(&newest).unwrap().contains(&format!("\n{size}\n")));
    });
}

#[test]
fn a_bucket_that_takes_the_call_and_says_nothing_holds_up_nobody() {
    story(async |s| {
        deployed(s).await;
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", silent.local_addr().unwrap());
        let anchored = Anchored::new(s);
        let folder = anchored.folder.to_str().unwrap();
        let both = format!("s3://b/log,{folder}");
        let with = with_a_bucket(&anchored, (&both, &address), "secret");
        let began = std::time::Instant::now();
        let signing = tokio::task::block_in_place(|| {
            std::thread::scope(|scope| {
                let signing = scope.spawn(|| s.coolops_with(&["audit", "checkpoint"], &with));
                // Appends go on meanwhile: the log is not locked while somebody is waited for.
                scope.spawn(|| s.coolops(&["project", "set", "api", "--name", "Api 2"])).join().unwrap();
                assert!(!signing.is_finished(), "it waited for nothing");
                signing.join().unwrap()
            })
        });
        let (code, note, said) = signing;
        assert!(code == 1 && said.contains("no answer within 10 s"), "{note}{said}");
        assert!(began.elapsed() < std::time::Duration::from_secs(35), "it was asked twice: {:?}", began.elapsed());
        assert_eq!(std::fs::read_to_string(anchored.folder.join("checkpoint")).unwrap(), note);
    });
}
