//! `ecs` and `s3-site`: the real AWS CLI against moto, a stand-in for Amazon that nobody here wrote.

use std::process::{Child, Command, Stdio};

use super::{Bench, SHELLS, Variables, in_each_shell, variables, with};
use crate::story::service::free_port;

/// Amazon, as far as moto is it.
pub struct Amazon {
    moto: Child,
    pub url: String,
    aws: String,
}

impl Amazon {
    pub fn start(bench: &Bench) -> Self {
        let port = free_port();
        let library = concat!(env!("CARGO_MANIFEST_DIR"), "/target/python");
        let program = format!(
            "import sys; sys.path.insert(0, {library:?}); from moto.server import main; main(['-H', '127.0.0.1', '-p', '{port}'])"
        );
        let mut command = Command::new("python3");
        // With as many tasks running as are wanted a service is stable at once.
        command.args(["-c", &program]).env("MOTO_ECS_SERVICE_RUNNING", "2").stdin(Stdio::null()).stdout(Stdio::null());
        let moto = command.stderr(std::fs::File::create(bench.path("moto.log")).unwrap()).spawn().unwrap();
        let began = std::time::Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(began.elapsed().as_secs() < 60, "{}", std::fs::read_to_string(bench.path("moto.log")).unwrap());
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        let found = Command::new("sh").args(["-c", "command -v aws"]).output().unwrap();
        let aws = String::from_utf8(found.stdout).unwrap().trim().to_owned();
        let this = Self { moto, url: format!("http://127.0.0.1:{port}"), aws };
        this.answers(bench, "");
        this
    }

    /// The CLI, kept from the real Amazon; `before` may answer in its place.
    fn answers(&self, bench: &Bench, before: &str) {
        bench.tool("aws", &format!("{before}\nexec '{}' --endpoint-url {} \"$@\"", self.aws, self.url));
    }

    pub fn says(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(&self.aws);
        command.args(["--endpoint-url", &self.url, "--region", "eu-west-1"]).args(arguments);
        command.envs([("AWS_ACCESS_KEY_ID", "AKIATEST"), ("AWS_SECRET_ACCESS_KEY", "secret"), ("AWS_PAGER", "")]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Amazon {
    fn drop(&mut self) {
        self.moto.kill().ok();
        self.moto.wait().ok();
    }
}

fn ours(more: &[(&'static str, &str)]) -> Variables {
    let keys = [("AWS_ACCESS_KEY_ID", "AKIATEST"), ("AWS_SECRET_ACCESS_KEY", "secret"), ("AWS_REGION", "eu-west-1")];
    variables(&[&keys, more, &[("WAIT_SECONDS", "2"), ("POLL_SECONDS", "1")][..]].concat())
}

fn of_ecs() -> Variables {
    ours(&[("DOCKER_IMAGE", "web:2"), ("ECS_CLUSTER", "production"), ("ECS_SERVICE", "web")])
}

fn service(amazon: &Amazon) {
    amazon.says(&["ecs", "create-cluster", "--cluster-name", "production"]);
    let containers = r#"[{"name": "web", "image": "web:1", "memory": 64, "environment": [{"name": "A", "value": "b"}]}, {"name": "proxy", "image": "proxy:1", "memory": 64}]"#;
    amazon.says(&[
        "ecs",
        "register-task-definition",
        "--family",
        "web",
        "--container-definitions",
        containers,
        "--tags",
        "key=team,value=shop",
    ]);
    amazon.says(&[
        "ecs",
        "create-service",
        "--cluster",
        "production",
        "--service-name",
        "web",
        "--task-definition",
        "web:1",
        "--desired-count",
        "2",
    ]);
}

fn runs(amazon: &Amazon) -> String {
    let definition = amazon.says(&[
        "ecs",
        "describe-services",
        "--cluster",
        "production",
        "--services",
        "web",
        "--query",
        "services[0].taskDefinition",
        "--output",
        "text",
    ]);
    definition.trim().rsplit('/').next().unwrap().to_owned()
}

#[test]
fn ecs_takes_everything_over_but_the_image_and_waits_until_the_service_is_stable() {
    let bench = Bench::new();
    let amazon = Amazon::start(&bench);
    service(&amazon);
    for (shell, n) in SHELLS.into_iter().zip(2..) {
        let image = format!("web:{n}");
        let ran = bench.deploys("ecs", shell, &with(&of_ecs(), "DOCKER_IMAGE", &image)).succeeded();
        ran.says(&format!("web (web): web:{} → web:{n}", n - 1)).says("2 of 2 run, rollout COMPLETED");
        assert_eq!(runs(&amazon), format!("web:{n}"));
    }
    let query = "taskDefinition.containerDefinitions[].[image, environment[0].value]";
    let taken_over = amazon.says(&[
        "ecs",
        "describe-task-definition",
        "--task-definition",
        "web:4",
        "--query",
        query,
        "--output",
        "text",
    ]);
    assert_eq!(taken_over.split_whitespace().collect::<Vec<_>>(), ["web:4", "b", "proxy:1", "None"]);
    let tags = amazon.says(&[
        "ecs",
        "describe-task-definition",
        "--task-definition",
        "web:4",
        "--include",
        "TAGS",
        "--query",
        "tags[0].value",
        "--output",
        "text",
    ]);
    assert_eq!(tags.trim(), "shop");
    assert!(!bench.asked().contains("secret"), "no argument holds the key");
    // What Amazon would say of a role is not moto's to say at this address.
    let role = with(&of_ecs(), "AWS_ROLE_ARN", "arn:aws:iam::111122223333:role/deploy");
    bench.tool("aws", "cat \"$AWS_CONFIG_FILE\" >&2; exit 1");
    bench
        .deploys("ecs", SHELLS[0], &role)
        .failed()
        .says("role_arn = arn:aws:iam::111122223333:role/deploy\ncredential_source = Environment");
    assert!(bench.asked().contains("aws --profile role "));
}

#[test]
fn ecs_fails_in_amazon_s_words_and_puts_back_what_ran_where_that_is_wanted() {
    let bench = Bench::new();
    let amazon = Amazon::start(&bench);
    service(&amazon);
    // moto's services are always well: that this one is not is said in its place, until what ran before is put back.
    let failing = r#"case "$*" in
      *update-service*web:1) : >well ;;
      *update-service*) rm -f well ;;
      *list-tasks*) echo '{"taskArns": ["arn:aws:ecs:eu-west-1:1:task/production/4f1c"]}'; exit ;;
      *describe-tasks*) echo '{"tasks": [{"taskArn": "a/production/4f1c", "stoppedReason": "Essential container in task exited", "containers": [{"name": "web", "exitCode": 3}]}]}'; exit ;;
    esac"#;
    let describe = |aws: &str, url: &str| {
        format!(
            "{failing}\ncase \"$*\" in *describe-services*) if [ -f updated ] && [ ! -f well ]; then '{aws}' --endpoint-url {url} \"$@\" | sed 's/\"COMPLETED\"/\"FAILED\"/; s/ completed\\./ circuit breaker: tasks failed to start./'; exit; fi ;; esac\ncase \"$*\" in *update-service*) : >updated ;; esac"
        )
    };
    amazon.answers(&bench, &describe(&amazon.aws, &amazon.url));
    for (shell, back) in SHELLS.into_iter().zip(["false", "true", "yes"]) {
        for name in ["updated", "well"] {
            std::fs::remove_file(bench.path(name)).ok();
        }
        amazon.says(&[
            "ecs",
            "update-service",
            "--cluster",
            "production",
            "--service",
            "web",
            "--task-definition",
            "web:1",
        ]);
        let ran = bench.deploys("ecs", shell, &with(&of_ecs(), "ROLLBACK_ON_FAILURE", back)).failed();
        let ran = ran
            .says("circuit breaker: tasks failed to start")
            .says("4f1c: Essential container in task exited")
            .says("web:  exit code 3");
        if back == "false" {
            ran.says("web is not well with web:2. It stays as it is");
            assert_ne!(runs(&amazon), "web:1");
        } else {
            ran.says("web is not well with web:2. web:1 was put back, and runs.");
            assert_eq!(runs(&amazon), "web:1");
        }
    }
}

#[test]
fn ecs_tells_that_it_was_put_back_never_came_to_rest_or_was_not_taken() {
    let bench = Bench::new();
    let amazon = Amazon::start(&bench);
    service(&amazon);
    // It is put back by ECS itself, or never comes to rest: both are told, in ECS' words.
    let said = |state: &str, id: &str| {
        format!(
            "case \"$*\" in *describe-services*) if [ -f updated ]; then '{}' --endpoint-url {} \"$@\" | sed 's/\"COMPLETED\"/\"{state}\"/; s/\"ecs-svc/\"{id}/; s/ completed\\./ was circuit broken./'; exit; fi ;; *update-service*) : >updated ;; *list-tasks*) echo '{{}}'; exit ;; esac",
            amazon.aws, amazon.url
        )
    };
    for (state, id, words) in
        [("COMPLETED", "other", "by now: ECS has put it back"), ("IN_PROGRESS", "ecs-svc", "is not well with web:2.")]
    {
        std::fs::remove_file(bench.path("updated")).ok();
        amazon.answers(&bench, &said(state, id));
        bench.asked();
        bench.deploys("ecs", SHELLS[0], &of_ecs()).failed().says("was circuit broken").says(words);
        // It waits for two seconds and asks each second: how fast a machine is makes that fewer questions, and never more.
        let looked = bench.asked().matches("describe-services").count();
        assert!((2..=6).contains(&looked), "it looked {looked} times");
    }
    amazon.answers(&bench, "case \"$*\" in *register*) echo 'An error occurred (AccessDenied)' >&2; exit 255 ;; esac");
    bench
        .deploys("ecs", SHELLS[0], &of_ecs())
        .failed()
        .says("AccessDenied")
        .says("ECS does not take the task definition. The service is as it was.");
}

#[test]
fn ecs_touches_nothing_that_it_can_not_read_checks_every_value_and_hears_sigterm() {
    let bench = Bench::new();
    let amazon = Amazon::start(&bench);
    service(&amazon);
    let all = of_ecs();
    bench
        .deploys("ecs", SHELLS[0], &with(&all, "ECS_SERVICE", "gone"))
        .failed()
        .says("there is no active service gone on production. Nothing was touched.");
    bench.deploys("ecs", SHELLS[0], &with(&all, "ECS_CLUSTER", "gone")).failed().says("Nothing was touched.");
    bench
        .deploys("ecs", SHELLS[0], &with(&all, "ECS_CONTAINER", "other"))
        .failed()
        .says("has no container other, but web, proxy;");
    assert_eq!(runs(&amazon), "web:1");
    amazon.answers(&bench, "case \"$*\" in *update-service*) : >began; exec sleep 20 ;; esac");
    for shell in SHELLS {
        std::fs::remove_file(bench.path("began")).ok();
        let ran = bench.is_stopped("ecs", shell, &all, || bench.path("began").exists());
        assert_eq!(ran.code, Some(143), "{ran:?}");
        ran.says("ecs: stopped. The service may be on its way to web:");
    }
    bench.tool("aws", "");
    let required =
        ["DOCKER_IMAGE", "ECS_CLUSTER", "ECS_SERVICE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"];
    bench.asked();
    bench.checks(
        "ecs",
        &all,
        &required,
        &[
            "DOCKER_IMAGE",
            "ECS_CLUSTER",
            "ECS_SERVICE",
            "ECS_CONTAINER",
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_REGION",
            "AWS_ROLE_ARN",
            "WAIT_SECONDS",
        ],
    );
}

/// The archives of some builds, by what their pages say.
fn archives<const N: usize>(bench: &Bench, amazon: &Amazon, builds: [&str; N]) -> [String; N] {
    let archives = builds.map(|page| {
        let folder = format!("site-{page}");
        bench.file(&format!("{folder}/dist/index.html"), page);
        bench.file(&format!("{folder}/dist/about.html"), page);
        bench.file(&format!("{folder}/dist/robots.txt"), "all");
        bench.file(&format!("{folder}/dist/assets/app.{page}.js"), "run()");
        let tar = bench.file(&format!("archives/{page}.tar.gz"), "");
        let made = Command::new("tar").args(["-czf", &tar, "-C"]).arg(bench.path(&folder)).arg("dist").status();
        assert!(made.unwrap().success());
        format!("s3://builds/{page}.tar.gz")
    });
    amazon.says(&["s3", "mb", "s3://builds"]);
    let folder = bench.path("archives").display().to_string();
    amazon.says(&["s3", "cp", "--only-show-errors", "--recursive", &folder, "s3://builds"]);
    archives
}

const SITE: &str = "www.example.com";

fn page(amazon: &Amazon, site: &str) -> String {
    amazon.says(&["s3", "cp", "--only-show-errors", &format!("s3://{site}/index.html"), "-"])
}

#[test]
fn a_site_is_published_with_its_long_lived_files_first_and_its_index_last() {
    let bench = Bench::new();
    let amazon = Amazon::start(&bench);
    const NAMES: [&str; 3] = ["one", "two", "three"];
    let builds = archives(&bench, &amazon, NAMES);
    amazon.says(&["s3", "mb", "s3://www.example.com"]);
    let distribution = amazon.says(&[
        "cloudfront",
        "create-distribution",
        "--origin-domain-name",
        "www.example.com.s3.amazonaws.com",
        "--query",
        "Distribution.Id",
        "--output",
        "text",
    ]);
    for ((shell, build), name) in SHELLS.into_iter().zip(&builds).zip(NAMES) {
        let all = ours(&[
            ("S3_BUCKET", "www.example.com"),
            ("CLOUDFRONT_DISTRIBUTION_ID", distribution.trim()),
            ("SITE_ASSETS", "assets/"),
        ]);
        bench
            .deploys("s3-site", shell, &with(&all, "SITE_ARCHIVE", build))
            .succeeded()
            .says("--- Publishing to s3://www.example.com")
            .says("4 files");
        assert_eq!(page(&amazon, SITE), name);
        let asked = bench.asked();
        let place = |words: &str| asked.find(words).unwrap_or_else(|| panic!("{words} is not in\n{asked}"));
        assert!(
            place("max-age=31536000, immutable") < place("--exclude *.html")
                && place("--include *.html") < place("/dist/index.html "),
            "{asked}"
        );
        assert!(place("/dist/index.html ") < place("create-invalidation"), "{asked}");
    }
    let kept = amazon.says(&["s3", "ls", "--recursive", "s3://www.example.com/assets/"]);
    assert_eq!(kept.lines().count(), 3, "who still has the page of before finds its files: {kept}");
    let head = amazon.says(&[
        "s3api",
        "head-object",
        "--bucket",
        "www.example.com",
        "--key",
        "index.html",
        "--query",
        "CacheControl",
        "--output",
        "text",
    ]);
    assert_eq!(head.trim(), "no-cache");
}

/// Publishes the first build, and tells what publishes the second one.
fn published(bench: &Bench, amazon: &Amazon, site: &str, builds: &[String; 2]) -> Variables {
    amazon.says(&["s3", "mb", &format!("s3://{site}")]);
    let [one, two] = builds.each_ref().map(|build| with(&ours(&[("S3_BUCKET", site)]), "SITE_ARCHIVE", build));
    bench.deploys("s3-site", SHELLS[0], &one).succeeded();
    two
}

#[test]
fn an_archive_that_is_not_what_it_should_be_publishes_nothing() {
    let bench = Bench::new();
    let amazon = Amazon::start(&bench);
    let builds = archives(&bench, &amazon, ["one", "two"]);
    let next = published(&bench, &amazon, SITE, &builds);
    bench
        .deploys("s3-site", SHELLS[0], &with(&next, "SITE_ARCHIVE", "s3://builds/gone.tar.gz"))
        .failed()
        .says("the archive can't be fetched. Nothing was touched.");
    bench
        .deploys("s3-site", SHELLS[0], &with(&next, "SITE_ARCHIVE_SHA256", &"0".repeat(64)))
        .failed()
        .says("its checksum should be 000");
    bench
        .deploys("s3-site", SHELLS[0], &with(&next, "S3_BUCKET", "nobody-s"))
        .failed()
        .says("is not there, or not ours");
    amazon.answers(&bench, "case \"$*\" in *head-bucket*--expected-bucket-owner*111122223333*) echo 'An error occurred (403): Forbidden' >&2; exit 254 ;; esac");
    bench
        .deploys("s3-site", SHELLS[0], &with(&next, "S3_BUCKET_OWNER", "111122223333"))
        .failed()
        .says("(of account 111122223333). Nothing was touched.");
    // A link would lead to the keys beside the archive.
    bench.file("linked/index.html", "x");
    std::os::unix::fs::symlink("/etc/passwd", bench.path("linked/passwd")).unwrap();
    let tar = bench.path("linked.tar.gz").display().to_string();
    Command::new("tar").args(["-czf", &tar, "-C"]).arg(bench.path("linked")).arg(".").status().unwrap();
    amazon.says(&["s3", "cp", "--only-show-errors", &tar, "s3://builds/linked.tar.gz"]);
    bench
        .deploys("s3-site", SHELLS[0], &with(&next, "SITE_ARCHIVE", "s3://builds/linked.tar.gz"))
        .failed()
        .says("neither file nor folder: passwd");
    assert_eq!(page(&amazon, SITE), "one");
}

#[test]
fn where_publishing_fails_what_was_there_is_put_back() {
    let bench = Bench::new();
    let amazon = Amazon::start(&bench);
    let builds = archives(&bench, &amazon, ["one", "two"]);
    // Each shell has a site of its own: they go on beside each other.
    in_each_shell(|bench, shell| {
        let site = format!("{}.example.com", shell[0]);
        amazon.answers(bench, "");
        let next = published(bench, &amazon, &site, &builds);
        amazon.answers(bench, "case \"$*\" in *two*index.html*|*dist/index.html*) [ -f failed ] || { : >failed; echo 'An error occurred (SlowDown)' >&2; exit 1; } ;; esac");
        let ran = bench.deploys("s3-site", shell, &with(&next, "ROLLBACK_ON_FAILURE", "true")).failed();
        ran.says("SlowDown").says("the site could not be published. What was there before was put back.");
        assert_eq!(page(&amazon, &site), "one");
    });
}

#[test]
fn s3_site_checks_every_value_and_hears_sigterm() {
    let bench = Bench::new();
    bench.tool("aws", "case \" $* \" in *' s3 '*) : >began; exec sleep 20 ;; esac");
    let all = ours(&[("SITE_ARCHIVE", "s3://builds/one.tar.gz"), ("S3_BUCKET", "www.example.com")]);
    for shell in SHELLS {
        std::fs::remove_file(bench.path("began")).ok();
        let ran = bench.is_stopped("s3-site", shell, &all, || bench.path("began").exists());
        assert_eq!(ran.code, Some(143), "{ran:?}");
        ran.says("s3-site: stopped. Nothing was touched.");
    }
    bench.asked();
    bench.checks(
        "s3-site",
        &all,
        &["SITE_ARCHIVE", "S3_BUCKET", "AWS_ACCESS_KEY_ID"],
        &[
            "SITE_ARCHIVE",
            "S3_BUCKET",
            "S3_PREFIX",
            "S3_BUCKET_OWNER",
            "SITE_ASSETS",
            "CLOUDFRONT_DISTRIBUTION_ID",
            "SITE_ARCHIVE_SHA256",
        ],
    );
    for archive in ["file:///etc/passwd", "http://example.com/x.tar.gz", "https://example.com/x.zip"] {
        bench
            .deploys("s3-site", SHELLS[0], &with(&all, "SITE_ARCHIVE", archive))
            .failed()
            .says("SITE_ARCHIVE is no https://… or s3://… of a .tar.gz");
    }
}
