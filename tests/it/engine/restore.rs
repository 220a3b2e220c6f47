//! A dump from an hour ago is restored: the drill of docs/OPERATING.md, "After a restore".

use std::collections::HashSet;
use std::process::Command;

use coolops_lab::standin::workspace::Fault;

use crate::story::service::{Service, service_story};
use crate::story::{random_name, read};

/// What is slow runs until it is stopped.
const SCRIPT: &str = "
case $COOLOPS_BUILD_NAME in
  *-slow) trap 'exit 0' TERM; while :; do sleep 0.1; done ;;
  *-bad) exit 3 ;;
esac
echo deployed";

/// Runs one of Postgres' own programs on the story's database.
fn postgres(program: &str, url: &str, arguments: &[&str]) {
    let output = Command::new(program).args(["-d", url]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Service {
    async fn announces(&self, build: &str) {
        self.cli(&["build:new", build]);
        self.shows(&format!("# Api: {build}")).await;
    }

    /// What a command says that may have something to complain of.
    fn hears(&self, arguments: &[&str]) -> String {
        String::from_utf8_lossy(&self.run(arguments, "").stdout).into_owned()
    }

    /// The id of the one deployment of a build.
    fn deployment_of(&self, build: &str) -> String {
        let listed: Vec<serde_json::Value> =
            serde_json::from_str(&self.cli(&["deployment", "list", "--json"])).unwrap();
        let of_build = listed.iter().find(|deployment| deployment["build_name"] == build);
        let id = &of_build.unwrap_or_else(|| panic!("{build} is not in {listed:?}"))["of"]["deployment_id"];
        id.as_str().unwrap().to_owned()
    }

    /// Slack's hour is over.
    async fn an_hour_passes(&self) {
        self.standin.workspace().reopen();
        self.database.execute("delete from rate_bucket").await;
        self.database.execute("update job set run_at = now() where state = 'ready'").await;
    }

    /// The containers of this installation that run.
    async fn containers(&self) -> Vec<String> {
        let label = format!("label=coolops.instance={}", self.instance().await);
        let output = Command::new("docker")
            .args(["ps", "--format", "{{.Names}}", "--filter", &label])
            .env("DOCKER_HOST", self.variable("DOCKER_HOST"))
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    /// Waits until every crew has looked for work since now.
    async fn all_have_looked(&self) {
        self.database.execute("create table if not exists looked (since timestamptz)").await;
        self.database.execute("delete from looked").await;
        self.database.execute("insert into looked select max(seen_at) from worker").await;
        for _ in 0..2 {
            let looked = "select count(*) from worker, looked where seen_at > since";
            self.until("they looked", async || self.database.count(looked).await >= 2).await;
            self.database.execute("update looked set since = (select max(seen_at) from worker)").await;
        }
        self.database.execute("drop table looked").await;
    }
}

#[test]
fn a_restored_dump_does_nothing_until_somebody_has_decided_and_repeats_nothing() {
    service_story(SCRIPT, "info", async |s| {
        let folder = std::env::temp_dir().join(format!("drill-{}", random_name()));
        std::fs::create_dir_all(&folder).unwrap();
        s.stop("-TERM");
        let key = s.cli(&["audit", "key", "drill.test/log"]);
        s.set("COOLOPS_CHECKPOINT_KEY", key.trim());
        s.set("COOLOPS_CHECKPOINTS", folder.join("checkpoints").to_str().unwrap());
        s.start().await;
        // At the time of the dump one went well, one runs, one waits; and a build is owed its message, and whoever pressed that it
        // failed: Slack asks to wait.
        s.announces("master-0-bad").await;
        // Nobody asks for it: whoever serves signs.
        s.until("a checkpoint is signed", async || folder.join("checkpoints/checkpoint").exists()).await;
        s.announces("master-1").await;
        s.presses("ana", "master-1", "Production").await;
        s.shows("*succeeded*").await;
        s.announces("master-2-slow").await;
        s.presses("ana", "master-2-slow", "Staging").await;
        s.shows("*running*").await;
        s.announces("master-3").await;
        s.presses("ben", "master-3", "Staging").await;
        s.shows("*queued*").await;
        let (slow, waiting) = (s.deployment_of("master-2-slow"), s.deployment_of("master-3"));
        s.cli(&["audit", "checkpoint"]);
        s.standin.workspace().plan("chat.postMessage", Fault::RateLimited(3_600), 1);
        s.cli(&["build:new", "master-4"]);
        let asked_to_wait = "select count(*) from rate_bucket where blocked_until > coolops_now()";
        s.until("Slack asked to wait", async || s.database.count(asked_to_wait).await > 0).await;
        s.presses("ana", "master-0-bad", "Production").await;
        s.shows("*failed*: exit code 3").await;
        s.stop("-TERM");
        let (dump, url) = (folder.join("dump").to_str().unwrap().to_owned(), s.variable("DATABASE_URL"));
        postgres("pg_dump", &url, &["-Fc", "-f", &dump]);
        assert!(!s.channel().contains("master-4"), "{}", s.channel());
        let dumped = s.database.count("select position from event_head").await;
        let owed = "select count(*) from job where state <> 'done' and kind in ('sync_message', 'report')";
        assert!(s.database.count(owed).await >= 2);
        let told = read::reports(&s.standin.workspace()).len();

        // What happens since is in no backup: all of it goes on, and another one runs.
        s.an_hour_passes().await;
        s.start().await;
        s.shows("# Api: master-4").await;
        s.until("they hear of the failure", async || s.database.count(owed).await == 0).await;
        assert!(read::reports(&s.standin.workspace()).len() > told);
        s.cli(&["deployment", "stop", &slow, "--reason", "long enough"]);
        s.shows_times("*succeeded*", 2).await;
        s.announces("master-5-slow").await;
        s.presses("ben", "master-5-slow", "Staging").await;
        s.shows("*running*").await;
        let unknown = s.deployment_of("master-5-slow");
        s.cli(&["audit", "checkpoint"]);
        let signed = s.database.count("select max(size) from checkpoint").await;
        assert!(s.hears(&["doctor"]).contains("/checkpoints: cover "), "{}", s.hears(&["doctor"]));
        let before = s.channel();
        s.stop("-TERM");
        postgres("pg_restore", &url, &["--clean", "--if-exists", &dump]);
        s.an_hour_passes().await;

        // Nothing is done on what it does not know, and what happened since is found.
        s.start().await;
        s.until("the log is closed", async || s.hears(&["doctor"]).contains("a backup was restored")).await;
        s.all_have_looked().await;
        let (_, said) = s.cli_fails(&["build:new", "master-6"], "");
        assert!(said.contains("it found two histories, and an operator has to decide"), "{said}");
        let (_, said) = s.cli_fails(&["audit", "verify"], "");
        assert!(said.contains(&format!("event {}: missing, and so on to {signed}", dumped + 1)), "{said}");
        let said = s.hears(&["doctor"]);
        let runs = format!("Container of {unknown}");
        assert!(said.contains(&runs) && said.contains("is of no deployment that this database knows"), "{said}");
        let said = s.hears(&["slack", "audit"]);
        let found = |name: &str, what: &str| said.lines().any(|line| line.contains(name) && line.contains(what));
        assert!(found("master-2-slow", "edited: it says what the log does not bear out"), "{said}");
        assert!(found("master-3", "edited: it says what the log does not bear out"), "{said}");
        assert_eq!(said.matches("not ours: ").count(), 1, "{said}");
        assert_eq!(s.channel(), before, "nothing is said twice, and nothing that was said is unsaid");
        assert_eq!(s.containers().await, [format!("coolops-{unknown}")]);

        // From the decision on it goes on, and what may have been done is not done again.
        s.cli(&["audit", "fork", "--reason", "Restored from the dump"]);
        let lost = "*unknown*: what became of it was lost when a backup was restored";
        s.shows(lost).await;
        s.cli(&["deployment", "resolve", &slow, "--as", "failed", "--reason", "it was stopped"]);
        let decide = format!("coolops deployment resolve {waiting} --as failed");
        s.until("the next in the line is unknown too", async || s.hears(&["doctor"]).contains(&decide)).await;
        s.shows(lost).await;
        s.cli(&["deployment", "resolve", &waiting, "--as", "succeeded", "--reason", "Slack said so"]);
        let owed = "select count(*) from job where state <> 'done'";
        s.until("all that was owed is done", async || s.database.count(owed).await == 0).await;
        assert_eq!(s.channel().matches("# Api: master-4").count(), 1, "{}", s.channel());
        let told = read::reports(&s.standin.workspace());
        assert_eq!(told.iter().collect::<HashSet<_>>().len(), told.len(), "each is told once: {told:?}");
        assert_eq!(s.channel().matches("master-2-slow").count(), before.matches("master-2-slow").count());
        assert_eq!(s.containers().await, [format!("coolops-{unknown}")], "it is looked at by a person");
        let history = s.cli(&["history", "--json"]);
        let prepared = "select count(*) from event where type = 'deployment_prepared' and position > (select position from event where type = 'fork_decided')";
        assert_eq!(s.database.count(prepared).await, 0, "{history}");
        // CI announces once more what was lost: its message is there.
        s.cli(&["build:new", "master-5-slow"]);
        s.announces("master-6").await;
        s.until("all that was owed is done", async || s.database.count(owed).await == 0).await;
        assert_eq!(s.channel().matches("# Api: master-5-slow").count(), 1, "{}", s.channel());
        s.presses("ana", "master-6", "Staging").await;
        s.shows_times("*succeeded*", 2).await;
        s.cli(&["audit", "checkpoint"]);
        let verified = s.cli(&["audit", "verify"]);
        assert!(verified.contains("Of a history that was given up, as a signed decision says: "), "{verified}");
        assert!(s.hears(&["doctor"]).contains("/checkpoints: cover "), "{}", s.hears(&["doctor"]));
        std::fs::remove_dir_all(&folder).ok();
    });
}
