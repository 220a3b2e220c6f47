//! What was signed, where it is kept and what the database knows of it.

use axum::http::StatusCode;
use coolops::app::finding::Kind;

use super::{found, signed};
use crate::story::anchored::Anchored;
use crate::story::{build, story};

#[test]
fn nothing_is_kept_outside_any_more_behind_a_place_in_the_log() {
    found(Kind::MissingCheckpoint, async |s, signed| {
        s.ci_announces(build("master-2")).await;
        s.database
            .execute("create function swallow() returns trigger language plpgsql as 'begin return null; end'; create trigger swallows before insert on checkpoint for each row execute function swallow()")
            .await;
        let why = signed.anchored.app.checkpoint().await.unwrap_err().to_string();
        assert!(why.contains("the database does not keep what is signed"), "{why}");
        let report = signed.anchored.app.audit(true).await.unwrap();
        assert!(!report.findings.iter().any(|found| found.kind == Kind::MissingCheckpoint), "not within minutes");
        s.database.set_clock(1_000).await;
        Some(signed.end + 1)
    });
}

#[test]
fn a_checkpoint_is_edited() {
    found(Kind::BadCheckpoint, async |_, signed| {
        let file = &signed.anchored.files()[0];
        let note = std::fs::read_to_string(file).unwrap();
        let size = format!("\n{}\n", signed.before);
        std::fs::write(file, note.replace(&size, &format!("\n{}\n", signed.before - 1))).unwrap();
        Some(signed.before - 1)
    });
}

#[test]
fn a_checkpoint_is_deleted() {
    found(Kind::MissingCheckpoint, async |_, signed| {
        std::fs::remove_file(&signed.anchored.files()[0]).unwrap();
        Some(signed.before)
    });
}

#[test]
fn a_checkpoint_is_deleted_everywhere_with_all_that_says_that_it_was_kept() {
    let harms = [
        "delete from checkpoint where n = (select min(n) from checkpoint); update checkpoint_place set kept = 0",
        // As if the one behind it were from before rows had codes.
        "delete from checkpoint where n = 2; update checkpoint_place set kept = 0; alter table checkpoint drop constraint checkpoint_has_a_code;
         update checkpoint set code = null where n = 3; alter table checkpoint add constraint checkpoint_has_a_code check (code is not null) not valid",
    ];
    for (lost, harm) in harms.iter().enumerate() {
        found(Kind::MissingCheckpoint, async |s, signed| {
            s.ci_announces(build("master-2")).await;
            signed.anchored.signs().await;
            let size = s.database.count(&format!("select size from checkpoint order by n offset {lost} limit 1")).await;
            let is_of =
                |file: &std::path::PathBuf| std::fs::read_to_string(file).unwrap().contains(&format!("\n{size}\n"));
            std::fs::remove_file(signed.anchored.files().into_iter().find(is_of).unwrap()).unwrap();
            s.database.execute(harm).await;
            Some([1, signed.before + 1][lost])
        });
    }
}

#[test]
fn what_is_called_the_newest_checkpoint_is_gone_or_an_old_one() {
    found(Kind::MissingCheckpoint, async |_, signed| {
        std::fs::remove_file(signed.anchored.folder.join("checkpoint")).unwrap();
        Some(signed.end)
    });
    found(Kind::MissingCheckpoint, async |_, signed| {
        std::fs::copy(&signed.anchored.files()[0], signed.anchored.folder.join("checkpoint")).unwrap();
        Some(signed.end)
    });
}

#[test]
fn the_rows_of_checkpoints_are_deleted() {
    for (harm, at_first) in [("delete from checkpoint", true), ("delete from checkpoint where n = 2", false)] {
        found(Kind::MissingCheckpoint, async |s, signed| {
            s.database.execute(harm).await;
            Some(if at_first { signed.before } else { signed.end })
        });
    }
}

#[test]
fn a_checkpoint_s_code_is_said_to_be_under_another_master_key() {
    story(async |s| {
        let signed = signed(s).await;
        s.ci_announces(build("master-2")).await;
        signed.anchored.signs().await;
        let file = signed
            .anchored
            .files()
            .into_iter()
            .find(|file| std::fs::read_to_string(file).unwrap().contains(&format!("\n{}\n", signed.end)));
        std::fs::remove_file(file.unwrap()).unwrap();
        s.database
            .execute("delete from checkpoint where n = 2; update checkpoint_place set kept = 0; update checkpoint set code = '\\x00000000' where n = 3")
            .await;
        let (code, said, _) = s.coolops_with(&["audit", "verify"], &signed.anchored.variables());
        let told = "UNCHECKED  whether what was signed before 1 checkpoint is all there: their codes are under the master key 00000000, which is not set";
        assert!(code == 1 && said.contains(told), "{said}");
    });
}

#[test]
fn a_checkpoint_s_row_is_said_to_be_another_key_s() {
    found(Kind::BadCheckpoint, async |s, signed| {
        s.database.execute("update checkpoint set key_id = '00000000' where n = 1").await;
        Some(signed.before)
    });
}

#[test]
fn a_checkpoint_is_another_key_s() {
    found(Kind::BadCheckpoint, async |s, signed| {
        let elsewhere = std::env::temp_dir().join(format!("coolops-anchored-{}", crate::story::random_name()));
        let place = elsewhere.to_str().unwrap().to_owned();
        let other = Anchored::at(s, elsewhere, &[&place], 8);
        s.database.execute("create table kept as select * from checkpoint; delete from checkpoint").await;
        other.signs().await;
        s.database.execute("delete from checkpoint; insert into checkpoint overriding system value select * from kept; delete from checkpoint_place where place like '%anchored%' and size = 0").await;
        std::fs::copy(&other.files()[0], signed.anchored.folder.join("checkpoint")).unwrap();
        Some(signed.end)
    });
}

#[test]
fn a_history_that_was_signed_twice_is_a_fork() {
    story(async |s| {
        let signed = signed(s).await;
        // Somebody with the key signs another history of the same length, and puts it beside the first.
        let root = [9; 32];
        let key = coolops::proof::checkpoint::LogKey::read(&signed.anchored.private.clone().into()).unwrap();
        let file = signed.anchored.files()[0].with_file_name("00000000000000000000-forged");
        std::fs::write(file, key.sign(u64::try_from(signed.before).unwrap(), root)).unwrap();
        let findings = signed.anchored.app.audit(false).await.unwrap().findings;
        assert_eq!(findings.len(), 1, "{findings:#?}");
        assert_eq!((findings[0].kind, findings[0].position), (Kind::Fork, Some(1)));
        // It is not what the place calls its newest: whoever looks at all of them finds it, and nothing is recorded then.
        let variables = signed.anchored.variables();
        let (code, said, hint) = s.coolops_with(&["audit", "verify"], &variables);
        assert!(
            code == 1 && said.contains("(fork, at 1)") && hint.contains("The log is closed until you decide"),
            "{said}{hint}"
        );
        assert_eq!(s.post_build(&build("master-2").body()).await.0, StatusCode::SERVICE_UNAVAILABLE);
        let (code, _, said) = s.coolops_with(&["audit", "fork", "--reason", "a test of the key"], &variables);
        assert_eq!(code, 0, "{said}");
        assert_eq!(s.post_build(&build("master-2").body()).await.0, StatusCode::CREATED);
        assert_eq!(signed.anchored.app.audit(false).await.unwrap().findings, []);
    });
}
