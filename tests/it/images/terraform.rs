//! `terraform` with a stand-in that plans, applies, locks and answers like it, as far as the entry point asks.

use super::{Bench, SHELLS, Variables, variables, with};

/// State and lock are files; an image's name says how applying it goes. What it prints and exits with was seen of
/// Terraform 1.11.
const TERRAFORM: &str = r#"cd "${1#-chdir=}"; shift
for a in "$@"; do case $a in *.tfvars.json) vars=$a ;; esac; done
of() { tr -d '\n' <"$1" | sed 's/.*"image":[" ]*\([^"]*\)".*/\1/'; }
apply() {
  : >lock; : >../began
  case $1 in
    *slow*) trap 'echo "Interrupt received."; rm -f lock; exit 1' TERM; i=0; while [ $i -lt 300 ]; do i=$((i + 1)); sleep 0.1; done ;;
    *bad*) echo "$1" >state; rm -f lock; echo 'Error: the quota is used up' >&2; exit 1 ;;
  esac
  echo "$1" >state; rm -f lock; echo 'Apply complete!'
}
case $1 in
  init) [ -z "${BACKEND_FAILS:-}" ] || { echo 'Error: no such bucket' >&2; exit 1; } ;;
  output) if [ -f state ] && [ -z "${NO_OUTPUTS:-}" ]; then printf '{"image": {"sensitive": %s, "value": "%s"}}' "${SENSITIVE:-false}" "$(cat state)"; else echo '{}'; fi ;;
  plan)
    [ ! -f lock ] || { echo 'Error acquiring the state lock' >&2; exit 1; }
    for a in "$@"; do case $last in -out) of "$vars" >"$a" ;; esac; last=$a; done
    [ "$(of "$vars")" != "$(cat state 2>/dev/null)" ] || exit 0
    exit 2 ;;
  apply)
    for a in "$@"; do plan=$a; done
    case $* in
      *-auto-approve*) apply "$(of "$vars")" ;;
      *) case $(cat "$plan") in stale*) echo 'Error: Saved plan is stale' >&2; exit 1 ;; *) apply "$(cat "$plan")" ;; esac ;;
    esac ;;
esac"#;

fn of(bench: &Bench) -> Variables {
    bench.tool("terraform", TERRAFORM);
    let folder = bench.file("live/main.tf", "").replace("/main.tf", "");
    let all =
        variables(&[("DOCKER_IMAGE", "web:2"), ("VALUES_FROM_BUILD", "image=DOCKER_IMAGE"), ("WAIT_SECONDS", "2")]);
    with(&all, "TERRAFORM_FOLDER", &folder)
}

#[test]
fn a_fresh_plan_is_applied_with_the_build_s_values_and_nothing_where_nothing_changes() {
    for shell in SHELLS {
        let bench = Bench::new();
        let all = with(&of(&bench), "TERRAFORM_BACKEND", "secret_key = \"hidden\"");
        bench.file("live/state", "web:1\n");
        let ran = bench.deploys("terraform", shell, &all).succeeded();
        ran.says("image: web:1\n--- Planning").says("Apply complete!").says("--- What is there now\nimage: web:2");
        let asked = bench.asked();
        assert!(asked.contains("-backend-config=") && !asked.contains("hidden"), "{asked}");
        assert!(asked.contains("plan -no-color -detailed-exitcode -lock-timeout=300s -out "), "{asked}");
        bench.deploys("terraform", shell, &all).succeeded().says("There is nothing to change.");
        assert!(!bench.asked().contains(" apply "));
        let saved = bench.file("live/plan", "web:3");
        let all = with(&with(&with(&all, "VALUES_FROM_BUILD", ""), "DOCKER_IMAGE", ""), "TERRAFORM_PLAN", &saved);
        bench.deploys("terraform", shell, &all).succeeded();
        assert_eq!(std::fs::read_to_string(bench.path("live/state")).unwrap(), "web:3\n");
        let stale = with(&all, "TERRAFORM_PLAN", &bench.file("live/plan", "stale"));
        bench.deploys("terraform", shell, &stale).failed().says("Saved plan is stale").says("It stays as it is.");
    }
}

#[test]
fn what_fails_is_told_in_its_own_words_and_the_values_of_before_come_back_where_that_is_wanted() {
    for shell in SHELLS {
        let bench = Bench::new();
        let bad = with(&of(&bench), "DOCKER_IMAGE", "web:bad");
        bench.file("live/state", "web:1\n");
        let state = || std::fs::read_to_string(bench.path("live/state")).unwrap();
        bench.deploys("terraform", shell, &bad).failed().says("the quota is used up").says("It stays as it is.");
        assert_eq!(state(), "web:bad\n");
        bench.file("live/state", "web:1\n");
        let back = with(&bad, "ROLLBACK_ON_FAILURE", "true");
        bench.deploys("terraform", shell, &back).failed().says("The values of before were applied again.");
        assert_eq!(state(), "web:1\n");
        let unhealthy = with(&with(&back, "DOCKER_IMAGE", "web:2"), "HEALTH_URL", "http://127.0.0.1:1/");
        bench.deploys("terraform", shell, &unhealthy).failed().says("The values of before were applied again.");
        assert_eq!(state(), "web:1\n");
        let none = with(&back, "NO_OUTPUTS", "1");
        bench.deploys("terraform", shell, &none).failed().says("called like each value of the build: image.");
        bench
            .deploys("terraform", shell, &with(&bad, "BACKEND_FAILS", "1"))
            .failed()
            .says("no such bucket")
            .says("Nothing was touched.");
        bench.file("live/lock", "");
        bench
            .deploys("terraform", shell, &of(&bench))
            .failed()
            .says("Error acquiring the state lock")
            .says("Nothing was touched.");
    }
}

#[test]
fn told_to_stop_terraform_lets_go_of_its_lock_and_every_value_is_checked() {
    for shell in SHELLS {
        let bench = Bench::new();
        let all = with(&of(&bench), "DOCKER_IMAGE", "web:slow");
        let ran = bench.is_stopped("terraform", shell, &all, || bench.path("began").exists());
        assert_eq!(ran.code, Some(143), "{ran:?}");
        ran.says("Interrupt received.").says("Terraform has let go of its lock.");
        assert!(!bench.path("live/lock").exists());
    }
    let bench = Bench::new();
    let all = of(&bench);
    bench.checks(
        "terraform",
        &all,
        &["DOCKER_IMAGE"],
        &["DOCKER_IMAGE", "TERRAFORM_FOLDER", "TERRAFORM_WORKSPACE", "VALUES_FROM_BUILD", "TERRAFORM_LOCK_SECONDS"],
    );
    bench.file("live/state", "web:1\n");
    let ran =
        bench.deploys("terraform", SHELLS[0], &with(&all, "SENSITIVE", "true")).succeeded().says("image: (sensitive)");
    assert!(!ran.out.contains("image: web"), "{}", ran.out);
    // A signal that comes just as a program begins is not lost.
    bench.tool("terraform", "kill -TERM $PPID; exec sleep 20");
    for shell in SHELLS {
        for _ in 0..15 {
            let began = std::time::Instant::now();
            let ran = bench.deploys("terraform", shell, &all);
            assert!(ran.code == Some(143) && began.elapsed().as_secs() < 10, "{:?} {ran:?}", began.elapsed());
        }
    }
    let both = with(&with(&all, "TERRAFORM_PLAN", &bench.file("live/plan", "")), "ROLLBACK_ON_FAILURE", "true");
    bench
        .deploys("terraform", SHELLS[0], &both)
        .failed()
        .says("VALUES_FROM_BUILD can not be set too")
        .says("has no way back");
}
