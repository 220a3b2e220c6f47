//! Deployments on Podman, the second engine.

use coolops_lab::engine::Engine;
use coolops_lab::image;

use crate::story::podman::Podman;
use crate::story::service::service_story;

#[test]
fn a_deployment_runs_on_podman_and_goes_on_after_the_service_was_killed() {
    let script = "seq 1 20000; i=0; while [ $i -lt 60 ]; do i=$((i+1)); echo line $i; sleep 0.1; done; exit 4";
    service_story(script, "info", async |s| {
        let podman = Podman::start();
        let engine = Engine::connect(Some(&podman.host())).unwrap();
        engine.import(&s.image, image::busybox_with(&[("deploy", script)]).unwrap()).await.unwrap();
        s.stop("-TERM");
        s.set("DOCKER_HOST", &podman.host());
        s.start().await;
        s.cli(&["build:new", "master-1"]);
        s.shows("# Api: master-1").await;
        s.presses("ana", "master-1", "Staging").await;
        s.until("some lines are stored", async || s.channel().contains("*running*") && s.logs().contains("line 5\n"))
            .await;
        s.stop("-KILL");
        s.start().await;
        s.shows("*failed*: exit code 4").await;
        let whole: String =
            (1..=20_000).map(|n| format!("{n}\n")).chain((1..=60).map(|n| format!("line {n}\n"))).collect();
        assert!(s.logs() == whole, "{} bytes of {}", s.logs().len(), whole.len());
        let (_, said) = s.cli_fails(&["doctor"], "");
        assert!(said.contains("Podman, which does not keep deployments"), "{said}");
    });
}
