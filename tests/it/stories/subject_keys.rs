//! The keys that private texts are under: put under another master key, lost, changed.

use coolops::app::finding::Kind;

use super::forgetting::says;
use crate::story::anchored::Anchored;
use crate::story::{Announcement, build, operator, story};

#[test]
fn keys_go_under_a_new_master_key_and_open_as_before() {
    story(async |s| {
        let secret = "hunter2-hunter2".to_owned().into();
        s.app.set_secret(s.project(), "Staging", "PASSWORD", &secret, &operator()).await.unwrap();
        s.ci_announces(build("master-1")).await;
        s.presses("ana", "master-1", "Staging").await;
        let new = coolops::keys::new_master_key();
        let both =
            coolops::keys::Keyring::new(&new.clone().into(), &[crate::story::MASTER_KEY.to_owned().into()]).unwrap();
        let app = coolops::app::App::new(s.app.store.clone(), both, "https://coolops.test");
        app.store.subjects().rewrap(1_000).await.unwrap();
        app.rewrap_secrets(1_000).await.unwrap();
        assert_eq!(
            s.database
                .count("select count(*) from secret_value where key_id <> (select min(key_id) from subject_key)")
                .await,
            0
        );
        let project = app.store.directory().project(s.project()).await.unwrap().unwrap().value;
        let staging = project.environment_named("Staging").unwrap();
        let (name, kept) = staging.secrets().next().unwrap();
        let opens = async |keys: coolops::keys::Keyring| {
            let app = coolops::app::App::new(s.app.store.clone(), keys, "https://coolops.test");
            app.secret(staging.id.0, name, kept)
                .await
                .unwrap()
                .map(|value| secrecy::ExposeSecret::expose_secret(&value).to_owned())
        };
        // What was set anew since it was read is not put back.
        let (owner, there) =
            (staging.id.0, app.store.secrets().get(staging.id.0, name, kept.version).await.unwrap().unwrap());
        let sealed = |nonce: &[u8], ciphertext: &[u8]| coolops::keys::SealedValue {
            key_id: there.key_id.clone(),
            nonce: nonce.to_vec(),
            ciphertext: ciphertext.to_vec(),
        };
        let (before, late) = (sealed(&[0; 12], &there.ciphertext), sealed(&there.nonce, &[0]));
        app.store.secrets().rewrap((owner, name, kept.version), &before, &late).await.unwrap();
        assert_eq!(
            app.store.secrets().get(owner, name, kept.version).await.unwrap().unwrap().ciphertext,
            there.ciphertext
        );
        let alone = |key: &str| coolops::keys::Keyring::new(&key.to_owned().into(), &[]).unwrap();
        assert_eq!(opens(alone(&new)).await.unwrap(), "hunter2-hunter2");
        assert!(opens(alone(crate::story::MASTER_KEY)).await.is_err());
        // Whoever has only the old key now hears what is missing.
        let told = Anchored::new(s).doctor(s);
        assert!(told.contains("is needed for 1 of the secrets, registry passwords and CI secrets"), "{told}");
        let (_, told, _) = s.coolops_with(&["history"], &[("COOLOPS_MASTER_KEY", &new)]);
        assert!(told.contains("ana"), "{told}");
        // Without the key that they are under now people read as somebody, and everything goes on.
        let told = says(s, &["explain", "master-1"]);
        assert!(told.contains("somebody") && !told.contains("ana"), "{told}");
        s.ci_announces(build("master-2")).await;
        s.presses("ana", "master-2", "Production").await;
        assert!(
            s.channel().contains("<@U0ANA00001> → *Production*: :white_check_mark: *succeeded*"),
            "{}",
            s.channel()
        );
        let (code, told, _) = s.coolops(&["audit", "verify"]);
        assert!(
            code == 1 && told.contains("UNCHECKED  what tells of people whose names are under the master key"),
            "{told}"
        );
        assert!(!told.contains("CHANGED  "), "a missing key is no sign of tampering: {told}");
        let all = [("COOLOPS_MASTER_KEY", new.as_str()), ("COOLOPS_MASTER_KEY_PREVIOUS", crate::story::MASTER_KEY)];
        let (_, told, _) = s.coolops_with(&["history"], &all);
        assert_eq!(told.matches(" ana ").count(), 2, "{told}");
        let (code, said, _) = s.coolops_with(&["person", "erase", "ana", "--reason", "x"], &all);
        assert_eq!(code, 0, "{said}");
        assert!(
            app.destroy_person(
                s.database
                    .text("select payload->>'key' from event where type = 'person_erased'")
                    .await
                    .parse()
                    .unwrap()
            )
            .await
            .unwrap()
        );
        let (_, told, _) = s.coolops_with(&["history"], &all);
        assert!(!told.contains("ana") && told.matches("a former member").count() == 2, "{told}");
        s.tampered = true;
    });
}

#[test]
fn a_key_that_is_gone_and_that_nobody_said_was_destroyed_is_found() {
    story(async |s| {
        let anchored = Anchored::new(s);
        s.ci_announces(build("master-1")).await;
        s.presses("ana", "master-1", "Staging").await;
        anchored.signs().await;
        s.tampered = true;
        s.database.execute("delete from subject_key where kind = 'person'").await;
        let report = anchored.app.audit(false).await.unwrap();
        let found: Vec<_> = report.findings.iter().filter(|f| f.kind == Kind::MissingKey).collect();
        let first = s.database.count("select min(position) from event where type = 'deployment_requested'").await;
        assert!(matches!(&found[..], [only] if only.position == Some(first)), "{:#?}", report.findings);
    });
}

#[test]
fn a_key_that_somebody_changed_is_found_and_a_replay_stops_before_it() {
    story(async |s| {
        let metadata = vec![("Author".to_owned(), "Ana Lima".to_owned())];
        s.ci_announces(Announcement { metadata, ..build("master-1") }).await;
        s.presses("ana", "master-1", "Staging").await;
        s.presses("ben", "master-1", "Production").await;
        s.tampered = true;
        let rows = "select string_agg(doc::text, '' order by requested) from deployment";
        let before = s.database.text(rows).await;
        s.database.execute("update subject_key set ciphertext = '\\x00' where name = 'ana' or kind = 'author'").await;
        let report = s.app.audit(true).await.unwrap();
        let first =
            async |of: &str| s.database.count(&format!("select min(position) from event where type = '{of}'")).await;
        let (build, press) = (first("build_registered").await, first("deployment_requested").await);
        let found: Vec<_> = report.findings.iter().map(|f| (f.kind, f.position)).collect();
        let expected = [(Kind::MissingKey, Some(build)), (Kind::MissingKey, Some(press))];
        assert_eq!(found, expected, "and nothing else is blamed: {:#?}", report.findings);
        let (_, told, _) = s.coolops(&["replay", "--verify"]);
        assert!(told.contains("UNCHECKED  messages, and rows"), "{told}");
        assert!(report.findings[0].said.contains("was changed, and opens nothing"), "{:#?}", report.findings);
        // What a replay would make of it is not what is lost.
        s.database.execute("update deployment set since = since - 1 where state = 'succeeded'").await;
        let (code, told, said) = s.coolops(&["replay"]);
        assert!(code == 1 && told.contains("was changed; restore subject_key from a dump"), "{told}{said}");
        assert_eq!(s.database.text(rows).await, before);
    });
}
