//! `kubectl`, `gke` and `helm`: the first two with the real kubectl against a small API of Kubernetes.

use super::cluster::Cluster;
use super::{Bench, SHELLS, Variables, variables, with};

fn on(cluster: &Cluster) -> Variables {
    with(
        &variables(&[
            ("DOCKER_IMAGE", "registry.example.com/web:2"),
            ("KUBERNETES_WORKLOADS", "web, statefulset/db=postgres, ds/agent, cronjob/nightly"),
            ("KUBERNETES_NAMESPACE", "shop"),
            ("WAIT_SECONDS", "10"),
        ]),
        "KUBERNETES_CONFIG",
        &cluster.config(cluster.token()),
    )
}

fn on_bench() -> (Bench, Cluster) {
    let bench = Bench::new();
    let cluster = Cluster::start(&bench);
    cluster.has("deployment", "web", &[("web", "web:1"), ("proxy", "proxy:1")]);
    cluster.has("statefulset", "db", &[("postgres", "db:1"), ("backup", "backup:1")]);
    cluster.has("daemonset", "agent", &[("only", "agent:1")]);
    cluster.has("cronjob", "nightly", &[("nightly", "job:1")]);
    (bench, cluster)
}

const ALL: [(&str, &str, &str); 4] = [
    ("deployment", "web", "web"),
    ("statefulset", "db", "postgres"),
    ("daemonset", "agent", "only"),
    ("cronjob", "nightly", "nightly"),
];

fn images(cluster: &Cluster) -> Vec<String> {
    ALL.iter().map(|(kind, name, container)| cluster.image(kind, name, container)).collect()
}

#[test]
fn kubectl_sets_the_image_on_every_kind_of_workload_and_says_what_ran_before() {
    for shell in SHELLS {
        let (bench, cluster) = on_bench();
        let ran = bench.deploys("kubectl", shell, &on(&cluster)).succeeded();
        let ran = ran.says("deployment/web (web): web:1 → registry.example.com/web:2");
        let ran = ran.says("daemonset/agent (only): agent:1 → registry.example.com/web:2");
        let ran = ran.says("cronjob/nightly takes it from its next run on.");
        // What is left of the ten seconds: the one before may have taken one of them.
        let waits = ran.out.split("--- Waiting for statefulset/db, ").nth(1).expect("it waits for each");
        let left: u32 = waits.split(" seconds at most").next().unwrap().parse().unwrap();
        assert!((1..=10).contains(&left), "{}", ran.all());
        assert_eq!(images(&cluster), ["registry.example.com/web:2"; 4]);
        assert_eq!(cluster.image("deployment", "web", "proxy"), "proxy:1", "the others stay as they are");
        assert_eq!(cluster.changes(), 4, "each was changed once");
    }
}

#[test]
fn kubectl_waits_until_a_slow_one_is_well_and_takes_a_kubeconfig_as_base64() {
    let (bench, cluster) = on_bench();
    let config = base64(&cluster.config(cluster.token()));
    let wrapped = config.as_bytes().chunks(60).map(|c| String::from_utf8_lossy(c)).collect::<Vec<_>>().join("\r\n");
    let all = with(&with(&on(&cluster), "KUBERNETES_CONFIG", &wrapped), "DOCKER_IMAGE", "web:slow\r\n");
    let began = std::time::Instant::now();
    bench.deploys("kubectl", SHELLS[0], &all).succeeded().says("successfully rolled out");
    assert!(began.elapsed() >= std::time::Duration::from_millis(1_400), "it did not wait");
}

#[test]
fn kubectl_fails_in_the_cluster_s_own_words_and_puts_back_what_ran_where_that_is_wanted() {
    for (shell, back) in SHELLS.into_iter().zip(["false", "true", "1"]) {
        let (bench, cluster) = on_bench();
        let all = with(&with(&on(&cluster), "DOCKER_IMAGE", "web:bad"), "ROLLBACK_ON_FAILURE", back);
        let ran = bench.deploys("kubectl", shell, &with(&all, "WAIT_SECONDS", "1")).failed();
        let ran = ran
            .says("web-7d4b9-x2x Failed: Failed to pull image \"web:bad\": manifest unknown")
            .says("ImagePullBackOff");
        if back == "false" {
            ran.says("kubectl: deployment/web is not well with web:bad. It stays as it is (ROLLBACK_ON_FAILURE=true puts back what ran).");
            assert_eq!(images(&cluster), ["web:bad"; 4]);
        } else {
            ran.says("kubectl: deployment/web is not well with web:bad. What ran before was put back, and runs.");
            assert_eq!(images(&cluster), ["web:1", "db:1", "agent:1", "job:1"]);
        }
    }
}

#[test]
fn kubectl_touches_nothing_when_anything_can_not_be_read() {
    let (bench, cluster) = on_bench();
    let all = on(&cluster);
    let none = with(&all, "KUBERNETES_WORKLOADS", "web, gone");
    bench
        .deploys("kubectl", SHELLS[0], &none)
        .failed()
        .says("deployments.apps \"gone\" not found")
        .says("Nothing was touched");
    let container = with(&all, "KUBERNETES_WORKLOADS", "web=other, agent");
    let ran = bench.deploys("kubectl", SHELLS[0], &container).failed();
    ran.says("deployment/web has no container other, but web, proxy; write web=CONTAINER. Nothing was touched.");
    let refused = with(&all, "KUBERNETES_CONFIG", &cluster.config("another"));
    bench.deploys("kubectl", SHELLS[0], &refused).failed().says("Nothing was touched");
    let away =
        with(&all, "KUBERNETES_CONFIG", &cluster.config(cluster.token()).replace(&cluster.url, "https://127.0.0.1:1"));
    bench.deploys("kubectl", SHELLS[0], &away).failed().says("Nothing was touched");
    assert_eq!(cluster.changes(), 0);
}

#[test]
fn kubectl_hears_sigterm_and_says_what_it_leaves_behind() {
    for shell in SHELLS {
        let (bench, cluster) = on_bench();
        let all = with(&with(&on(&cluster), "DOCKER_IMAGE", "web:bad"), "WAIT_SECONDS", "60");
        let waits = || cluster.was_asked_for("watch=true");
        let ran = bench.is_stopped("kubectl", shell, &all, waits);
        assert_eq!(ran.code, Some(143), "{ran:?}");
        ran.says("kubectl: stopped. deployment/web may have web:bad by now (it had web:1).");
        let (bench, cluster) = on_bench();
        let all = with(&all, "KUBERNETES_CONFIG", &cluster.config(cluster.token()));
        let before = bench.is_stopped("kubectl", shell, &all, || cluster.was_asked_for("GET /api"));
        assert_eq!(before.code, Some(143), "{before:?}");
        before.says("kubectl: stopped. Nothing was touched.");
    }
}

#[test]
fn kubectl_checks_every_value_and_an_address_with_a_token_is_no_argument() {
    let bench = Bench::new();
    bench.tool("kubectl", "cat \"$KUBECONFIG\"; exit 1");
    let all = variables(&[
        ("DOCKER_IMAGE", "web:2"),
        ("KUBERNETES_WORKLOADS", "web"),
        ("KUBERNETES_SERVER", "https://203.0.113.7:6443"),
        ("KUBERNETES_TOKEN", "eyJ.secret"),
        ("KUBERNETES_CA", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"),
    ]);
    bench.checks(
        "kubectl",
        &all,
        &["DOCKER_IMAGE", "KUBERNETES_WORKLOADS", "KUBERNETES_TOKEN"],
        &[
            "DOCKER_IMAGE",
            "KUBERNETES_WORKLOADS",
            "KUBERNETES_SERVER",
            "KUBERNETES_TOKEN",
            "KUBERNETES_NAMESPACE",
            "WAIT_SECONDS",
            "ROLLBACK_ON_FAILURE",
        ],
    );
    bench
        .deploys("kubectl", SHELLS[0], &with(&all, "KUBERNETES_SERVER", "http://203.0.113.7"))
        .failed()
        .says("does not begin with https://");
    bench
        .deploys("kubectl", SHELLS[0], &with(&all, "KUBERNETES_CONFIG", "not@base64!"))
        .failed()
        .says("neither a kubeconfig nor the base64 of one");
    assert_eq!(bench.asked(), "");
    bench.tool("kubectl", "cat \"$KUBECONFIG\" >&2; exit 1");
    let ran = bench.deploys("kubectl", SHELLS[0], &all).failed();
    let ran = ran.says("server: \"https://203.0.113.7:6443\", certificate-authority: ").says("token: \"eyJ.secret\"");
    drop(ran);
    assert!(!bench.asked().contains("secret"), "no argument holds the token");
}

#[test]
fn kubectl_reaches_a_cluster_by_its_address_a_token_and_whom_it_trusts() {
    let (bench, cluster) = on_bench();
    let all = with(&with(&on(&cluster), "KUBERNETES_CONFIG", ""), "KUBERNETES_SERVER", &cluster.url);
    let all = with(&with(&all, "KUBERNETES_TOKEN", cluster.token()), "KUBERNETES_CA", &cluster.certificate);
    bench.deploys("kubectl", SHELLS[0], &all).succeeded();
    let before = cluster.changes();
    bench
        .deploys("kubectl", SHELLS[0], &with(&all, "KUBERNETES_CA", ""))
        .failed()
        .says("certificate")
        .says("Nothing was touched.");
    bench
        .deploys("kubectl", SHELLS[0], &with(&all, "KUBERNETES_TOKEN", "another"))
        .failed()
        .says("Nothing was touched.");
    assert_eq!(cluster.changes(), before);
}

#[test]
fn kubectl_applies_manifests_with_the_build_s_image_after_a_trial() {
    let bench = Bench::new();
    let web = "image: ${DOCKER_IMAGE}\n";
    let folder = bench.file("manifests/web.yaml", web).replace("/web.yaml", "");
    let all = with(
        &with(
            &with(&variables(&[("DOCKER_IMAGE", "web:2")]), "KUBERNETES_MANIFESTS", &folder),
            "KUBERNETES_SERVER",
            "https://c",
        ),
        "KUBERNETES_TOKEN",
        "t",
    );
    let applies = r#"case "$*" in
      *dry-run*) cat "$6"/web.yaml >&2; echo deployment.apps/web; echo deployment.apps/worker; echo service/new ;;
      *view-last-applied*new*) echo 'error: no last-applied-configuration annotation found' >&2; exit 1 ;;
      *view-last-applied*) echo '{}' ;;
      *'rollout status deployment/web'*) exit ${STATUS:-0} ;;
    esac"#;
    for shell in SHELLS {
        bench.tool("kubectl", applies);
        bench.deploys("kubectl", shell, &all).succeeded().says("image: web:2").says("--- What runs now");
        let asked = bench.asked();
        let trial = asked.find("--dry-run=server").unwrap();
        assert!(asked[trial..].contains("apply -f") && asked.contains("rollout status deployment/web"), "{asked}");
        assert!(!asked.contains("rollout status service"), "nothing waits for what has no rollout: {asked}");
        let bad = with(&with(&all, "STATUS", "1"), "ROLLBACK_ON_FAILURE", "yes");
        let ran = bench.deploys("kubectl", shell, &bad).failed();
        ran.says("deployment/web is not well with it either.").says("What was not applied before stays: service/new.");
        let asked = bench.asked();
        assert!(asked.contains("apply -f (bench)/keys") && !asked.contains("rollout undo"), "{asked}");
        bench.tool("kubectl", "echo 'unknown field' >&2; exit 1");
        bench.deploys("kubectl", shell, &all).failed().says("unknown field").says("Nothing was touched");
        assert_eq!(bench.asked().lines().count(), 1);
    }
}

#[test]
fn kubectl_puts_back_every_workload_and_says_which_is_not_well_then_either() {
    let bench = Bench::new();
    let cluster = Cluster::start(&bench);
    for name in ["web", "api", "worker"] {
        cluster.has("deployment", name, &[(name, &format!("{name}:1"))]);
    }
    // What ran before is not well either.
    cluster.has("deployment", "web", &[("web", "web:bad-1")]);
    let all = with(&with(&on(&cluster), "KUBERNETES_WORKLOADS", "web, api, worker"), "DOCKER_IMAGE", "x:bad-2");
    let all = with(&with(&all, "ROLLBACK_ON_FAILURE", "true"), "WAIT_SECONDS", "1");
    let ran =
        bench.deploys("kubectl", SHELLS[0], &all).failed().says("deployment/web is not well with web:bad-1 either.");
    let ran = ran.says("web-7d4b9-x2x | no such table: users");
    drop(ran);
    for (name, image) in [("web", "web:bad-1"), ("api", "api:1"), ("worker", "worker:1")] {
        assert_eq!(cluster.image("deployment", name, name), image);
    }
}

#[test]
fn a_build_does_not_bring_what_is_the_environment_s() {
    let (bench, cluster) = on_bench();
    let config = "apiVersion: v1\nkind: Config\nclusters: []\nusers: [{name: u, user: {exec: {command: id}}}]";
    let all = with(&on(&cluster), "KUBERNETES_CONFIG", "");
    let all = with(&with(&all, "KUBERNETES_SERVER", &cluster.url), "KUBERNETES_TOKEN", cluster.token());
    let hostile = with(&all, "KUBERNETES_CONFIG", config);
    bench.deploys("kubectl", SHELLS[0], &hostile).failed().says("which cluster is meant?");
    for shell in SHELLS {
        for name in ["KUBERNETES_NAMESPACE", "WAIT_SECONDS", "ROLLBACK_ON_FAILURE", "KUBERNETES_WORKLOADS"] {
            let brought = with(&all, "COOLOPS_BUILD_PARAMS", &format!("DOCKER_IMAGE {name}"));
            let ran = bench.deploys("kubectl", shell, &brought).failed();
            assert_eq!(
                ran.err.matches(&format!("{name} is a variable of the environment, and this build brings it")).count(),
                1,
                "{}",
                ran.err
            );
        }
    }
    assert_eq!(cluster.changes(), 0);
}

/// A service account's key, as Google hands it out.
const KEY: &str = r#"{
  "type": "service_account",
  "private_key": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
}"#;

fn of_gke() -> Variables {
    let all = variables(&[
        ("DOCKER_IMAGE", "eu.gcr.io/shop/web:2"),
        ("GCLOUD_PROJECT_ID", "shop-123456"),
        ("GCLOUD_COMPUTE_ZONE", "europe-west1-b"),
        ("GCLOUD_CLUSTER_NAME", "production"),
        ("KUBERNETES_DEPLOYMENTS", "web,worker"),
        ("KUBERNETES_NAMESPACE", "shop"),
        ("WAIT_SECONDS", "5"),
    ]);
    with(&all, "GCLOUD_KEY_JSON", &base64(KEY))
}

/// A gcloud that takes any key of a service account, and writes how a cluster is reached.
fn gcloud(bench: &Bench, cluster: &Cluster) {
    let config = bench.file("kubeconfig-of-gcloud", &cluster.config(cluster.token()));
    bench.tool(
        "gcloud",
        &format!("case \"$1\" in auth) grep -q private_key \"$4\" || exit 1 ;; container) cp '{config}' \"$KUBECONFIG\" ;; esac"),
    );
}

#[test]
fn gke_goes_on_with_the_variables_of_the_original_s_image() {
    for (shell, key) in SHELLS.into_iter().zip([base64(KEY), KEY.to_owned(), format!("{}\r\n", base64(KEY))]) {
        let bench = Bench::new();
        let cluster = Cluster::start(&bench);
        gcloud(&bench, &cluster);
        cluster.has("deployment", "web", &[("web", "web:1"), ("proxy", "proxy:1")]);
        cluster.has("deployment", "worker", &[("worker", "worker:1")]);
        let all = with(&of_gke(), "GCLOUD_KEY_JSON", &key);
        bench.deploys("gke", shell, &all).succeeded().says("deployment/web (web): web:1 → eu.gcr.io/shop/web:2");
        assert_eq!(cluster.image("deployment", "worker", "worker"), "eu.gcr.io/shop/web:2");
        let asked = bench.asked();
        assert!(asked.contains("get-credentials production --project shop-123456 --zone europe-west1-b"), "{asked}");
        assert!(!asked.contains("AAAA") && !asked.contains("LS0t"), "the key is no argument: {asked}");
        let region: Variables = with(&all, "GCLOUD_COMPUTE_ZONE", "");
        bench.deploys("gke", shell, &with(&region, "GCLOUD_COMPUTE_REGION", "europe-west1")).succeeded();
        assert!(bench.asked().contains("--region europe-west1"));
    }
}

#[test]
fn gke_checks_what_it_is_given_and_says_what_google_does_not_take() {
    let bench = Bench::new();
    let cluster = Cluster::start(&bench);
    bench.tool("gcloud", "echo 'ERROR: invalid_grant' >&2; exit 1");
    let all = of_gke();
    bench
        .deploys("gke", SHELLS[0], &all)
        .failed()
        .says("invalid_grant")
        .says("Google does not take GCLOUD_KEY_JSON. Nothing was touched.");
    bench.asked();
    let required = [
        "DOCKER_IMAGE",
        "GCLOUD_KEY_JSON",
        "GCLOUD_PROJECT_ID",
        "GCLOUD_COMPUTE_ZONE",
        "GCLOUD_CLUSTER_NAME",
        "KUBERNETES_DEPLOYMENTS",
    ];
    let hostile = [
        "DOCKER_IMAGE",
        "GCLOUD_PROJECT_ID",
        "GCLOUD_COMPUTE_ZONE",
        "GCLOUD_CLUSTER_NAME",
        "KUBERNETES_DEPLOYMENTS",
        "KUBERNETES_NAMESPACE",
    ];
    bench.checks("gke", &all, &required, &hostile);
    for (key, why) in [
        ("not a key", "is neither a key in JSON nor the base64 of one"),
        ("bm90IGEga2V5", "is neither a key in JSON nor the base64 of one"),
        (r#"{"type": "authorized_user", "refresh_token": "x"}"#, "is no key of a service account, but authorized_user"),
        ("{}", "is no key of a service account, but something else"),
    ] {
        bench.deploys("gke", SHELLS[0], &with(&all, "GCLOUD_KEY_JSON", key)).failed().says(why);
    }
    assert_eq!(bench.asked(), "", "nothing was touched");
    gcloud(&bench, &cluster);
    let ran = bench.deploys("gke", SHELLS[0], &all).failed();
    ran.says("deployments.apps \"web\" not found").says("gke: deployment/web can't be read. Nothing was touched.");
}

fn of_helm(bench: &Bench) -> Variables {
    let chart = bench.file("chart/Chart.yaml", "name: web\n").replace("/Chart.yaml", "");
    let all = variables(&[
        ("DOCKER_TAG", "2,3{x}"),
        ("COMMIT_SHA1", "9c3f1a2"),
        ("HELM_RELEASE", "web"),
        ("VALUES_FROM_BUILD", "image.tag=DOCKER_TAG, commit=COMMIT_SHA1"),
        ("HELM_VALUES", "password: secret"),
        ("KUBERNETES_NAMESPACE", "shop"),
        ("KUBERNETES_SERVER", "https://203.0.113.7:6443"),
        ("KUBERNETES_TOKEN", "eyJ.token"),
    ]);
    with(&with(&all, "HELM_CHART", &chart), "DOCKER_TAG", "2,3")
}

#[test]
fn helm_upgrades_a_release_with_values_of_the_build_as_they_are() {
    for shell in SHELLS {
        let bench = Bench::new();
        bench.tool("helm", "for a in \"$@\"; do case $a in image.tag=*) cat \"${a#*=}\"; echo ;; esac; done");
        let ran = bench.deploys("helm", shell, &of_helm(&bench)).succeeded();
        assert!(ran.out.lines().any(|line| line == "2,3"), "a comma is a comma: {}", ran.out);
        let asked = bench.asked();
        assert!(
            asked.contains("upgrade web (bench)/chart --install --namespace shop --wait --timeout 600s --values "),
            "{asked}"
        );
        assert!(!asked.contains("secret") && !asked.contains("token") && !asked.contains("--atomic"), "{asked}");
        let all = with(&with(&of_helm(&bench), "ROLLBACK_ON_FAILURE", "true"), "HELM_CHART_VERSION", "1.4.0");
        bench.deploys("helm", shell, &all).succeeded();
        assert!(bench.asked().contains("--version 1.4.0 --atomic"));
    }
}

#[test]
fn helm_fails_in_its_own_words_hears_sigterm_and_checks_every_value() {
    for shell in SHELLS {
        let bench = Bench::new();
        let all = of_helm(&bench);
        bench.tool("kubectl", "echo 'web-7d4b9 Failed: no room'");
        bench.tool("helm", "case $1 in upgrade) echo 'Error: timed out waiting for the condition' >&2; exit 1 ;; esac");
        let ran =
            bench.deploys("helm", shell, &all).failed().says("timed out waiting").says("web-7d4b9 Failed: no room");
        ran.says("helm: web could not be upgraded. It stays as it is");
        bench.tool("helm", "case $1 in upgrade) trap 'echo let go; exit 1' TERM; : >began; i=0; while [ $i -lt 600 ]; do i=$((i + 1)); sleep 0.1; done ;; esac");
        std::fs::remove_file(bench.path("began")).ok();
        let ran = bench.is_stopped("helm", shell, &all, || bench.path("began").exists());
        assert_eq!(ran.code, Some(143), "{ran:?}");
        ran.says("let go").says("helm: stopped. The release web may be half upgraded");
    }
    let bench = Bench::new();
    let all = of_helm(&bench);
    bench.tool("helm", "");
    bench.checks(
        "helm",
        &all,
        &["HELM_RELEASE", "HELM_CHART", "DOCKER_TAG", "COMMIT_SHA1"],
        &["HELM_RELEASE", "HELM_CHART", "HELM_CHART_VERSION", "DOCKER_TAG", "COMMIT_SHA1", "VALUES_FROM_BUILD"],
    );
    bench
        .deploys("helm", SHELLS[0], &with(&all, "HELM_CHART", "/nowhere"))
        .failed()
        .says("HELM_CHART is no chart in this image");
}

pub(super) fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}
