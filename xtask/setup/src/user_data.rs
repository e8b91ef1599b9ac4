//! What a new machine is told before anybody can speak to it: cloud-init's user data.
//!
//! The host key in it is for the first connection only. Every process on the machine can ask the metadata service for
//! the user data, so that key is no secret from participants; [`crate::host_key::replace`] has the machine make
//! another one over the connection that this one secured.

use std::collections::BTreeMap;

use optivex_bundle::moment::Moment;
use optivex_bundle::names::Name;
use optivex_bundle::secret::Secret;
use serde::Serialize;

use crate::keys::{KeyPair, PublicKey};
use crate::operations::end;
use crate::spec::paths;

#[derive(Serialize)]
struct CloudConfig<'a> {
    hostname: &'a str,
    /// Else sudo asks the network for the name.
    manage_etc_hosts: bool,
    ssh_pwauth: bool,
    disable_root: bool,
    /// Of the image: everybody who has the image has them.
    ssh_deletekeys: bool,
    ssh_keys: BTreeMap<&'static str, String>,
    /// Of the image's own login user.
    ssh_authorized_keys: Vec<String>,
    write_files: Vec<WriteFile>,
    runcmd: Vec<Vec<&'static str>>,
}

#[derive(Serialize)]
struct WriteFile {
    path: String,
    permissions: &'static str,
    content: String,
}

/// The user data of a machine: it shows `host_key`, lets `manager` in as the image's login user, and ends at `end`
/// even if nobody ever comes.
pub fn user_data(name: &Name, host_key: &KeyPair, manager: &PublicKey, end: Option<Moment>) -> Secret {
    let units = end.map(end::units).into_iter().flatten();
    let config = CloudConfig {
        hostname: name.as_str(),
        manage_etc_hosts: true,
        ssh_pwauth: false,
        disable_root: true,
        ssh_deletekeys: true,
        ssh_keys: BTreeMap::from([
            ("ed25519_private", host_key.private.expose().to_owned()),
            ("ed25519_public", format!("{} {name}", host_key.public)),
        ]),
        ssh_authorized_keys: vec![format!("{manager} optivex manager")],
        write_files: units
            .map(|(path, content)| WriteFile {
                path,
                permissions: "0644",
                content,
            })
            .collect(),
        runcmd: match end {
            None => Vec::new(),
            Some(_) => vec![
                vec!["systemctl", "daemon-reload"],
                vec!["systemctl", "enable", "--now", paths::END_TIMER],
            ],
        },
    };
    let yaml = serde_yaml::to_string(&config).expect("plain data becomes YAML");
    Secret::new(format!("#cloud-config\n{yaml}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operations::testing::key;
    use expect_test::expect;

    #[test]
    fn a_first_boot() {
        let host_key = KeyPair {
            private: Secret::new("-----BEGIN\nprivate\n-----END\n".to_owned()),
            public: key("host"),
        };
        let name = "alice".parse().expect("a name");
        let moment = "2027-03-12T18:00:00Z".parse().expect("a moment");
        let data = |end| user_data(&name, &host_key, &key("mana"), end);
        expect![[r#"
            #cloud-config
            hostname: alice
            manage_etc_hosts: true
            ssh_pwauth: false
            disable_root: true
            ssh_deletekeys: true
            ssh_keys:
              ed25519_private: |
                -----BEGIN
                private
                -----END
              ed25519_public: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKmjWCJ3ZnV2ZzVqZ3F3ZXJ0eXVpb3Bhc2RmZ2hqhost alice
            ssh_authorized_keys:
            - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKmjWCJ3ZnV2ZzVqZ3F3ZXJ0eXVpb3Bhc2RmZ2hqmana optivex manager
            write_files:
            - path: /etc/systemd/system/optivex-end.service
              permissions: '0644'
              content: |
                # Written by cargo xtask provision, which replaces it.
                [Unit]
                Description=Ends this machine: its program is over

                [Service]
                Type=oneshot
                ExecStart=/usr/bin/systemctl poweroff
            - path: /etc/systemd/system/optivex-end.timer
              permissions: '0644'
              content: |
                # Written by cargo xtask provision, which replaces it (extend moves the date).
                [Unit]
                Description=The end of this machine's program

                [Timer]
                OnCalendar=2027-03-12 18:00:00 UTC
                Persistent=true

                [Install]
                WantedBy=timers.target
            runcmd:
            - - systemctl
              - daemon-reload
            - - systemctl
              - enable
              - --now
              - optivex-end.timer
        "#]]
        .assert_eq(data(Some(moment)).expose());
        // EC2 takes 16 KiB.
        assert!(data(Some(moment)).expose().len() < 8 << 10);
        assert!(!data(None).expose().contains("systemctl"));
    }
}
