//! A small API of Kubernetes: what `kubectl` asks for when it reads workloads, sets images, waits and reads events.
//!
//! It answers what was seen of kubectl 1.20 and 1.32; whatever else is asked for is 404, and is noted. A workload becomes
//! well with any image but those whose name says `bad` (never) or `slow` (after a while).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};

use super::Bench;

const TOKEN: &str = "the-token-of-a-service-account";

/// The cluster, and what was asked of it.
pub struct Cluster {
    pub url: String,
    /// Whom it trusts: itself.
    pub certificate: String,
    world: Arc<Mutex<World>>,
    _runtime: tokio::runtime::Runtime,
}

#[derive(Default)]
struct World {
    /// By kind and name.
    workloads: BTreeMap<(String, String), Value>,
    well_at: BTreeMap<(String, String), Instant>,
    asked: Vec<String>,
}

/// TCP with TLS on it: kubectl tells its token over nothing else.
struct Tls {
    tcp: tokio::net::TcpListener,
    acceptor: tokio_rustls::TlsAcceptor,
}

impl axum::serve::Listener for Tls {
    type Io = tokio_rustls::server::TlsStream<tokio::net::TcpStream>;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            if let Ok((stream, from)) = self.tcp.accept().await
                && let Ok(stream) = self.acceptor.accept(stream).await
            {
                return (stream, from);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}

/// A certificate for 127.0.0.1 that has signed itself, and its key.
fn certificate(bench: &Bench) -> (String, String) {
    let (key, certificate) = (bench.path("tls-key.pem"), bench.path("tls.pem"));
    let mut openssl = std::process::Command::new("openssl");
    openssl
        .args("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=cluster".split(' '));
    openssl.args(["-addext", "subjectAltName=IP:127.0.0.1", "-keyout"]).arg(&key).arg("-out").arg(&certificate);
    assert!(openssl.stderr(std::process::Stdio::null()).status().unwrap().success());
    (std::fs::read_to_string(certificate).unwrap(), std::fs::read_to_string(key).unwrap())
}

impl Cluster {
    pub fn start(bench: &Bench) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let world = Arc::new(Mutex::new(World::default()));
        let (certificate, key) = certificate(bench);
        let own = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = builder.with_no_client_auth().with_single_cert(vec![own], key).unwrap();
        let tcp = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("https://{}", tcp.local_addr().unwrap());
        let listener = Tls { tcp, acceptor: Arc::new(config).into() };
        let router = Router::new().fallback(answer).with_state(world.clone());
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self { url, certificate, world, _runtime: runtime }
    }

    /// A workload with these containers, each with an image.
    pub fn has(&self, kind: &str, name: &str, containers: &[(&str, &str)]) {
        let containers: Vec<Value> =
            containers.iter().map(|(name, image)| json!({"name": name, "image": image})).collect();
        let labels = json!({"app": name});
        let template = json!({"metadata": {"labels": labels}, "spec": {"containers": containers}});
        let spec = match kind {
            "cronjob" => json!({"schedule": "0 3 * * *", "jobTemplate": {"spec": {"template": template}}}),
            _ => json!({"replicas": 1, "selector": {"matchLabels": labels}, "template": template,
                        "serviceName": name, "updateStrategy": {"type": "RollingUpdate"}}),
        };
        let group = if kind == "cronjob" { "batch/v1" } else { "apps/v1" };
        let object = json!({
            "apiVersion": group, "kind": kind_name(kind),
            "metadata": {"name": name, "namespace": "shop", "uid": name, "resourceVersion": "1", "generation": 1},
            "spec": spec, "status": {},
        });
        let mut world = self.world.lock().unwrap();
        world.workloads.insert((kind.to_owned(), name.to_owned()), object);
        world.well_at.insert((kind.to_owned(), name.to_owned()), Instant::now());
    }

    /// The image of a container by now.
    pub fn image(&self, kind: &str, name: &str, container: &str) -> String {
        let world = self.world.lock().unwrap();
        let object = &world.workloads[&(kind.to_owned(), name.to_owned())];
        let all = object.pointer(containers_of(kind)).unwrap().as_array().unwrap();
        let own = all.iter().find(|c| c["name"] == container).unwrap();
        own["image"].as_str().unwrap().to_owned()
    }

    /// How often something was changed.
    pub fn changes(&self) -> usize {
        self.world.lock().unwrap().asked.iter().filter(|asked| !asked.starts_with("GET ")).count()
    }

    pub fn was_asked_for(&self, words: &str) -> bool {
        self.world.lock().unwrap().asked.iter().any(|asked| asked.contains(words))
    }

    /// A kubeconfig of it, with a token that it takes, or another.
    pub fn config(&self, token: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts:\n- name: c\n  context: {{cluster: c, user: u}}\n\
             clusters:\n- name: c\n  cluster: {{server: \"{}\", certificate-authority-data: {}}}\nusers:\n- name: u\n  user: {{token: \"{token}\"}}\n",
            self.url,
            super::kubernetes::base64(&self.certificate)
        )
    }

    pub fn token(&self) -> &'static str {
        TOKEN
    }
}

fn containers_of(kind: &str) -> &'static str {
    match kind {
        "cronjob" => "/spec/jobTemplate/spec/template/spec/containers",
        _ => "/spec/template/spec/containers",
    }
}

fn kind_name(kind: &str) -> &'static str {
    match kind {
        "deployment" => "Deployment",
        "statefulset" => "StatefulSet",
        "daemonset" => "DaemonSet",
        _ => "CronJob",
    }
}

/// What is in the way; `about` is the kind and the name of what that is.
fn status(code: StatusCode, reason: &str, message: &str, about: (&str, &str)) -> Response {
    let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason, "details": {"kind": about.0, "name": about.1}, "code": code.as_u16()});
    (code, axum::Json(body)).into_response()
}

fn resources(group: &str, of: &[(&str, &str)]) -> Value {
    let all: Vec<Value> = of
        .iter()
        .map(|(plural, kind)| {
            json!({"name": plural, "singularName": "", "namespaced": true, "kind": kind,
                   "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"]})
        })
        .collect();
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group, "resources": all})
}

async fn answer(
    State(world): State<Arc<Mutex<World>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path = uri.path().to_owned();
    let query = uri.query().unwrap_or_default().to_owned();
    world.lock().unwrap().asked.push(format!("{method} {path}?{query}"));
    if headers.get("authorization").is_none_or(|sent| sent != format!("Bearer {TOKEN}").as_str()) {
        return status(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized", ("", ""));
    }
    // kubectl 1.20 knows CronJobs as v1beta1 alone.
    let is_old = headers.get("user-agent").and_then(|a| a.to_str().ok()).is_some_and(|a| a.contains("v1.20"));
    let batch = if is_old { "batch/v1beta1" } else { "batch/v1" };
    let group = |name: &str, version: &str| {
        let version = json!({"groupVersion": version, "version": version.split('/').nth(1)});
        json!({"name": name, "versions": [version], "preferredVersion": version})
    };
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    match parts[..] {
        ["api"] => axum::Json(json!({"kind": "APIVersions", "versions": ["v1"]})).into_response(),
        ["apis"] => {
            let groups = [group("apps", "apps/v1"), group("batch", batch)];
            axum::Json(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})).into_response()
        }
        ["api", "v1"] => axum::Json(resources("v1", &[("pods", "Pod"), ("events", "Event")])).into_response(),
        ["apis", "apps", "v1"] => {
            let all = [("deployments", "Deployment"), ("statefulsets", "StatefulSet"), ("daemonsets", "DaemonSet")];
            axum::Json(resources("apps/v1", &all)).into_response()
        }
        ["apis", "batch", _] => axum::Json(resources(batch, &[("cronjobs", "CronJob")])).into_response(),
        // Of what is not there kubectl asks whether its namespace is.
        ["api", "v1", "namespaces", "shop"] => {
            axum::Json(json!({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "shop"}})).into_response()
        }
        ["api", "v1", "namespaces", "shop", "pods", pod] => {
            let containers = json!([{"name": "web", "image": "web"}]);
            let pod = json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": pod, "namespace": "shop"}, "spec": {"containers": containers}});
            axum::Json(pod).into_response()
        }
        ["api", "v1", "namespaces", "shop", "pods", _, "log"] => "starting\nno such table: users\n".into_response(),
        ["api", "v1", "namespaces", "shop", list @ ("pods" | "events")] => trouble(&world, list),
        ["apis", _, _, "namespaces", "shop", plural] if method == Method::GET => {
            let name =
                query.split('&').find_map(|q| q.strip_prefix("fieldSelector=metadata.name%3D")).unwrap_or_default();
            let kind = plural.trim_end_matches('s').to_owned();
            watched(&world, (kind, name.to_owned()), query.contains("watch=true"))
        }
        ["apis", _, version, "namespaces", "shop", plural, name] => {
            let key = (plural.trim_end_matches('s').to_owned(), name.to_owned());
            let mut world = world.lock().unwrap();
            if !world.workloads.contains_key(&key) {
                let message = format!("{plural}.apps \"{name}\" not found");
                return status(StatusCode::NOT_FOUND, "NotFound", &message, (plural, name));
            }
            if method == Method::PATCH {
                let patch: Value = serde_json::from_slice(&body).unwrap();
                world.patch(&key, &patch);
            }
            let mut object = world.as_of_now(&key);
            if key.0 == "cronjob" {
                object["apiVersion"] = format!("batch/{version}").into();
            }
            axum::Json(object).into_response()
        }
        _ => status(StatusCode::NOT_FOUND, "NotFound", "the server could not find the requested resource", ("", "")),
    }
}

impl World {
    /// Sets images as a strategic merge patch does: containers are told apart by their names.
    fn patch(&mut self, key: &(String, String), patch: &Value) {
        let pointer = containers_of(&key.0);
        let Some(patched) = patch.pointer(pointer).and_then(Value::as_array).cloned() else { return };
        let object = self.workloads.get_mut(key).unwrap();
        for container in object.pointer_mut(pointer).unwrap().as_array_mut().unwrap() {
            if let Some(with) = patched.iter().find(|p| p["name"] == container["name"]) {
                container["image"] = with["image"].clone();
            }
        }
        let generation = object["metadata"]["generation"].as_i64().unwrap() + 1;
        object["metadata"]["generation"] = generation.into();
        let text = object.pointer(pointer).unwrap().to_string();
        let after = match () {
            () if text.contains("bad") => Duration::from_hours(1),
            () if text.contains("slow") => Duration::from_millis(1_500),
            () => Duration::ZERO,
        };
        self.well_at.insert(key.clone(), Instant::now() + after);
    }

    fn as_of_now(&self, key: &(String, String)) -> Value {
        let mut object = self.workloads[key].clone();
        let is_well = self.well_at[key] <= Instant::now();
        let generation = object["metadata"]["generation"].clone();
        object["metadata"]["resourceVersion"] =
            (generation.as_i64().unwrap() * 2 + i64::from(is_well)).to_string().into();
        let now = i32::from(is_well);
        object["status"] = match key.0.as_str() {
            "deployment" => {
                json!({"observedGeneration": generation, "replicas": 1, "updatedReplicas": 1, "readyReplicas": now, "availableReplicas": now})
            }
            "statefulset" => {
                json!({"observedGeneration": generation, "replicas": 1, "readyReplicas": now, "updatedReplicas": now,
                                    "currentRevision": if is_well { "2" } else { "1" }, "updateRevision": "2"})
            }
            "daemonset" => {
                json!({"observedGeneration": generation, "desiredNumberScheduled": 1, "currentNumberScheduled": 1,
                                  "numberMisscheduled": 0, "numberReady": now, "updatedNumberScheduled": now, "numberAvailable": now})
            }
            _ => json!({}),
        };
        object
    }
}

fn watched(world: &Arc<Mutex<World>>, key: (String, String), watch: bool) -> Response {
    let there = world.lock().unwrap().workloads.contains_key(&key);
    if !watch {
        let items: Vec<Value> = there.then(|| world.lock().unwrap().as_of_now(&key)).into_iter().collect();
        let group = if key.0 == "cronjob" { "batch/v1" } else { "apps/v1" };
        let list = json!({"kind": format!("{}List", kind_name(&key.0)), "apiVersion": group, "metadata": {"resourceVersion": "1"}, "items": items});
        return axum::Json(list).into_response();
    }
    let world = world.clone();
    let changes = futures::stream::unfold(String::new(), move |seen| {
        let (world, key) = (world.clone(), key.clone());
        async move {
            loop {
                let object = world.lock().unwrap().as_of_now(&key);
                let version = object["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
                if version != seen {
                    let line = format!("{}\n", json!({"type": "MODIFIED", "object": object}));
                    return Some((Ok::<_, std::convert::Infallible>(line), version));
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    });
    ([("content-type", "application/json")], Body::from_stream(changes)).into_response()
}

/// What the kubelet says of pods that can't begin.
fn trouble(world: &Arc<Mutex<World>>, list: &str) -> Response {
    let world = world.lock().unwrap();
    let bad: Vec<String> = world
        .workloads
        .iter()
        .filter(|((kind, _), object)| object.pointer(containers_of(kind)).unwrap().to_string().contains("bad"))
        .map(|((_, name), _)| name.clone())
        .collect();
    let items: Vec<Value> = match list {
        "events" => bad
            .iter()
            .map(|name| {
                json!({"metadata": {"name": format!("{name}.1"), "namespace": "shop", "creationTimestamp": "2026-01-01T00:00:00Z"}, "type": "Warning", "reason": "Failed",
                       "message": "Failed to pull image \"web:bad\": manifest unknown",
                       "involvedObject": {"kind": "Pod", "name": format!("{name}-7d4b9-x2x")}})
            })
            .collect(),
        _ => bad
            .iter()
            .map(|name| {
                json!({"metadata": {"name": format!("{name}-7d4b9-x2x"), "namespace": "shop"}, "spec": {"containers": []},
                       "status": {"containerStatuses": [{"name": "web", "ready": false, "restartCount": 0, "image": "", "imageID": "",
                                                         "state": {"waiting": {"reason": "ImagePullBackOff"}}}]}})
            })
            .collect(),
    };
    let kind = if list == "events" { "EventList" } else { "PodList" };
    axum::Json(json!({"kind": kind, "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items}))
        .into_response()
}
