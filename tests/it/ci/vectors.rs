//! Signatures that the vendors publish (docs.github.com, Atlassian, CircleCI's docs), and three that pin our reading of
//! schemes without a published one (Buildkite, GitLab, Drone).

use coolops::ci::{Headers, Request};

use super::provider;

#[test]
fn published_signatures_are_accepted_and_others_are_not() {
    let github = "It's a Secret to Everybody";
    let token = "whsec_AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    let gitlab: &[(&str, &str)] = &[
        ("webhook-id", "f5e5f430-f57b-4e6e-9fac-d9128cd7232f"),
        ("webhook-timestamp", "1700000000"),
        ("webhook-signature", "v1,mS9Dwe/c1JtGM3bPD1oUtvPWo/sUDiT25X4dzOzhcA0="),
    ];
    let circleci = |digest: &'static str| [("circleci-signature", digest)];
    let drone = |header: &'static str| {
        let signature = r#"keyId="hmac-key",algorithm="hmac-sha256",headers="date digest",signature="f89DY3CWpL0+svqloivXwZTVRsxhMfaiH4B/JSs2uH8=""#;
        let digest = "SHA-256=BsRS7q4yFvSnNVElaYtVHbqlOTZ6nzOBgiQE4L7+1Nw=";
        [("date", "Tue, 14 Nov 2023 22:13:20 GMT"), ("digest", digest), (header, signature)]
    };
    let vectors: [(&str, &str, &str, i64, &[(&str, &str)]); 10] = [
        (
            "github",
            github,
            "Hello, World!",
            0,
            &[("x-hub-signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17")],
        ),
        (
            "bitbucket",
            github,
            "Hello World!",
            0,
            &[("x-hub-signature", "sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9")],
        ),
        (
            "circleci",
            "secret",
            "hello world",
            0,
            &circleci("v1=734cc62f32841568f45715aeb9f4d7891324e6d948e4c6c60c0621cdac48623a"),
        ),
        (
            "circleci",
            "another-secret",
            "lalala",
            0,
            &circleci("v1=daa220016c8f29a8b214fbfc3671aeec2145cfb1e6790184ffb38b6d0425fa00"),
        ),
        (
            "circleci",
            "hunter123",
            "an-important-request-payload",
            0,
            &circleci("v1=9be2242094a9a8c00c64306f382a7f9d691de910b4a266f67bd314ef18ac49fa"),
        ),
        (
            "circleci",
            "secret",
            "foo",
            0,
            &circleci("v1=773ba44693c7553d6ee20f61ea5d2757a9a4f4a44d2841ae4e95b52e4cd62db4"),
        ),
        (
            "buildkite",
            "test-token",
            r#"{"event":"build.finished"}"#,
            1_619_071_700,
            &[(
                "x-buildkite-signature",
                "timestamp=1619071700,signature=b8373095d3526dd55184bbc16848d742658329fbbefc4933bb47ba95577af7e7",
            )],
        ),
        ("gitlab", token, r#"{"object_kind":"pipeline"}"#, 1_700_000_000, gitlab),
        // The server writes one header, its documentation shows the other.
        ("drone", "drone-secret", r#"{"event":"build"}"#, 1_700_000_000, &drone("signature")),
        ("drone", "drone-secret", r#"{"event":"build"}"#, 1_700_000_000, &drone("authorization")),
    ];
    for (name, secret, body, now, headers) in vectors {
        let headers = Headers(headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect());
        let verified = |body: &str, now: i64| {
            provider(name).verify(&Request { headers: &headers, body: body.as_bytes(), now }, secret)
        };
        assert_eq!(verified(body, now), Ok(()), "{name} {body}");
        assert!(verified(&format!("{body} "), now).is_err(), "{name} {body}");
        if now > 0 {
            assert!(verified(body, now + 301).is_err(), "{name} is stale after five minutes");
        }
    }
}
