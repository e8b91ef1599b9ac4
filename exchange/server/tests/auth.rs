//! Users, sessions and throttling, by an injected clock; and the same through a socket.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use expect_test::expect;
use futures_util::FutureExt;
use optivex_engine::types::UserId;
use optivex_proto::v1::auth_service_client::AuthServiceClient;
use optivex_proto::v1::auth_service_server::AuthServiceServer;
use optivex_proto::v1::{ErrorReason, LoginRequest, LogoutRequest, Role};
use optivex_server::auth::{Auth, AuthSettings, Clock, Roles, SessionEnd, UsersFile, hash_password};
use optivex_server::error::Error;
use optivex_server::service::auth::AuthApi;
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Server};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

const IDLE: Duration = Duration::from_secs(60);

/// A clock that stands still until it is turned.
#[derive(Debug, Default)]
struct HandClock(AtomicU64);

impl HandClock {
    fn turn(&self, by: Duration) {
        self.0
            .fetch_add(u64::try_from(by.as_millis()).unwrap(), Ordering::Relaxed);
    }
}

impl Clock for HandClock {
    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }

    fn unix_ns(&self) -> i64 {
        1_000_000_000_000_000_000 + i64::try_from(self.elapsed().as_nanos()).unwrap()
    }
}

const USERS: &str = "
users:
  - {username: alice, password: wonderland, roles: [trader]}
  - {username: bob, password: builder, roles: [viewer, trader]}
  - {username: root, password: toor, roles: [admin]}
";

/// Names get ids as they come, for ever: as the engine does it.
fn id(name: &str) -> Option<UserId> {
    ["alice", "bob", "root", "carol"]
        .iter()
        .position(|known| *known == name)
        .map(|index| UserId(u32::try_from(index).unwrap()))
}

fn auth(yaml: &str) -> (Auth, Arc<HandClock>) {
    let clock = Arc::new(HandClock::default());
    let settings = AuthSettings {
        token_idle_timeout: IDLE,
        sessions_per_user_max: 3,
    };
    let auth = Auth::new(settings, Arc::clone(&clock) as Arc<dyn Clock>);
    auth.set_users(&UsersFile::parse(yaml).unwrap(), id).unwrap();
    (auth, clock)
}

async fn login(auth: &Auth, name: &str, password: &str) -> Result<MetadataMap, Error> {
    let peer = Some([192, 0, 2, 1].into());
    let login = auth.login(name, SecretString::from(password), peer).await?;
    let mut metadata = MetadataMap::new();
    let value = format!("Bearer {}", login.token.expose_secret());
    metadata.insert("authorization", value.parse().unwrap());
    Ok(metadata)
}

fn reason<T: std::fmt::Debug>(result: Result<T, Error>) -> ErrorReason {
    result.unwrap_err().reason
}

#[test]
fn users_files_that_are_refused() {
    let hash = hash_password("x").unwrap();
    let both = format!("users: [{{username: a, password: p, password_hash: '{hash}', roles: [viewer]}}]");
    let table = [
        "",
        "[]",
        "users: {}",
        "users: []",
        "user: []",
        "users: [alice:hunter2]",
        "users: [{username: a, password: p, roles: [viewer]}, {username: a, password: q, roles: [admin]}]",
        "users: [{username: a, password: p, roles: [viewer], email: x}]",
        "users: [{username: a, password: p, roles: [viewer]}]\nother: 1",
        "users: [{username: a, password: p, password: q, roles: [viewer]}]",
        "users: [{username: a, password: p, roles: []}]",
        "users: [{username: a, password: p, roles: viewer}]",
        "users: [{username: a, password: p, roles: [Viewer]}]",
        "users: [{username: a, password: p, roles: [1]}]",
        "users: [{username: a, password: p}]",
        "users: [{username: a, roles: [viewer]}]",
        &both,
        "users: [{username: a, password_hash: hunter2, roles: [viewer]}]",
        "users: [{username: a, password: 12345, roles: [viewer]}]",
        "users: [{username: a, password: '', roles: [viewer]}]",
        "users: [{username: 7, password: p, roles: [viewer]}]",
        "users: [{password: p, roles: [viewer]}]",
        "users: [{username: '', password: p, roles: [viewer]}]",
        "users: [{username: a b, password: p, roles: [viewer]}]",
        "users: [{username: Zoë, password: p, roles: [viewer]}]",
        "users: [{username: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa, password: p, roles: [viewer]}]",
        "users:\n  - username: a\n   password: hunter2",
        "users: \"hunter2",
    ];
    let mut told = String::new();
    for yaml in table {
        let error = UsersFile::parse(yaml).unwrap_err().to_string();
        assert!(
            !error.contains("hunter2") && !error.contains("12345"),
            "shows a password: {error}"
        );
        told += &format!("{}\n    {error}\n", yaml.replace(&hash, "HASH").replace('\n', "\\n"));
    }
    expect![[r#"

            the users file is wrong: the file: must have the fields users
        []
            the users file is wrong: the file: must have the fields users
        users: {}
            the users file is wrong: users: must be a list
        users: []
            the users file is wrong: users: the list is empty
        user: []
            the users file is wrong: the file: unknown field "user": known are users
        users: [alice:hunter2]
            the users file is wrong: users[0]: must have the fields username, password, password_hash, roles
        users: [{username: a, password: p, roles: [viewer]}, {username: a, password: q, roles: [admin]}]
            the users file is wrong: users[1] (a): username: users[0] has the same name
        users: [{username: a, password: p, roles: [viewer], email: x}]
            the users file is wrong: users[0] (a): unknown field "email": known are username, password, password_hash, roles
        users: [{username: a, password: p, roles: [viewer]}]\nother: 1
            the users file is wrong: the file: unknown field "other": known are users
        users: [{username: a, password: p, password: q, roles: [viewer]}]
            the users file is not YAML: a field stands there twice at line 1 column 9
        users: [{username: a, password: p, roles: []}]
            the users file is wrong: users[0] (a): roles: the list is empty
        users: [{username: a, password: p, roles: viewer}]
            the users file is wrong: users[0] (a): roles: must be a list
        users: [{username: a, password: p, roles: [Viewer]}]
            the users file is wrong: users[0] (a): roles: each is one of viewer, trader, admin
        users: [{username: a, password: p, roles: [1]}]
            the users file is wrong: users[0] (a): roles: each is one of viewer, trader, admin
        users: [{username: a, password: p}]
            the users file is wrong: users[0] (a): roles: is missing
        users: [{username: a, roles: [viewer]}]
            the users file is wrong: users[0] (a): has neither password nor password_hash
        users: [{username: a, password: p, password_hash: 'HASH', roles: [viewer]}]
            the users file is wrong: users[0] (a): has both password and password_hash: one is enough
        users: [{username: a, password_hash: hunter2, roles: [viewer]}]
            the users file is wrong: users[0] (a): password_hash: not a password hash in the PHC string format ($argon2id$v=19$m=…,t=…,p=…$salt$hash)
        users: [{username: a, password: 12345, roles: [viewer]}]
            the users file is wrong: users[0] (a): password: must be a string; put it in quotes
        users: [{username: a, password: '', roles: [viewer]}]
            the users file is wrong: users[0] (a): password: a password has 1 to 1024 bytes
        users: [{username: 7, password: p, roles: [viewer]}]
            the users file is wrong: users[0]: username: must be a string; put it in quotes
        users: [{password: p, roles: [viewer]}]
            the users file is wrong: users[0]: username: is missing
        users: [{username: '', password: p, roles: [viewer]}]
            the users file is wrong: users[0]: username: 1 to 64 characters of A-Z, a-z, 0-9, '.', '_', '@' and '-'
        users: [{username: a b, password: p, roles: [viewer]}]
            the users file is wrong: users[0]: username: 1 to 64 characters of A-Z, a-z, 0-9, '.', '_', '@' and '-'
        users: [{username: Zoë, password: p, roles: [viewer]}]
            the users file is wrong: users[0]: username: 1 to 64 characters of A-Z, a-z, 0-9, '.', '_', '@' and '-'
        users: [{username: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa, password: p, roles: [viewer]}]
            the users file is wrong: users[0]: username: 1 to 64 characters of A-Z, a-z, 0-9, '.', '_', '@' and '-'
        users:\n  - username: a\n   password: hunter2
            the users file is not YAML: did not find expected '-' indicator at line 3 column 4, while parsing a block collection at line 2 column 3
        users: "hunter2
            the users file is not YAML: found unexpected end of stream at line 1 column 16, while scanning a quoted scalar at line 1 column 8
    "#]].assert_eq(&told);
}

#[test]
fn users_files_that_are_read() {
    let hash = hash_password("x").unwrap();
    let yaml = format!(
        "users:\n- username: a.b_c@d-1\n  password_hash: {hash}\n  roles: [viewer, admin, viewer]\n\
         - {{\"username\": \"json\", \"password\": \"p\", \"roles\": [\"trader\"]}}\n"
    );
    let file = UsersFile::parse(&yaml).unwrap();
    assert_eq!(file.users()[0].roles, Roles::of(&[Role::Viewer, Role::Admin]));
    assert_eq!(file.users()[1].roles, Roles::of(&[Role::Trader]));
    let shown = format!("{file:?}");
    assert!(!shown.contains(&hash), "{shown}");
}

#[tokio::test]
async fn roles_are_those_listed_and_none_implies_another() {
    let (auth, _) = auth(USERS);
    for (name, password, roles) in [
        ("alice", "wonderland", &[Role::Trader][..]),
        ("bob", "builder", &[Role::Viewer, Role::Trader]),
        ("root", "toor", &[Role::Admin]),
    ] {
        let token = login(&auth, name, password).await.unwrap();
        assert_eq!(auth.authorize(&token, None).unwrap().user, id(name).unwrap());
        for role in Roles::ALL {
            let answer = auth.authorize(&token, Some(role));
            if roles.contains(&role) {
                assert_eq!(&*answer.unwrap().username, name);
            } else {
                let error = answer.unwrap_err();
                assert_eq!(error.reason, ErrorReason::MissingRole);
                assert_eq!(error.metadata["role"], role.as_str_name());
            }
        }
    }
}

#[tokio::test]
async fn tokens_that_do_not_work() {
    let (auth, _) = auth(USERS);
    let token = |value: &str| {
        let mut metadata = MetadataMap::new();
        metadata.insert("authorization", value.parse().unwrap());
        metadata
    };
    let unknown = token(&format!("Bearer {}", "A".repeat(43)));
    for metadata in [
        MetadataMap::new(),
        token("Bearer"),
        token("Bearer x"),
        token("Basic YTpi"),
        unknown,
    ] {
        // The token comes before the role.
        assert_eq!(
            reason(auth.authorize(&metadata, Some(Role::Admin))),
            ErrorReason::InvalidToken
        );
    }
}

#[tokio::test]
async fn a_token_expires_when_it_is_idle_and_not_while_a_stream_holds_it() {
    let (auth, clock) = auth(USERS);
    let token = login(&auth, "alice", "wonderland").await.unwrap();
    for _ in 0..3 {
        clock.turn(IDLE - Duration::from_millis(1));
        auth.authorize(&token, None).unwrap();
    }
    let stream = auth.authorize(&token, None).unwrap();
    let second = stream.clone();
    clock.turn(IDLE * 10);
    auth.sweep();
    auth.authorize(&token, None).unwrap();
    drop(stream);
    clock.turn(IDLE * 10);
    auth.authorize(&token, None).unwrap();
    drop(second);
    clock.turn(IDLE - Duration::from_millis(1));
    auth.sweep();
    assert_eq!(auth.sessions(), 1);
    clock.turn(Duration::from_millis(1));
    assert_eq!(reason(auth.authorize(&token, None)), ErrorReason::InvalidToken);
    assert_eq!(auth.sessions(), 0);
}

#[tokio::test]
async fn expired_sessions_are_forgotten() {
    let (auth, clock) = auth(USERS);
    login(&auth, "alice", "wonderland").await.unwrap();
    clock.turn(IDLE);
    auth.sweep();
    assert_eq!(auth.sessions(), 0);
}

#[tokio::test]
async fn a_logout_ends_its_own_session_only() {
    let (auth, _) = auth(USERS);
    let first = login(&auth, "alice", "wonderland").await.unwrap();
    let second = login(&auth, "alice", "wonderland").await.unwrap();
    let stream = auth.authorize(&first, None).unwrap();
    let other = auth.authorize(&second, None).unwrap();
    assert_eq!(stream.ended().now_or_never(), None);
    auth.logout(&auth.authorize(&first, None).unwrap());
    assert_eq!(stream.ended().await, SessionEnd::Logout);
    assert_eq!(other.ended().now_or_never(), None);
    assert_eq!(reason(auth.authorize(&first, None)), ErrorReason::InvalidToken);
    auth.authorize(&second, None).unwrap();
}

#[tokio::test]
async fn one_user_has_so_many_sessions_and_the_idlest_goes() {
    let (auth, clock) = auth(USERS);
    let mut tokens = Vec::new();
    for _ in 0..3 {
        tokens.push(login(&auth, "alice", "wonderland").await.unwrap());
        clock.turn(Duration::from_secs(1));
    }
    let held = auth.authorize(&tokens[0], None).unwrap();
    tokens.push(login(&auth, "alice", "wonderland").await.unwrap());
    let works: Vec<_> = tokens.iter().map(|token| auth.authorize(token, None).is_ok()).collect();
    assert_eq!(works, [true, false, true, true]);
    let all_held: Vec<_> = tokens
        .iter()
        .filter_map(|token| auth.authorize(token, None).ok())
        .collect();
    let error = login(&auth, "alice", "wonderland").await.unwrap_err();
    assert_eq!(error.reason, ErrorReason::Capacity);
    assert_eq!(error.metadata["limit_name"], "sessions_per_user");
    assert_eq!(error.metadata["limit"], "3");
    login(&auth, "bob", "builder").await.unwrap();
    drop((held, all_held));
    login(&auth, "alice", "wonderland").await.unwrap();
}

#[tokio::test]
async fn a_new_users_file_revokes_what_it_takes_away() {
    // What carol's entry becomes, and whether her session lives.
    for (before, after, lives) in [
        (
            "password: p, roles: [trader]",
            Some("password: p, roles: [trader]"),
            true,
        ),
        (
            "password: p, roles: [trader]",
            Some("password: p, roles: [trader, viewer]"),
            true,
        ),
        (
            "password: p, roles: [trader, viewer]",
            Some("password: p, roles: [trader]"),
            false,
        ),
        (
            "password: p, roles: [trader]",
            Some("password: p, roles: [admin]"),
            false,
        ),
        (
            "password: p, roles: [trader]",
            Some("password: q, roles: [trader]"),
            false,
        ),
        ("password: p, roles: [trader]", None, false),
    ] {
        let file = |carol: Option<&str>| {
            let carol = carol.map(|fields| format!("  - {{username: carol, {fields}}}\n"));
            UsersFile::parse(&format!("{USERS}{}", carol.unwrap_or_default())).unwrap()
        };
        let (auth, _) = auth(USERS);
        let change = auth.set_users(&file(Some(before)), id).unwrap();
        assert_eq!(change.added, ["carol"]);
        let alice = login(&auth, "alice", "wonderland").await.unwrap();
        let carol = login(&auth, "carol", "p").await.unwrap();
        let stream = auth.authorize(&carol, None).unwrap();
        let change = auth.set_users(&file(after), id).unwrap();
        assert_eq!(change.sessions_revoked, usize::from(!lives), "{before} -> {after:?}");
        assert_eq!(change.removed.len(), usize::from(after.is_none()));
        assert_eq!(auth.authorize(&carol, None).is_ok(), lives, "{before} -> {after:?}");
        assert_eq!(stream.ended().now_or_never(), (!lives).then_some(SessionEnd::Revoked));
        auth.authorize(&alice, None).unwrap();
        if after.is_some_and(|after| after.contains("viewer")) {
            auth.authorize(&carol, Some(Role::Viewer)).unwrap();
        }
        if after.is_none() {
            assert_eq!(
                reason(login(&auth, "carol", "p").await),
                ErrorReason::InvalidCredentials
            );
        }
    }
}

#[tokio::test]
async fn a_user_that_the_exchange_does_not_know_changes_nothing() {
    let (auth, _) = auth(USERS);
    let token = login(&auth, "alice", "wonderland").await.unwrap();
    let strangers = UsersFile::parse("users: [{username: mallory, password: p, roles: [admin]}]").unwrap();
    assert!(auth.set_users(&strangers, id).is_err());
    auth.authorize(&token, None).unwrap();
}

#[tokio::test]
async fn guesses_are_throttled_and_successes_are_not() {
    for yaml in [USERS.to_owned(), with_a_hash()] {
        let (auth, clock) = auth(&yaml);
        for _ in 0..30 {
            login(&auth, "bob", "builder").await.unwrap();
        }
        let mut refused = 0;
        let error = loop {
            let error = login(&auth, "alice", "guess").await.unwrap_err();
            if error.reason != ErrorReason::InvalidCredentials {
                break error;
            }
            refused += 1;
            assert!(refused < 100, "never throttled");
        };
        assert_eq!(error.reason, ErrorReason::Throttled);
        // Also with the right password, or guessing could go on.
        let error = login(&auth, "alice", "wonderland").await.unwrap_err();
        assert_eq!(error.reason, ErrorReason::Throttled);
        login(&auth, "bob", "builder").await.unwrap();
        clock.turn(error.retry_after.unwrap());
        login(&auth, "alice", "wonderland").await.unwrap();
    }
}

fn with_a_hash() -> String {
    USERS.replace(
        "password: wonderland",
        &format!("password_hash: '{}'", hash_password("wonderland").unwrap()),
    )
}

#[tokio::test]
async fn wrong_name_and_wrong_password_answer_alike() {
    for yaml in [USERS.to_owned(), with_a_hash()] {
        let (auth, _) = auth(&yaml);
        let mut answers = Vec::new();
        for (name, password) in [("alice", "x"), ("bob", "x"), ("nobody", "x"), ("a b\n", "x")] {
            answers.push(login(&auth, name, password).await.unwrap_err());
        }
        assert!(
            answers
                .iter()
                .all(|error| error.reason == ErrorReason::InvalidCredentials)
        );
        answers.dedup();
        assert_eq!(answers.len(), 1);
        for name in ["alice", "bob"] {
            let password = if name == "alice" { "wonderland" } else { "builder" };
            login(&auth, name, password).await.unwrap();
        }
    }
}

#[tokio::test]
async fn the_form_of_a_login() {
    let (auth, _) = auth(USERS);
    for (name, password, field) in [
        ("", "x", "username"),
        (&*"n".repeat(65), "x", "username"),
        ("alice", "", "password"),
        ("alice", &*"p".repeat(1025), "password"),
    ] {
        let error = login(&auth, name, password).await.unwrap_err();
        assert_eq!(
            (error.reason, &*error.metadata["field"]),
            (ErrorReason::InvalidField, field)
        );
    }
}

async fn served(yaml: &str) -> (AuthServiceClient<Channel>, Arc<HandClock>) {
    let (auth, clock) = auth(yaml);
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let service = AuthServiceServer::new(AuthApi::new(auth));
    tokio::spawn(
        Server::builder()
            .add_service(service)
            .serve_with_incoming(TcpListenerStream::new(listener)),
    );
    let channel = Channel::from_shared(url).unwrap().connect().await.unwrap();
    (AuthServiceClient::new(channel), clock)
}

fn told(status: &Status) -> (Code, String, String) {
    let info = status.get_details_error_info().unwrap();
    let trailer = status.metadata().get("optivex-reason").unwrap().to_str().unwrap();
    assert_eq!(info.domain, "optivex");
    (status.code(), info.reason, trailer.to_owned())
}

fn request(name: &str, password: &str) -> LoginRequest {
    LoginRequest {
        username: name.to_owned(),
        password: password.to_owned(),
    }
}

#[tokio::test]
async fn through_a_socket() {
    let (mut client, clock) = served(USERS).await;
    let login = client.login(request("bob", "builder")).await.unwrap().into_inner();
    assert_eq!(login.roles, [Role::Viewer as i32, Role::Trader as i32]);
    assert_eq!(
        login.expires_unix_ns,
        clock.unix_ns() + i64::try_from(IDLE.as_nanos()).unwrap()
    );
    let logout = |token: &str| {
        let mut request = Request::new(LogoutRequest {});
        let value = format!("Bearer {token}");
        request.metadata_mut().insert("authorization", value.parse().unwrap());
        request
    };
    client.logout(logout(&login.token)).await.unwrap();
    let status = client.logout(logout(&login.token)).await.unwrap_err();
    let invalid_token = (
        Code::Unauthenticated,
        "INVALID_TOKEN".to_owned(),
        "INVALID_TOKEN".to_owned(),
    );
    assert_eq!(told(&status), invalid_token);

    let login = client.login(request("bob", "builder")).await.unwrap().into_inner();
    clock.turn(IDLE);
    assert_eq!(
        told(&client.logout(logout(&login.token)).await.unwrap_err()),
        invalid_token
    );

    let status = client.login(request("bob", "x")).await.unwrap_err();
    let code = Code::Unauthenticated;
    let reason = "INVALID_CREDENTIALS".to_owned();
    assert_eq!(told(&status), (code, reason.clone(), reason));
    let status = loop {
        let status = client.login(request("eve", "x")).await.unwrap_err();
        if status.code() != code {
            break status;
        }
    };
    let reason = "THROTTLED".to_owned();
    assert_eq!(told(&status), (Code::ResourceExhausted, reason.clone(), reason));
    let retry = status.get_details_retry_info().unwrap().retry_delay.unwrap();
    assert!(!retry.is_zero());
}
