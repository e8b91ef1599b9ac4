//! Looking, and waiting.

use optivex_bundle::inventory::RoleName;
use optivex_provision::ec2::{Kind, State};

use super::server::{Server, answer};
use super::support::{BOUND, ec2, name};

fn instance(id: &str, state: &str, more: &str) -> String {
    format!(
        "<item><instancesSet><item><instanceId>{id}</instanceId><instanceState><name>{state}</name></instanceState>\
         {more}</item></instancesSet></item>"
    )
}

fn tags(tags: &[(&str, &str)]) -> String {
    let items = tags
        .iter()
        .map(|(key, value)| format!("<item><key>{key}</key><value>{value}</value></item>"));
    format!("<tagSet>{}</tagSet>", items.collect::<String>())
}

fn reservations(instances: &[String], next: &str) -> super::server::Answer {
    let body = format!("<reservationSet>{}</reservationSet>{next}", instances.concat());
    answer("DescribeInstances", &body)
}

#[tokio::test]
async fn it_runs_in_the_end() {
    let id = "i-0123456789abcdef0";
    let address = "<privateIpAddress>10.0.0.7</privateIpAddress>";
    let server = Server::with(vec![
        reservations(&[], ""),
        reservations(&[instance(id, "pending", "")], ""),
        reservations(&[instance(id, "running", "")], ""),
        reservations(&[instance(id, "running", address)], ""),
    ]);
    let addresses = ec2(server.url())
        .await
        .wait_running(&id.parse().expect("an id"), BOUND)
        .await
        .expect("it runs");
    assert_eq!(
        (addresses.private.to_string(), addresses.public),
        ("10.0.0.7".to_owned(), None)
    );
    assert_eq!(server.asked().len(), 4);
}

#[tokio::test]
async fn it_ended_instead() {
    let id = "i-0123456789abcdef0";
    let reason =
        "<stateReason><code>Client.InternalError</code><message>Client.InternalError: key</message></stateReason>";
    let server = Server::with(vec![reservations(&[instance(id, "terminated", reason)], "")]);
    let error = ec2(server.url())
        .await
        .wait_running(&id.parse().expect("an id"), BOUND)
        .await
        .expect_err("it ended");
    assert_eq!(error.kind(), Kind::Ended);
    assert!(
        error
            .to_string()
            .contains("it ended before it ran: Client.InternalError: key"),
        "{error}"
    );
}

/// EC2 finds what it made by its id before it finds it by its tag.
#[tokio::test]
async fn what_is_noted_is_looked_for_by_its_id_too() {
    let tagged = |machine| {
        tags(&[
            ("optivex-program", "spring"),
            ("optivex-machine", machine),
            ("optivex-role", "dev"),
            ("optivex-generation", "1"),
        ])
    };
    let by_tag = reservations(
        &[
            instance("i-01", "running", &tagged("alice")),
            instance("i-02", "terminated", &tagged("bob")),
        ],
        "",
    );
    let by_id = reservations(
        &[
            instance("i-03", "pending", &tagged("carol")),
            instance("i-04", "terminated", &tagged("dave")),
            // Somebody took its tags away: none of ours.
            instance("i-05", "running", ""),
        ],
        "",
    );
    let server = Server::start(
        move |request, _| match (request.action(), request.get("Filter.1.Name")) {
            ("DescribeInstances", Some("instance-id")) => by_id.clone(),
            ("DescribeInstances", _) => by_tag.clone(),
            ("DescribeSubnets", _) => super::server::refusal(400, "InvalidSubnetID.NotFound", "no"),
            (action, _) => answer(action, ""),
        },
    );
    let noted = ["i-01", "i-02", "i-03", "i-04", "i-05", "i-06"].map(|id| id.parse().expect("an id"));
    let observed = ec2(server.url()).await.observe(&noted).await.expect("observed");
    let told: Vec<_> = observed
        .instances
        .iter()
        .map(|one| (one.id.as_str(), one.state))
        .collect();
    assert_eq!(told, [("i-01", State::Running), ("i-03", State::Pending)]);
    let ended: Vec<_> = observed.ended.iter().map(|id| id.as_str()).collect();
    assert_eq!(ended, ["i-02", "i-04"]);
    let asked = server.asked();
    let asked: Vec<_> = asked
        .iter()
        .filter_map(|request| request.get("Filter.1.Value.3"))
        .collect();
    assert_eq!(asked, ["i-05"], "those that the tag did not find, and no others");
}

#[tokio::test]
async fn all_pages_and_nothing_that_is_not_ours() {
    let ours = ("optivex-program", "spring");
    let alice = [
        ours,
        ("optivex-machine", "alice"),
        ("optivex-role", "dev"),
        ("optivex-generation", "2"),
    ];
    let uat = [
        ours,
        ("optivex-machine", "uat"),
        ("optivex-role", "uat"),
        ("optivex-generation", "1"),
    ];
    let foreign = [("optivex-program", "autumn"), ("optivex-machine", "alice")];
    let wrong = |machine, role, generation| {
        tags(&[
            ours,
            ("optivex-machine", machine),
            ("optivex-role", role),
            ("optivex-generation", generation),
        ])
    };
    let first = reservations(
        &[
            instance("i-01", "stopped", &tags(&uat)),
            instance("i-02", "terminated", &tags(&alice)),
            instance("i-03", "running", &tags(&foreign)),
            instance("i-04", "running", &tags(&[ours])),
        ],
        "<nextToken>more</nextToken>",
    );
    let second = reservations(
        &[
            instance("i-05", "running", &tags(&alice)),
            instance("i-06", "running", &wrong("Not a name", "dev", "1")),
            instance("i-07", "running", &wrong("bob", "king", "1")),
            instance("i-08", "shutting-down", &wrong("bob", "dev", "-1")),
        ],
        "",
    );
    let server = Server::start(move |request, _| match (request.action(), request.get("NextToken")) {
        ("DescribeInstances", None) => first.clone(),
        ("DescribeInstances", Some("more")) => second.clone(),
        ("DescribeSubnets", _) => super::server::refusal(400, "InvalidSubnetID.NotFound", "no"),
        (action, _) => answer(action, ""),
    });
    let observed = ec2(server.url()).await.observe(&[]).await.expect("observed");
    assert_eq!((observed.vpc, observed.key, observed.groups.len()), (None, None, 0));
    let told = observed.instances.iter().map(|one| {
        (
            one.id.to_string(),
            one.machine.clone(),
            one.role,
            one.generation,
            one.state,
        )
    });
    assert_eq!(
        told.collect::<Vec<_>>(),
        [
            ("i-05".to_owned(), name("alice"), RoleName::Dev, 2, State::Running),
            ("i-01".to_owned(), name("uat"), RoleName::Uat, 1, State::Stopped),
        ]
    );
    let unknown = observed
        .unknown
        .iter()
        .map(|one| format!("{} {}: {}", one.id, one.state, one.why));
    assert_eq!(
        unknown.collect::<Vec<_>>(),
        [
            "i-04 running: it has no tag optivex-machine",
            "i-06 running: its tag optivex-machine is \"Not a name\"",
            "i-07 running: its tag optivex-role is \"king\"",
            "i-08 shutting-down: its tag optivex-generation is \"-1\"",
        ]
    );
}
