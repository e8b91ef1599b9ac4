//! What is asked for, to the letter, where moto does not look.

use expect_test::expect;
use optivex_bundle::inventory::Ami;
use optivex_provision::ec2::Kind;

use super::server::{Server, answer, refusal};
use super::support::{KEY, ec2, image, key, run};

#[tokio::test]
async fn a_machine() {
    let made = "<instancesSet><item><instanceId>i-0123456789abcdef0</instanceId></item></instancesSet>";
    let server = Server::with(vec![answer("RunInstances", made)]);
    run(&ec2(server.url()).await, &image(), "sg-1", |_| {})
        .await
        .expect("made");
    let asked = server.asked();
    assert_eq!(asked.len(), 1);
    expect![[r#"
        Action=RunInstances
        BlockDeviceMapping.1.DeviceName=/dev/xvda
        BlockDeviceMapping.1.Ebs.DeleteOnTermination=true
        BlockDeviceMapping.1.Ebs.Encrypted=true
        BlockDeviceMapping.1.Ebs.VolumeSize=40
        BlockDeviceMapping.1.Ebs.VolumeType=gp3
        ClientToken=spring-alice-1
        ImageId=ami-0123456789abcdef0
        InstanceInitiatedShutdownBehavior=terminate
        InstanceType=t3.large
        KeyName=optivex-spring
        MaxCount=1
        MetadataOptions.HttpEndpoint=enabled
        MetadataOptions.HttpPutResponseHopLimit=1
        MetadataOptions.HttpTokens=required
        MinCount=1
        NetworkInterface.1.AssociatePublicIpAddress=true
        NetworkInterface.1.DeleteOnTermination=true
        NetworkInterface.1.DeviceIndex=0
        NetworkInterface.1.SecurityGroupId.1=sg-1
        NetworkInterface.1.SubnetId=subnet-0123456789abcdef0
        TagSpecification.1.ResourceType=instance
        TagSpecification.1.Tag.1.Key=optivex-program
        TagSpecification.1.Tag.1.Value=spring
        TagSpecification.1.Tag.2.Key=optivex-machine
        TagSpecification.1.Tag.2.Value=alice
        TagSpecification.1.Tag.3.Key=optivex-role
        TagSpecification.1.Tag.3.Value=dev
        TagSpecification.1.Tag.4.Key=optivex-generation
        TagSpecification.1.Tag.4.Value=1
        TagSpecification.1.Tag.5.Key=Name
        TagSpecification.1.Tag.5.Value=alice
        TagSpecification.1.Tag.6.Key=optivex-host-key
        TagSpecification.1.Tag.6.Value=ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKmjWCJ3ZnV2ZzVqZ3F3ZXJ0eXVpb3Bhc2RmZ2hqa2x6
        TagSpecification.2.ResourceType=volume
        TagSpecification.2.Tag.1.Key=optivex-program
        TagSpecification.2.Tag.1.Value=spring
        TagSpecification.2.Tag.2.Key=optivex-machine
        TagSpecification.2.Tag.2.Value=alice
        TagSpecification.2.Tag.3.Key=optivex-role
        TagSpecification.2.Tag.3.Value=dev
        TagSpecification.2.Tag.4.Key=optivex-generation
        TagSpecification.2.Tag.4.Value=1
        TagSpecification.2.Tag.5.Key=Name
        TagSpecification.2.Tag.5.Value=alice
        TagSpecification.3.ResourceType=network-interface
        TagSpecification.3.Tag.1.Key=optivex-program
        TagSpecification.3.Tag.1.Value=spring
        TagSpecification.3.Tag.2.Key=optivex-machine
        TagSpecification.3.Tag.2.Value=alice
        TagSpecification.3.Tag.3.Key=optivex-role
        TagSpecification.3.Tag.3.Value=dev
        TagSpecification.3.Tag.4.Key=optivex-generation
        TagSpecification.3.Tag.4.Value=1
        TagSpecification.3.Tag.5.Key=Name
        TagSpecification.3.Tag.5.Value=alice
        UserData=I2Nsb3VkLWNvbmZpZwo=
        Version=2016-11-15
    "#]]
    .assert_eq(&asked[0].lines());
}

fn image_answers(request: &super::server::Request) -> super::server::Answer {
    let resolved = "<launchTemplateVersionSet><item><launchTemplateData><imageId>ami-0fedcba9876543210</imageId>\
                    </launchTemplateData></item></launchTemplateVersionSet>";
    let there = "<imagesSet><item><imageId>ami-0fedcba9876543210</imageId><rootDeviceName>/dev/sda1</rootDeviceName>\
                 <rootDeviceType>ebs</rootDeviceType><blockDeviceMapping><item><deviceName>/dev/sdb</deviceName></item><item>\
                 <deviceName>/dev/sda1</deviceName><ebs><volumeSize>12</volumeSize></ebs></item></blockDeviceMapping>\
                 </item></imagesSet>";
    let made = "<launchTemplate><launchTemplateId>lt-2</launchTemplateId></launchTemplate>";
    // One of a killed run, and one of another program that a server without filters shows.
    let left = "<launchTemplates><item><launchTemplateId>lt-1</launchTemplateId><tagSet><item><key>optivex-program</key>\
                <value>spring</value></item></tagSet></item><item><launchTemplateId>lt-9</launchTemplateId></item>\
                </launchTemplates>";
    match request.action() {
        "DescribeLaunchTemplateVersions" => answer("DescribeLaunchTemplateVersions", resolved),
        "DescribeLaunchTemplates" => answer("DescribeLaunchTemplates", left),
        "DescribeImages" => answer("DescribeImages", there),
        "CreateLaunchTemplate" => answer("CreateLaunchTemplate", made),
        action => answer(action, ""),
    }
}

#[tokio::test]
async fn a_public_parameter_is_resolved_by_a_template_that_goes() {
    let server = Server::start(|request, _| image_answers(request));
    let ami = Ami::Ssm("/aws/service/debian/release/13/latest/amd64".parse().expect("a path"));
    let image = ec2(server.url()).await.resolve_image(&ami).await.expect("resolved");
    assert_eq!(
        (image.id.as_str(), image.root_device.as_str(), image.disk_gib),
        ("ami-0fedcba9876543210", "/dev/sda1", 12)
    );
    assert_eq!(
        server.actions(),
        [
            "DescribeLaunchTemplates",
            "DeleteLaunchTemplate",
            "CreateLaunchTemplate",
            "DescribeLaunchTemplateVersions",
            "DescribeLaunchTemplates",
            "DeleteLaunchTemplate",
            "DescribeImages",
        ]
    );
    let asked = server.asked();
    assert_eq!(
        asked[2].get("LaunchTemplateData.ImageId"),
        Some("resolve:ssm:/aws/service/debian/release/13/latest/amd64")
    );
    assert_eq!(asked[3].get("ResolveAlias"), Some("true"));
}

#[tokio::test]
async fn a_parameter_that_is_none_leaves_nothing() {
    let server = Server::start(|request, _| match request.action() {
        "DescribeLaunchTemplateVersions" => refusal(400, "InvalidParameterValue", "no such parameter"),
        _ => image_answers(request),
    });
    let ami = Ami::Ssm("/aws/service/none".parse().expect("a path"));
    let error = ec2(server.url()).await.resolve_image(&ami).await.expect_err("none");
    assert!(
        error
            .to_string()
            .contains("resolving the public parameter /aws/service/none: no such parameter"),
        "{error}"
    );
    assert_eq!(
        server.actions().last().map(String::as_str),
        Some("DeleteLaunchTemplate")
    );
}

#[tokio::test]
async fn images_that_cannot_be_used() {
    for (item, expected) in [
        ("", "there is none in this region"),
        (
            "<item><rootDeviceType>instance-store</rootDeviceType><rootDeviceName>/dev/sda1</rootDeviceName></item>",
            "not on EBS",
        ),
    ] {
        let server = Server::with(vec![answer(
            "DescribeImages",
            &format!("<imagesSet>{item}</imagesSet>"),
        )]);
        let error = ec2(server.url()).await.image("ami-0123").await.expect_err(expected);
        assert_eq!(error.kind(), Kind::Image);
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn what_is_called_as_ours_and_is_not_is_left_alone() {
    let server = Server::start(|request, _| match request.action() {
        "ImportKeyPair" => refusal(400, "InvalidKeyPair.Duplicate", "It is there."),
        "CreateSecurityGroup" => refusal(400, "InvalidGroup.Duplicate", "It is there."),
        "DescribeSubnets" => answer(
            "DescribeSubnets",
            "<subnetSet><item><vpcId>vpc-1</vpcId></item></subnetSet>",
        ),
        "DescribeKeyPairs" => answer(
            "DescribeKeyPairs",
            "<keySet><item><keyName>optivex-spring</keyName><keyPairId>key-1</keyPairId></item></keySet>",
        ),
        action => answer(action, ""),
    });
    let ec2 = ec2(server.url()).await;
    for error in [
        ec2.import_key(&key(KEY)).await.expect_err("it is there"),
        ec2.ensure_groups().await.map(drop).expect_err("it is there"),
    ] {
        assert_eq!(error.kind(), Kind::Taken);
        assert!(
            error.to_string().contains("without our tag, so it is not touched"),
            "{error}"
        );
    }
    ec2.delete_key().await.expect("nothing to do");
    let actions = server.actions();
    assert!(
        !actions.iter().any(|action| action.starts_with("Delete")),
        "{actions:?}"
    );
}

/// Key pair and groups are made right before the first machine, and EC2 does not know them everywhere at once.
#[tokio::test]
async fn what_was_made_a_moment_ago_is_waited_for() {
    let made = "<instancesSet><item><instanceId>i-01</instanceId></item></instancesSet>";
    let server = Server::with(vec![
        refusal(
            400,
            "InvalidKeyPair.NotFound",
            "The key pair 'optivex-spring' does not exist",
        ),
        refusal(400, "InvalidGroup.NotFound", "The security group 'sg-1' does not exist"),
        answer("RunInstances", made),
    ]);
    let id = run(&ec2(server.url()).await, &image(), "sg-1", |_| {})
        .await
        .expect("made");
    assert_eq!(id.as_str(), "i-01");
    let asked = server.asked();
    assert_eq!(asked.len(), 3);
    assert!(asked.iter().all(|request| *request == asked[0]), "with the same token");

    // One that stays unknown is told, in the end.
    let server = Server::with(vec![refusal(400, "InvalidGroup.NotFound", "It does not exist")]);
    let error = run(&ec2(server.url()).await, &image(), "sg-1", |_| {}).await;
    assert_eq!(error.expect_err("never").kind(), Kind::NotFound);
    assert!(server.asked().len() > 3);
}
