//! A program from nothing to nothing, among things that are not its own.

use std::collections::BTreeSet;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{HttpTokensState, InstanceType, ResourceType, Tag, TagSpecification};
use optivex_bundle::inventory::{Ami, RoleName};
use optivex_bundle::names::Name;
use optivex_provision::ec2::{Ec2, Observed, Rule, State};
use optivex_rehearse::ec2::Ec2 as Outside;
use optivex_rehearse::moto::{Moto, target_dir};

use super::support::{BOUND, FAST, KEY, OTHER_KEY, aws, key, loader, name, run};

const REGION: &str = "eu-central-1";

/// A server, somebody else's client, and what is there before anybody makes anything.
struct Place {
    moto: Moto,
    client: Client,
    subnet: String,
    image: String,
}

impl Place {
    async fn new() -> Self {
        let moto = Moto::start(&target_dir().expect("built by cargo"), None).expect("moto starts");
        let config = loader(&moto.url()).region(aws_config::Region::new(REGION));
        let client = Client::new(&config.http_client(plain()).load().await);
        let subnets = client.describe_subnets().send().await.expect("answers");
        let images = client.describe_images().send().await.expect("answers");
        let subnet = subnets
            .subnets()
            .first()
            .and_then(|subnet| subnet.subnet_id())
            .expect("a default one");
        let image = images.images().iter().find(|image| image.root_device_name().is_some());
        let image = image.and_then(|image| image.image_id()).expect("one with a root disk");
        Self {
            subnet: subnet.to_owned(),
            image: image.to_owned(),
            client,
            moto,
        }
    }

    async fn program(&self, program: &Name, ingress: &str) -> Ec2 {
        Ec2::connect_with(loader(&self.moto.url()), &aws(&self.subnet, ingress), program, FAST).await
    }

    /// All ids and names of what there is, whoever's.
    fn everything(&self) -> BTreeSet<String> {
        let outside = Outside::new(self.moto.address(), REGION);
        let mut all = BTreeSet::new();
        for (action, element) in [
            ("DescribeKeyPairs", "keyPairId"),
            ("DescribeSecurityGroups", "groupId"),
            ("DescribeVolumes", "volumeId"),
            ("DescribeNetworkInterfaces", "networkInterfaceId"),
            ("DescribeLaunchTemplates", "launchTemplateId"),
        ] {
            all.extend(outside.call(action, &[], element).expect("answers"));
        }
        let instances = outside.instances().expect("answers").into_iter();
        all.extend(instances.filter(|one| one.state != "terminated").map(|one| one.id));
        all
    }
}

fn plain() -> aws_sdk_ec2::config::SharedHttpClient {
    aws_smithy_http_client::Builder::new().build_http()
}

#[tokio::test(flavor = "multi_thread")]
async fn from_nothing_to_nothing() {
    let place = Place::new().await;

    // What others have: an instance without tags, another program's, a key and a group.
    let (spring, autumn) = (name("spring"), name("autumn"));
    let stranger = place.program(&autumn, "198.51.100.0/24").await;
    stranger.import_key(&key(OTHER_KEY)).await.expect("imported");
    let groups = stranger.ensure_groups().await.expect("made");
    let image = stranger.image(&place.image).await.expect("it is there");
    run(&stranger, &image, &groups.dev, |launch| {
        launch.client_token = "autumn-alice-1"
    })
    .await
    .expect("made");
    let foreign = place
        .client
        .run_instances()
        .image_id(&place.image)
        .instance_type(InstanceType::T3Micro);
    foreign.min_count(1).max_count(1).send().await.expect("made");
    let before = place.everything();
    assert!(before.len() > 6, "{before:?}");

    // The key: made, kept, replaced.
    let ec2 = place.program(&spring, "203.0.113.0/24, 2001:db8::/32").await;
    let nothing = ec2.observe(&[]).await.expect("observed");
    assert!(nothing.is_empty() && nothing.vpc.is_some(), "{nothing:?}");
    ec2.import_key(&key(OTHER_KEY)).await.expect("imported");
    let first = ec2.observe(&[]).await.expect("observed").key.expect("a key");
    ec2.import_key(&key(OTHER_KEY)).await.expect("nothing to do");
    assert_eq!(ec2.observe(&[]).await.expect("observed").key.as_ref(), Some(&first));
    ec2.import_key(&key(KEY)).await.expect("replaced");
    let second = ec2.observe(&[]).await.expect("observed").key.expect("a key");
    assert_eq!(second.public, Some(key(KEY)));
    assert_ne!(second.id, first.id);

    // Machines.
    let groups = ec2.ensure_groups().await.expect("made");
    let id = run(&ec2, &image, &groups.dev, |_| {}).await.expect("made");
    let addresses = ec2.wait_running(&id, BOUND).await.expect("it runs");
    let uat = name("uat");
    let uat_id = run(&ec2, &image, &groups.uat, |launch| {
        (launch.role, launch.generation, launch.client_token) = (RoleName::Uat, 3, "spring-uat-3");
        (launch.machine, launch.public_address) = (Box::leak(Box::new(uat)), false);
    });
    let uat_id = uat_id.await.expect("made");
    let observed = ec2.observe(&[]).await.expect("observed");
    assert_eq!(observed.unknown, []);
    let [alice, uat] = observed.instances.as_slice() else {
        panic!("{observed:?}");
    };
    assert_eq!(
        (&alice.id, &alice.machine, alice.role, alice.generation),
        (&id, &name("alice"), RoleName::Dev, 1)
    );
    assert_eq!(
        (alice.state, alice.private_address),
        (State::Running, Some(addresses.private))
    );
    assert_eq!((alice.instance_type.as_str(), &alice.image), ("t3.large", &image.id));
    assert_eq!(alice.host_key, Some(key(KEY)));
    assert_eq!(
        (&uat.id, &uat.machine, uat.role, uat.generation),
        (&uat_id, &name("uat"), RoleName::Uat, 3)
    );
    as_asked_for(&place, &ec2, &groups.dev, alice.id.as_str()).await;

    // A host key that was made there.
    ec2.tag_host_key(&id, &key(OTHER_KEY)).await.expect("noted");
    assert_eq!(
        ec2.observe(&[]).await.expect("observed").instances[0].host_key,
        Some(key(OTHER_KEY))
    );

    // Stopped from outside, and started again.
    place
        .client
        .stop_instances()
        .instance_ids(id.as_str())
        .send()
        .await
        .expect("stopped");
    assert_eq!(
        ec2.observe(&[]).await.expect("observed").instances[0].state,
        State::Stopped
    );
    ec2.start(&id).await.expect("started");
    ec2.wait_running(&id, BOUND).await.expect("it runs");

    // And away: what is gone already does not keep the rest.
    let unknown = "i-0ffffffffffffffff".parse().expect("an id");
    let ids = [id, unknown, uat_id];
    ec2.terminate(&ids).await.expect("ended");
    ec2.wait_terminated(&ids, BOUND).await.expect("gone");
    ec2.terminate(&ids).await.expect("nothing to do");
    for _ in 0..2 {
        ec2.delete_groups(BOUND).await.expect("gone");
        ec2.delete_key().await.expect("gone");
    }
    let observed = ec2.observe(&[]).await.expect("observed");
    assert!(observed.is_empty(), "{observed:?}");
    assert_eq!(place.everything(), before);
}

/// What can be seen of a machine that was made.
async fn as_asked_for(place: &Place, ec2: &Ec2, group: &str, id: &str) {
    let answer = place
        .client
        .describe_instances()
        .instance_ids(id)
        .send()
        .await
        .expect("answers");
    let instance = answer
        .reservations()
        .first()
        .and_then(|one| one.instances().first())
        .expect("it is there");
    assert_eq!(instance.key_name(), Some(ec2.key_name().as_str()));
    let card = instance.network_interfaces().first().expect("a network interface");
    let groups: Vec<_> = card.groups().iter().filter_map(|group| group.group_id()).collect();
    assert_eq!(groups, [group]);
    assert_eq!(instance.subnet_id(), Some(place.subnet.as_str()));
    assert!(instance.public_ip_address().is_some());
    assert!(instance.iam_instance_profile().is_none());
    assert_eq!(
        instance.metadata_options().and_then(|options| options.http_tokens()),
        Some(&HttpTokensState::Required)
    );
    let disk = instance
        .block_device_mappings()
        .first()
        .and_then(|disk| disk.ebs())
        .expect("a disk");
    assert_eq!(disk.delete_on_termination(), Some(true));
    let volume = disk.volume_id().expect("it has an id");
    let volumes = place
        .client
        .describe_volumes()
        .volume_ids(volume)
        .send()
        .await
        .expect("answers");
    let volume = volumes.volumes().first().expect("it is there");
    assert_eq!((volume.encrypted(), volume.size()), (Some(true), Some(40)));
    let told = Outside::new(place.moto.address(), REGION)
        .user_data(id)
        .expect("answers");
    assert_eq!(told, b"#cloud-config\n");
}

fn rules(observed: &Observed, role: RoleName) -> BTreeSet<String> {
    let group = observed.group(role).expect("it is there");
    group.rules.iter().map(Rule::to_string).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_exactly_those() {
    let place = Place::new().await;
    let spring = name("spring");
    let ec2 = place.program(&spring, "203.0.113.0/24").await;
    let aws_before = aws(&place.subnet, "203.0.113.0/24");
    assert!(!ec2.observe(&[]).await.expect("observed").groups_are_right(&aws_before));
    let groups = ec2.ensure_groups().await.expect("made");
    assert_eq!(ec2.ensure_groups().await.expect("nothing to do"), groups);
    let observed = ec2.observe(&[]).await.expect("observed");
    assert!(observed.groups_are_right(&aws_before), "{observed:?}");
    let expected = |net: &str, other: &str| {
        BTreeSet::from([
            format!("tcp 22 from {net}"),
            format!("tcp 22 from {other}"),
            format!("tcp 50051 from {}", groups.dev),
            format!("tcp 50051 from {}", groups.uat),
        ])
    };
    assert_eq!(rules(&observed, RoleName::Dev), expected("203.0.113.0/24", &groups.uat));
    assert_eq!(rules(&observed, RoleName::Uat), expected("203.0.113.0/24", &groups.dev));

    // Somebody opens a door, closes another one, and the inventory changes.
    let open = place.client.authorize_security_group_ingress().group_id(&groups.dev);
    let open = open.ip_protocol("tcp").from_port(1).to_port(65535).cidr_ip("0.0.0.0/0");
    open.send().await.expect("opened");
    assert!(!ec2.observe(&[]).await.expect("observed").groups_are_right(&aws_before));
    let close = place.client.revoke_security_group_ingress().group_id(&groups.uat);
    close
        .ip_protocol("tcp")
        .from_port(22)
        .to_port(22)
        .cidr_ip("203.0.113.0/24")
        .send()
        .await
        .expect("closed");
    let ec2 = place.program(&spring, "198.51.100.0/24").await;
    assert_eq!(ec2.ensure_groups().await.expect("set right"), groups);
    let observed = ec2.observe(&[]).await.expect("observed");
    assert!(
        observed.groups_are_right(&aws(&place.subnet, "198.51.100.0/24")),
        "{observed:?}"
    );
    assert_eq!(
        rules(&observed, RoleName::Dev),
        expected("198.51.100.0/24", &groups.uat)
    );
    assert_eq!(
        rules(&observed, RoleName::Uat),
        expected("198.51.100.0/24", &groups.dev)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_told() {
    let place = Place::new().await;
    let ec2 = place.program(&name("spring"), "203.0.113.0/24").await;
    let error = ec2.image("ami-0123456789abcdef0").await.expect_err("there is none");
    assert!(error.to_string().contains("Correct aws.ami"), "{error}");
    let elsewhere = aws("subnet-0123456789abcdef0", "203.0.113.0/24");
    let lost = Ec2::connect_with(loader(&place.moto.url()), &elsewhere, &name("spring"), FAST).await;
    let error = lost.ensure_groups().await.expect_err("there is none");
    assert!(error.to_string().contains("Correct aws.subnet"), "{error}");
    assert_eq!(lost.observe(&[]).await.expect("observed").vpc, None);

    // moto resolves no public parameters; the question leaves nothing there.
    let before = place.everything();
    let parameter = Ami::Ssm("/aws/service/debian/release/13/latest/amd64".parse().expect("a path"));
    let error = ec2.resolve_image(&parameter).await.expect_err("unknown to moto");
    assert!(error.to_string().contains("Correct aws.ami"), "{error}");
    assert_eq!(place.everything(), before);

    // A tag that tells of no machine.
    let tag = Tag::builder().key("optivex-program").value("spring").build();
    let tags = TagSpecification::builder()
        .resource_type(ResourceType::Instance)
        .tags(tag)
        .build();
    let made = place
        .client
        .run_instances()
        .image_id(&place.image)
        .min_count(1)
        .max_count(1)
        .tag_specifications(tags);
    made.send().await.expect("made");
    let observed = ec2.observe(&[]).await.expect("observed");
    let [unknown] = observed.unknown.as_slice() else {
        panic!("{observed:?}");
    };
    assert_eq!(unknown.why, "it has no tag optivex-machine");
    ec2.terminate(std::slice::from_ref(&unknown.id)).await.expect("ended");
    assert!(ec2.observe(&[]).await.expect("observed").is_empty());
}
