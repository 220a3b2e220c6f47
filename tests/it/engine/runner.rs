//! What comes out of a container, on two engines: Docker, and Podman where it speaks Docker's API.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use coolops::domain::deployment::LogCursor;
use coolops::domain::ids::DeploymentId;
use coolops::domain::names::ImageRef;
use coolops::domain::project::Unchecked;
use coolops::runner::docker::DockerRunner;
use coolops::runner::{Found, Missing, Output, Reading, RunSpec, Runner, Taken};
use coolops_lab::engine::Engine;
use coolops_lab::image::busybox_with;
use tokio::sync::mpsc;

use crate::story::database::service;
use crate::story::podman::Podman;
use crate::story::random_name;

/// A runner on an engine, and an image.
struct Bench {
    runner: DockerRunner,
    engine: Engine,
    image: String,
    host: String,
    /// What was made, and is removed at the end.
    made: Mutex<Vec<String>>,
}

/// A container that was started.
struct Started {
    id: String,
    name: String,
    deployment: DeploymentId,
    output: Box<dyn Reading>,
}

/// What was read.
#[derive(Default)]
struct Got {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    missing: Vec<Missing>,
}

impl Got {
    fn taken(&self) -> Taken {
        Taken { stdout: self.stdout.len() as u64, stderr: self.stderr.len() as u64 }
    }

    /// Reads to the end, which is told, or until so much came.
    async fn read(&mut self, output: &mut Box<dyn Reading>, until: usize) -> bool {
        while self.stdout.len() < until {
            let next = tokio::time::timeout(Duration::from_mins(1), output.next()).await;
            match next.unwrap_or_else(|_| panic!("nothing comes after {:?}", self.taken())) {
                Some(Ok(Output::Printed { stderr, bytes })) => {
                    (if stderr { &mut self.stderr } else { &mut self.stdout }).extend_from_slice(&bytes);
                }
                Some(Ok(Output::Missing(missing))) => self.missing.push(missing),
                Some(Err(trouble)) => eprintln!("told on the way: {trouble}"),
                None => return true,
            }
        }
        false
    }
}

impl Bench {
    fn on(host: String) -> Self {
        let image = format!("coolops-test-{}:1", random_name());
        let engine = Engine::connect(Some(&host)).unwrap();
        let runner = DockerRunner::connect(Some(&host)).unwrap();
        Self { runner, engine, image, host, made: Mutex::default() }
    }

    async fn starts(&self, script: &str) -> Started {
        self.engine.import(&self.image, busybox_with(&[("deploy", script)]).unwrap()).await.unwrap();
        let (progress, _) = mpsc::channel(64);
        let image = ImageRef::parse(&self.image).unwrap();
        let found = self.runner.prepare(&image, None, Unchecked::Run, progress).await.unwrap();
        let deployment = DeploymentId(uuid::Uuid::new_v4());
        let name = format!("coolops-{deployment}");
        let spec = RunSpec {
            instance: "test".to_owned(),
            deployment_id: deployment,
            container: name.clone(),
            image_id: found.id,
            variables: vec![],
        };
        let id = self.runner.create(&spec).await.unwrap();
        self.made.lock().unwrap().push(id.clone());
        assert_eq!(self.runner.look(&name, deployment).await.unwrap(), Found::Created(id.clone()));
        let output = self.runner.start(&spec, &id).await.unwrap();
        Started { id, name, deployment, output }
    }

    async fn tidies(&self) {
        let made = std::mem::take(&mut *self.made.lock().unwrap());
        for id in made {
            self.runner.remove(&id).await.unwrap();
        }
        self.engine.forget(&self.image).await.unwrap();
    }

    /// Reads on from a place to the end.
    async fn reads_on(&self, id: &str, from: Option<LogCursor>) -> Got {
        let mut got = Got::default();
        let mut output = self.runner.follow(id.to_owned(), from);
        got.read(&mut output, usize::MAX).await;
        got
    }
}

/// Tells the same story on Docker and on Podman.
fn on_each_engine(tell: &impl AsyncFn(&Bench)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let podman = Podman::start();
        for host in [service("TEST_DOCKER_HOST"), podman.host()] {
            let bench = Bench::on(host);
            println!("on {}", bench.host);
            let told = futures::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(tell(&bench))).await;
            bench.tidies().await;
            if let Err(panic) = told {
                println!("it was on {}", bench.host);
                std::panic::resume_unwind(panic);
            }
        }
    });
}

/// Bytes that are no UTF-8, NULs, blank lines, a line far longer than an engine's entries, ends of all kinds.
const ODD: &str = r"printf '\377\376 bad \200\n\n\nnul\000in it\r\nprogress 1%%\rprogress 2%%\r'; printf 'half '; sleep 0.3; echo done
head -c 16384 /dev/zero | tr '\0' a; echo; head -c 16383 /dev/zero | tr '\0' b; echo; head -c 32768 /dev/zero | tr '\0' c; echo
head -c 300000 /dev/zero | tr '\0' d; echo; echo 'a word on the other side' >&2; sleep 0.3; printf '\nthe last, without an end'; exit 3";

fn odd() -> Vec<u8> {
    let mut all = b"\xff\xfe bad \x80\n\n\nnul\0in it\r\nprogress 1%\rprogress 2%\rhalf done\n".to_vec();
    for (letter, many) in [(b'a', 16_384), (b'b', 16_383), (b'c', 32_768), (b'd', 300_000)] {
        all.extend(std::iter::repeat_n(letter, many));
        all.push(b'\n');
    }
    all.extend_from_slice(b"\nthe last, without an end");
    all
}

/// A last line without an end may get one: it gets one in any case.
fn ended(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.last() != Some(&b'\n') {
        bytes.push(b'\n');
    }
    bytes
}

#[test]
fn every_byte_comes_as_it_was_printed_attached_and_read_from_the_engine_s_log() {
    on_each_engine(&async |bench: &Bench| {
        let mut started = bench.starts(ODD).await;
        let mut got = Got::default();
        assert!(got.read(&mut started.output, usize::MAX).await);
        assert!(got.stdout == odd(), "{} of {} bytes are as they were printed", same(&got.stdout, &odd()), odd().len());
        assert_eq!((got.stderr.as_slice(), got.missing.as_slice()), (&b"a word on the other side\n"[..], &[][..]));
        assert_eq!(bench.runner.wait(&started.id).await.unwrap().code, 3);
        let found = bench.runner.look(&started.name, started.deployment).await.unwrap();
        assert_eq!(found, Found::Ended(started.id.clone()));
        let again = bench.reads_on(&started.id, None).await;
        let whole = ended(odd());
        assert!(ended(again.stdout.clone()) == whole, "{} of {}", same(&again.stdout, &whole), whole.len());
        assert_eq!((again.stderr, again.missing), (got.stderr, vec![]));
    });
}

/// So many bytes at the beginning are the same.
fn same(left: &[u8], right: &[u8]) -> usize {
    left.iter().zip(right).take_while(|(l, r)| l == r).count()
}

#[test]
fn whoever_reads_on_from_any_place_loses_and_doubles_nothing() {
    on_each_engine(&async |bench: &Bench| {
        for until in [1, 5_000, 70_000] {
            let script = "p() { seq $1 $2 | sed 's/$/ of the lines that somebody reads on from/'; }; p 1 1000; echo err >&2; sleep 1; p 1001 2000; sleep 1; p 2001 2050";
            let whole: String =
                (1..=2_050).map(|n| format!("{n} of the lines that somebody reads on from\n")).collect();
            let mut started = bench.starts(script).await;
            let mut got = Got::default();
            got.read(&mut started.output, until).await;
            // What came after the last line's end is held back, and comes again.
            let line = got.stdout.iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1);
            got.stdout.truncate(line);
            let place = started.output.place(got.taken());
            drop(started.output);
            let rest = bench.reads_on(&started.id, Some(place.clone())).await;
            let all = [got.stdout.clone(), rest.stdout].concat();
            assert!(all == whole.as_bytes(), "{until}: {} of {}", same(&all, whole.as_bytes()), whole.len());
            assert_eq!([got.stderr, rest.stderr].concat(), b"err\n");
            assert_eq!(rest.missing, vec![]);
            // And once more, of an ended one.
            let late = bench.reads_on(&started.id, Some(place)).await;
            assert!([got.stdout, late.stdout].concat() == whole.as_bytes(), "{until}, after the end");
        }
    });
}

#[test]
fn a_flood_that_ends_at_once_is_whole() {
    on_each_engine(&async |bench: &Bench| {
        let mut started = bench.starts("yes '' | head -n 2000000; echo the end").await;
        let mut got = Got::default();
        assert!(got.read(&mut started.output, usize::MAX).await);
        assert_eq!(got.missing, vec![]);
        assert_eq!(got.stdout.len(), 2_000_000 + 8);
        assert!(got.stdout.ends_with(b"\n\nthe end\n"));
    });
}

#[test]
fn a_container_does_not_wait_for_somebody_who_does_not_take_its_output() {
    on_each_engine(&async |bench: &Bench| {
        let lines = 60_000;
        let script = format!(
            "yes 'a line of one hundred bytes is not much to print and yet so many of them are more than any pipe has' | head -n {lines}"
        );
        let begun = Instant::now();
        let mut started = bench.starts(&script).await;
        loop {
            let found = bench.runner.look(&started.name, started.deployment).await.unwrap();
            if matches!(found, Found::Ended(_)) {
                break;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "it waits for us");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let mut got = Got::default();
        assert!(got.read(&mut started.output, usize::MAX).await);
        assert_eq!((got.stdout.len(), got.missing.len()), (lines * 100, 0));
    });
}

#[test]
fn a_script_that_closes_its_output_runs_on_and_its_end_is_seen() {
    on_each_engine(&async |bench: &Bench| {
        let mut started = bench.starts("echo begun; exec >&- 2>&-; sleep 12; exit 4").await;
        let mut got = Got::default();
        assert!(got.read(&mut started.output, usize::MAX).await);
        assert_eq!((got.stdout.as_slice(), got.missing.len()), (&b"begun\n"[..], 0));
        assert_eq!(bench.runner.wait(&started.id).await.unwrap().code, 4);
    });
}

#[test]
fn a_container_that_was_made_before_output_was_counted_is_read_on_from_its_old_place() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let bench = Bench::on(service("TEST_DOCKER_HOST"));
        bench
            .engine
            .import(&bench.image, busybox_with(&[("deploy", "seq 1 500; sleep 2; seq 501 1000")]).unwrap())
            .await
            .unwrap();
        let socket = bench.host.trim_start_matches("unix://");
        let docker = bollard::Docker::connect_with_socket(socket, 30, bollard::API_DEFAULT_VERSION).unwrap();
        let body = bollard::models::ContainerCreateBody {
            image: Some(bench.image.clone()),
            host_config: Some(bollard::models::HostConfig {
                network_mode: Some("none".to_owned()),
                log_config: Some(bollard::models::HostConfigLogConfig {
                    typ: Some("json-file".to_owned()),
                    config: None,
                }),
                ..Default::default()
            }),
            ..Default::default()
        };
        let made =
            docker.create_container(None::<bollard::query_parameters::CreateContainerOptions>, body).await.unwrap();
        docker.start_container(&made.id, None).await.unwrap();
        let whole: String = (1..=1_000).map(|n| format!("{n}\n")).collect();
        // A place as it was stored then: the time of a line, and how many of that time were taken.
        let mut output = bench.runner.follow(made.id.clone(), None);
        let mut got = Got::default();
        got.read(&mut output, 100).await;
        let mut place = output.place(got.taken()).0;
        assert!(place["stdout"]["at"].is_string(), "{place}");
        place.as_object_mut().unwrap().remove("file");
        drop(output);
        let rest = bench.reads_on(&made.id, Some(LogCursor(place))).await;
        let all = [got.stdout, rest.stdout].concat();
        bench.engine.forget(&bench.image).await.unwrap();
        assert!(all == whole.as_bytes(), "{} of {}", same(&all, whole.as_bytes()), whole.len());
        assert_eq!(rest.missing, vec![]);
    });
}

#[test]
fn podman_s_service_is_killed_and_the_container_is_read_to_its_end() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut podman = Podman::start();
        let bench = Bench::on(podman.host());
        let mut started =
            bench.starts("i=0; while [ $i -lt 60 ]; do i=$((i+1)); echo $i; sleep 0.1; done; exit 5").await;
        let mut got = Got::default();
        got.read(&mut started.output, 20).await;
        podman.down();
        tokio::time::sleep(Duration::from_secs(1)).await;
        podman.up();
        assert!(got.read(&mut started.output, usize::MAX).await);
        let whole: String = (1..=60).map(|n| format!("{n}\n")).collect();
        assert_eq!(String::from_utf8_lossy(&got.stdout), whole);
        assert_eq!(bench.runner.wait(&started.id).await.unwrap().code, 5);
    });
}
