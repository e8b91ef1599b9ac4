//! moto as the rehearsal and provisioning's tests use it.

use std::net::TcpStream;

use optivex_rehearse::ec2::Ec2;
use optivex_rehearse::moto::{Moto, target_dir};

#[test]
fn an_empty_ec2_that_ends_with_its_owner() {
    let moto = Moto::start(&target_dir().expect("built by cargo"), None).expect("starts");
    let ec2 = Ec2::new(moto.address(), "eu-central-1");
    assert_eq!(ec2.instances().expect("answers"), []);
    let error = ec2.user_data("i-0123456789abcdef0").expect_err("there is none");
    assert!(format!("{error:#}").contains("InvalidInstanceID"), "{error:#}");
    let zones = ec2.call("DescribeSubnets", &[], "availabilityZone").expect("answers");
    assert_eq!(zones, ["eu-central-1a", "eu-central-1b", "eu-central-1c"]);

    let address = moto.address();
    drop(moto);
    TcpStream::connect(address).expect_err("nobody listens any more");
}

#[test]
fn two_at_once_know_nothing_of_each_other() {
    let target = target_dir().expect("built by cargo");
    let (one, other) = (Moto::start(&target, None), Moto::start(&target, None));
    let (one, other) = (one.expect("starts"), other.expect("starts"));
    assert_ne!(one.address(), other.address());
    assert!(
        one.environment("eu-central-1")
            .contains(&("AWS_ENDPOINT_URL", one.url()))
    );
}
