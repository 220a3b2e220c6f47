//! Clocks that differ, and one that is set back. The database's clock is what everybody judges by, so a replica that is
//! ten minutes off is the same thing as a database that is.

use std::time::{Duration, Instant};

use super::{chaos, counted, counting};

#[test]
fn f38_the_replica_s_clock_is_ten_minutes_off() {
    chaos(&counting(60, 50, 0), Some(counted(60)), async |s| {
        s.stop("-TERM");
        s.injects("the database's clock is ten minutes ahead of the replicas'");
        s.database.set_clock(600).await;
        s.start().await;
        s.announces("master-1").await;
        let press = s.press_of_at("ana", "master-1", "Staging", 600);
        assert_eq!(
            s.standin.shared().deliver(press).await,
            Ok(200),
            "a press that is fresh by the database's clock is taken"
        );
        s.shows("*running*").await;
        let stale = s.press_of_at("ana", "master-1", "Staging", 0);
        assert_eq!(s.standin.shared().deliver(stale).await, Ok(401), "one that is ten minutes old by it is not");
        s.shows("*succeeded*").await;
        let (_, said) = s.cli_fails(&["doctor"], "");
        assert!(said.contains("this machine's clock and the database's differ by"), "{said}");
        s.saw("leases, order and signatures kept, and doctor tells");
    });
}

#[test]
fn f39_the_database_s_clock_is_set_back_an_hour() {
    chaos(&counting(100, 50, 0), Some(counted(100)), async |s| {
        s.stop("-TERM");
        s.database.set_clock(3_600).await;
        s.start_roles(&["web", "worker"]).await;
        s.cli(&["build:new", "master-1"]);
        s.shows("# Api: master-1").await;
        let press = s.press_of_at("ana", "master-1", "Staging", 3_600);
        s.standin.shared().deliver(press).await.unwrap();
        s.shows("*running*").await;
        s.start_worker();
        s.injects("the database's clock goes back by an hour, and the worker that holds the deployment dies");
        s.database.set_clock(0).await;
        s.end_process(1, "-KILL");
        let killed = Instant::now();
        s.cli(&["build:new", "master-2"]);
        s.shows("# Api: master-2").await;
        s.shows("*succeeded*").await;
        assert!(killed.elapsed() < Duration::from_secs(40), "it took {:?}", killed.elapsed());
        let back = "select count(*) from event a join event b on b.position = a.position + 1 where b.recorded_at < a.recorded_at";
        assert_eq!(s.database.count(back).await, 0, "times in the log never go back");
        s.saw("new work went on at once, the lease was taken over, times in the log never go back");
    });
}
