//! What EC2 refuses is told in words, is tried again where that helps, and is not where it does not.

use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use optivex_provision::ec2::{Ec2, Kind};

use super::server::{Server, answer, refusal};
use super::support::{FAST, aws, ec2, image, name, run};

fn made() -> super::server::Answer {
    answer(
        "RunInstances",
        "<instancesSet><item><instanceId>i-0123456789abcdef0</instanceId></item></instancesSet>",
    )
}

#[tokio::test]
async fn refusals_in_words() {
    let many = FAST.attempts as usize;
    let cases = [
        (503, "RequestLimitExceeded", Kind::Throttled, "smaller --parallel", many),
        (400, "Throttling", Kind::Throttled, "in some minutes", many),
        (
            500,
            "InsufficientInstanceCapacity",
            Kind::NoCapacity,
            "another zone",
            many,
        ),
        (400, "Unsupported", Kind::NotOffered, "another instance_type", 1),
        (400, "VcpuLimitExceeded", Kind::Quota, "Service Quotas", 1),
        (400, "InstanceLimitExceeded", Kind::Quota, "Service Quotas", 1),
        (400, "ExpiredToken", Kind::Expired, "aws sso login", 1),
        (400, "RequestExpired", Kind::Expired, "clock", 1),
        (403, "UnauthorizedOperation", Kind::NotAllowed, "permission", 1),
        (401, "AuthFailure", Kind::WrongCredentials, "AWS_PROFILE", 1),
        (400, "PendingVerification", Kind::Account, "AWS console", 1),
        (400, "InvalidAMIID.NotFound", Kind::Image, "aws.ami", 1),
        (400, "InvalidAMIID.Malformed", Kind::Image, "aws.ami", 1),
        (400, "InvalidSubnetID.NotFound", Kind::Subnet, "aws.subnet", 1),
        (
            400,
            "InsufficientFreeAddressesInSubnet",
            Kind::Addresses,
            "larger subnet",
            1,
        ),
        (400, "IdempotentParameterMismatch", Kind::Mismatch, "next generation", 1),
        (500, "InternalError", Kind::Server, "health.aws.amazon.com", many),
        (503, "Unavailable", Kind::Server, "run it again later", many),
        (400, "SomethingNew", Kind::Other, "AWS's own words", 1),
    ];
    for (status, code, kind, advice, requests) in cases {
        let server = Server::with(vec![refusal(status, code, "Their words.")]);
        let error = run(&ec2(server.url()).await, &image(), "sg-1", |_| {})
            .await
            .expect_err(code);
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!(error.code(), Some(code));
        let text = error.to_string();
        let first = format!("making alice: Their words. ({code}, request req-2)\n");
        assert!(text.starts_with(&first), "{text}");
        assert!(text.contains(advice), "{text}");
        assert_eq!(server.asked().len(), requests, "requests for {code}");
    }
}

#[tokio::test]
async fn throttling_is_waited_out_with_the_same_client_token() {
    let throttled = refusal(503, "RequestLimitExceeded", "Request limit exceeded.");
    let server = Server::with(vec![throttled.clone(), throttled, made()]);
    let id = run(&ec2(server.url()).await, &image(), "sg-1", |_| {})
        .await
        .expect("made in the end");
    assert_eq!(id.as_str(), "i-0123456789abcdef0");
    let asked = server.asked();
    assert_eq!(asked.len(), 3);
    for request in asked {
        assert_eq!(request.get("ClientToken"), Some("spring-alice-1"));
    }
}

#[tokio::test]
async fn encoded_messages_and_endless_ones_are_cut() {
    let message = "You may not.\n Encoded authorization failure message: cmVhZCBub3RoaW5n";
    let server = Server::with(vec![refusal(403, "UnauthorizedOperation", message)]);
    let error = run(&ec2(server.url()).await, &image(), "sg-1", |_| {})
        .await
        .expect_err("refused");
    assert!(
        error.to_string().starts_with("making alice: You may not. (Unauth"),
        "{error}"
    );
    let server = Server::with(vec![refusal(400, "Long", &"ä".repeat(100_000))]);
    let error = run(&ec2(server.url()).await, &image(), "sg-1", |_| {})
        .await
        .expect_err("refused");
    assert!(error.to_string().len() < 1_000, "{error}");
}

#[tokio::test]
async fn nobody_there() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", free.local_addr().expect("bound"));
    drop(free);
    let error = run(&ec2(&url).await, &image(), "sg-1", |_| {})
        .await
        .expect_err("nobody answers");
    assert_eq!(error.kind(), Kind::Unreachable, "{error}");
    assert!(error.to_string().contains("AWS_ENDPOINT_URL"), "{error}");
    assert!(error.kind().passes());
}

#[tokio::test]
async fn no_ec2_there() {
    for (status, body) in [
        (200, "<html>Please log in</html>"),
        (200, ""),
        (407, "<html>"),
        (404, "not XML"),
        (200, "<RunInstancesResponse><instancesSet/></RunInstancesResponse>"),
    ] {
        let server = Server::with(vec![(status, body.to_owned())]);
        let error = run(&ec2(server.url()).await, &image(), "sg-1", |_| {})
            .await
            .expect_err(body);
        assert_eq!(error.kind(), Kind::Answer, "{status} {body:?}: {error}");
    }
}

#[tokio::test]
async fn what_cannot_be_right_is_not_asked_for() {
    let server = Server::with(vec![made()]);
    let ec2 = ec2(server.url()).await;
    let image = image();
    let large = optivex_bundle::secret::Secret::new("x".repeat(16_385));
    let error = run(&ec2, &image, "sg-1", |launch| {
        // Leaked for the test: it lives as long as the launch has to.
        launch.user_data = Box::leak(Box::new(large));
    });
    let error = error.await.expect_err("too large");
    assert!(
        error.to_string().contains("16385 bytes, and EC2 takes 16384"),
        "{error}"
    );
    let error = run(&ec2, &image, "sg-1", |launch| launch.disk_gib = 7)
        .await
        .expect_err("too small");
    assert!(
        error
            .to_string()
            .contains("disk_gib: 7, and the image ami-0123456789abcdef0 needs 8"),
        "{error}"
    );
    assert_eq!(error.kind(), Kind::Request);
    assert_eq!(server.asked(), []);
}

/// Set in the process that plays the user.
const AS_USER: &str = "OPTIVEX_TEST_AS_USER";

type Variables<'a> = &'a [(&'a str, &'a str)];

/// As a user has it: by the environment alone, in a process of its own.
#[test]
fn the_environment() {
    if let Ok(expected) = std::env::var(AS_USER) {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let told = runtime.block_on(async {
            let aws = aws("subnet-0123456789abcdef0", "203.0.113.0/24");
            let ec2 = Ec2::connect(&aws, &name("spring")).await;
            match run(&ec2, &image(), "sg-1", |_| {}).await {
                Ok(id) => id.to_string(),
                Err(error) => error.to_string(),
            }
        });
        assert!(told.contains(&expected), "{told}");
        return;
    }
    let server = Server::with(vec![made()]);
    let keys = [("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")];
    let home = tempfile::tempdir().expect("a folder");
    let config = home.path().join("config");
    let profile = "[profile team]\naws_access_key_id = a\naws_secret_access_key = b\nregion = us-east-1\n";
    std::fs::write(&config, profile).expect("written");
    let config = config.to_str().expect("UTF-8");
    // What a user may have set, what is told, and how often EC2 is asked.
    let cases: [(Variables<'_>, &str, usize); 5] = [
        (&keys, "i-0123456789abcdef0", 1),
        (
            &[("AWS_CONFIG_FILE", config), ("AWS_PROFILE", "team")],
            "i-0123456789abcdef0",
            1,
        ),
        (&[], "Say who you are", 0),
        (&[("AWS_PROFILE", "nobody")], "Say who you are", 0),
        // Nobody listens there: a proxy is not for servers on this machine.
        (
            &[keys[0], keys[1], ("http_proxy", "http://127.0.0.1:9")],
            "i-0123456789abcdef0",
            1,
        ),
    ];
    for (variables, expected, requests) in cases {
        let before = server.asked().len();
        let output = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "errors::the_environment", "--nocapture"])
            .env_clear()
            .env(AS_USER, expected)
            .env("AWS_ENDPOINT_URL", server.url())
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_CONFIG_FILE", "/dev/null")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
            .envs(variables.iter().copied())
            .output()
            .expect("it starts");
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && text.contains("1 passed"),
            "{variables:?}: {text}"
        );
        assert_eq!(server.asked().len() - before, requests, "{variables:?}");
    }
}

#[tokio::test]
async fn time_is_bounded_in_words() {
    let nothing = answer("DescribeInstances", "<reservationSet/>");
    let server = Server::with(vec![nothing]);
    let id = "i-0123456789abcdef0".parse().expect("an id");
    let bound = Duration::from_millis(20);
    let error = ec2(server.url())
        .await
        .wait_running(&id, bound)
        .await
        .expect_err("it never comes");
    assert_eq!(error.kind(), Kind::TimedOut);
    let text = error.to_string();
    assert!(
        text.contains("EC2 does not know it") && text.contains("goes on where it stopped"),
        "{text}"
    );
}
