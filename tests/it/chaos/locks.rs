//! Locks are held, and lines wait, while things break.

use std::time::Duration;

use super::postgres::behind_a_proxy;
use super::{chaos, counted, counting};
use crate::story::proxy::Mode;

const ANA: &str = "U0ANA00001";

#[test]
fn f48_the_service_dies_with_a_lock_held_that_runs_out_meanwhile() {
    chaos(&counting(3, 10, 0), Some(counted(3)), async |s| {
        s.announces("master-1").await;
        s.announces("master-2").await;
        s.standin.shared().command("C0DEPLOYS1", ANA, "lock staging for 5m because migration").await.unwrap();
        s.presses("ben", "master-1", "Staging").await;
        s.presses("chi", "master-2", "Staging").await;
        s.shows("*queued*, waits for the lock of <@U0ANA00001> (migration)").await;
        s.shows("*queued* behind *master-1*").await;
        s.injects("SIGKILL; the lock runs out while nobody is there");
        s.stop("-KILL");
        s.database.set_clock(301).await;
        s.start_roles(&["web", "worker"]).await;
        s.start_worker();
        s.shows_times("*succeeded*", 2).await;
        let ends = "select count(*) from event where type = 'environment_unlocked'";
        assert_eq!(s.database.count(ends).await, 1, "it ran out once, whoever noticed");
        s.saw("both who waited went on");
    });
}

#[test]
fn f48_the_service_dies_again_and_again_while_people_lock_and_unlock() {
    chaos(&counting(1, 5, 0), Some(counted(1)), async |s| {
        s.announces("master-1").await;
        for round in 0..3 {
            s.standin.shared().command("C0DEPLOYS1", ANA, "lock staging").await.unwrap();
            s.presses(if round % 2 == 0 { "ben" } else { "ana" }, "master-1", "Staging").await;
            s.injects(&format!("SIGKILL beside an unlock, round {round}"));
            let standin = std::sync::Arc::clone(s.standin.shared());
            let unlock = tokio::spawn(async move { standin.command("C0DEPLOYS1", ANA, "unlock staging").await });
            tokio::time::sleep(Duration::from_millis(7 * round)).await;
            s.stop("-KILL");
            drop(unlock.await);
            s.start().await;
            // Whether it was taken or not: the same again does no harm.
            s.standin.shared().command("C0DEPLOYS1", ANA, "unlock staging").await.unwrap();
            let open = "select count(*) from deployment where is_open";
            s.until("nothing waits any more", async || s.database.count(open).await == 0).await;
        }
    });
}

#[test]
fn f48_the_service_dies_between_the_end_of_a_projects_lock_and_the_turns_of_those_who_wait() {
    chaos(&counting(1, 5, 0), Some(counted(1)), async |s| {
        s.stop("-TERM");
        s.start_roles(&["web"]).await;
        s.start_worker();
        s.announces("master-1").await;
        s.standin.shared().command("C0DEPLOYS1", ANA, "lock all of api because migration").await.unwrap();
        s.presses("ben", "master-1", "Staging").await;
        s.presses("chi", "master-1", "Production").await;
        s.shows_times("waits for the lock of <@U0ANA00001> on the whole project (migration)", 2).await;
        s.injects("SIGKILL to who would have given them their turns");
        s.end_process(1, "-KILL");
        s.standin.shared().command("C0DEPLOYS1", ANA, "unlock all of api").await.unwrap();
        s.shows(":unlock: *All of Api* is unlocked by ana.").await;
        let waiting = "select count(*) from deployment where state = 'queued'";
        assert_eq!(s.database.count(waiting).await, 2, "nobody gave them their turns");
        s.start_worker();
        s.shows_times("*succeeded*", 2).await;
        s.saw("both went on");
    });
}

#[test]
fn f48_a_lock_runs_out_while_the_database_is_away() {
    chaos(&counting(1, 5, 0), Some(counted(1)), async |s| {
        let postgres = behind_a_proxy(s).await;
        s.announces("master-1").await;
        s.standin.shared().command("C0DEPLOYS1", ANA, "lock staging for 5m because migration").await.unwrap();
        s.presses("ben", "master-1", "Staging").await;
        s.shows("*queued*, waits for the lock of <@U0ANA00001> (migration)").await;
        s.injects("Postgres is away while the lock runs out");
        postgres.set(Mode::Down);
        s.database.set_clock(301).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        let ends = "select count(*) from event where type = 'environment_unlocked'";
        assert_eq!(s.database.count(ends).await, 0, "nobody could record it");
        postgres.set(Mode::Pass);
        s.shows("*succeeded*").await;
        assert_eq!(s.database.count(ends).await, 1, "it ran out once");
        s.saw("who waited went on");
    });
}
