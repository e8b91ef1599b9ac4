//! The users file: who may log in, and as what.
//!
//! Read by hand instead of by serde, so that an error names its place and never shows a password.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use optivex_engine::types::{USERNAME_BYTES_MAX, Username};
use optivex_proto::v1::Role;
use serde_yaml::{Mapping, Value};

use super::password::Credential;

/// Largest users file.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Most users of a file; the engine's own bound is the same by default.
const USERS_MAX: usize = 100_000;

/// A set of roles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Roles(u8);

impl Roles {
    /// All roles that there are, least first.
    pub const ALL: [Role; 3] = [Role::Viewer, Role::Trader, Role::Admin];

    /// A set.
    pub fn of(roles: &[Role]) -> Self {
        Self(roles.iter().fold(0, |bits, role| bits | Self::bit(*role)))
    }

    /// Whether the role is among them. No role implies another one.
    pub fn contains(self, role: Role) -> bool {
        self.0 & Self::bit(role) != 0
    }

    /// Whether all of the others are among these.
    pub fn contains_all(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// The roles, least first.
    pub fn iter(self) -> impl Iterator<Item = Role> {
        Self::ALL.into_iter().filter(move |role| self.contains(*role))
    }

    pub(super) fn bits(self) -> u8 {
        self.0
    }

    pub(super) fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    fn bit(role: Role) -> u8 {
        match role {
            Role::Unspecified => 0,
            Role::Viewer => 1,
            Role::Trader => 2,
            Role::Admin => 4,
        }
    }
}

/// One user of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserEntry {
    /// Name.
    pub username: Username,
    /// What its password is compared with.
    pub credential: Credential,
    /// What it may do; not empty.
    pub roles: Roles,
}

/// A users file that was read and checked: names are unique.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsersFile {
    users: Vec<UserEntry>,
}

impl UsersFile {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, UsersFileError> {
        let at_path = |what| UsersFileError::Unreadable {
            path: path.display().to_string(),
            what,
        };
        let size = std::fs::metadata(path).map_err(&at_path)?.len();
        if size > FILE_BYTES_MAX {
            return Err(UsersFileError::invalid("", "the file is larger than 64 MiB"));
        }
        Self::parse(&std::fs::read_to_string(path).map_err(at_path)?)
    }

    /// Reads the text of a file.
    pub fn parse(yaml: &str) -> Result<Self, UsersFileError> {
        let file: Value = serde_yaml::from_str(yaml).map_err(|error| UsersFileError::Yaml(yaml_error(&error)))?;
        let file = Fields::of(&file, "the file", &["users"])?;
        let entries = list(file.required("users")?, "users")?;
        if entries.len() > USERS_MAX {
            return Err(UsersFileError::invalid("users", "more than 100,000"));
        }
        let mut places: HashMap<Username, usize> = HashMap::new();
        let mut users = Vec::with_capacity(entries.len());
        for (index, entry) in entries.iter().enumerate() {
            let user = parse_user(entry, index)?;
            if let Some(first) = places.insert(user.username, index) {
                return Err(UsersFileError::invalid(
                    &place(index, Some(&user.username)),
                    &format!("username: users[{first}] has the same name"),
                ));
            }
            users.push(user);
        }
        Ok(Self { users })
    }

    /// From entries that a program made: the demo.
    pub fn new(users: Vec<UserEntry>) -> Self {
        Self { users }
    }

    /// The users, in the order of the file.
    pub fn users(&self) -> &[UserEntry] {
        &self.users
    }

    /// The users' names, in the order of the file.
    pub fn usernames(&self) -> impl Iterator<Item = Username> {
        self.users.iter().map(|user| user.username)
    }

    /// Some of the users.
    #[must_use]
    pub fn only(&self, wanted: impl Fn(&str) -> bool) -> Self {
        let users = self.users.iter().filter(|user| wanted(&user.username));
        Self {
            users: users.cloned().collect(),
        }
    }

    pub(super) fn decoy(&self) -> Option<Result<Arc<Credential>, getrandom::Error>> {
        self.users
            .iter()
            .find_map(|user| user.credential.decoy())
            .map(|decoy| decoy.map(Arc::new))
    }
}

/// A users file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UsersFileError {
    /// The file cannot be read.
    #[error("cannot read the users file {path}: {what}")]
    Unreadable {
        /// Which.
        path: String,
        /// Why.
        what: std::io::Error,
    },
    /// It is no YAML.
    #[error("the users file is not YAML: {0}")]
    Yaml(String),
    /// It is YAML of another shape.
    #[error("the users file is wrong: {place}{what}")]
    Invalid {
        /// Which entry and field, and a colon; empty for the whole.
        place: String,
        /// What is wrong there.
        what: String,
    },
}

impl UsersFileError {
    fn invalid(place: &str, what: &str) -> Self {
        Self::Invalid {
            place: if place.is_empty() {
                String::new()
            } else {
                format!("{place}: ")
            },
            what: what.to_owned(),
        }
    }
}

/// Where the parser stopped, and why if that cannot quote the file.
fn yaml_error(error: &serde_yaml::Error) -> String {
    let text = error.to_string();
    let why = if text.contains("duplicate entry") {
        "a field stands there twice".to_owned()
    } else if error.location().is_some() && !text.contains('"') && !text.contains('`') {
        return text;
    } else {
        "syntax error".to_owned()
    };
    match error.location() {
        Some(at) => format!("{why} at line {} column {}", at.line(), at.column()),
        None => why,
    }
}

fn place(index: usize, username: Option<&str>) -> String {
    match username {
        Some(name) => format!("users[{index}] ({name})"),
        None => format!("users[{index}]"),
    }
}

fn parse_user(entry: &Value, index: usize) -> Result<UserEntry, UsersFileError> {
    let nameless = place(index, None);
    // The name first, so that what is wrong with the rest can say whose it is.
    let username = match entry.as_mapping().and_then(|fields| fields.get("username")) {
        Some(Value::String(name)) => Some(username(name).map_err(|why| UsersFileError::invalid(&nameless, why))?),
        _ => None,
    };
    let place = place(index, username.as_deref());
    let fields = Fields::of(entry, &place, &["username", "password", "password_hash", "roles"])?;
    let Some(username) = username else {
        fields.required("username")?;
        return Err(fields.invalid("username: must be a string; put it in quotes"));
    };
    let credential = match (fields.optional("password"), fields.optional("password_hash")) {
        (Some(password), None) => Credential::plain(fields.string("password", password)?)
            .map_err(|why| fields.invalid(&format!("password: {why}")))?,
        (None, Some(hash)) => Credential::hashed(fields.string("password_hash", hash)?)
            .map_err(|why| fields.invalid(&format!("password_hash: {why}")))?,
        (Some(_), Some(_)) => return Err(fields.invalid("has both password and password_hash: one is enough")),
        (None, None) => return Err(fields.invalid("has neither password nor password_hash")),
    };
    let mut roles = Vec::new();
    for role in list(fields.required("roles")?, &format!("{place}: roles"))? {
        roles.push(match role.as_str() {
            Some("viewer") => Role::Viewer,
            Some("trader") => Role::Trader,
            Some("admin") => Role::Admin,
            _ => return Err(fields.invalid("roles: each is one of viewer, trader, admin")),
        });
    }
    Ok(UserEntry {
        username,
        credential,
        roles: Roles::of(&roles),
    })
}

/// A user name: what a person can type, and what a log line can carry.
fn username(name: &str) -> Result<Username, &'static str> {
    const RULE: &str = "username: 1 to 64 characters of A-Z, a-z, 0-9, '.', '_', '@' and '-'";
    let fits = (1..=USERNAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._@-".contains(&b));
    if !fits {
        return Err(RULE);
    }
    Username::from(name).map_err(|_| RULE)
}

fn list<'a>(value: &'a Value, place: &str) -> Result<&'a [Value], UsersFileError> {
    match value {
        Value::Sequence(list) if list.is_empty() => Err(UsersFileError::invalid(place, "the list is empty")),
        Value::Sequence(list) => Ok(list),
        _ => Err(UsersFileError::invalid(place, "must be a list")),
    }
}

/// A mapping with known fields only.
struct Fields<'a> {
    place: &'a str,
    fields: &'a Mapping,
}

impl<'a> Fields<'a> {
    fn of(value: &'a Value, place: &'a str, known: &[&str]) -> Result<Self, UsersFileError> {
        let Value::Mapping(fields) = value else {
            return Err(UsersFileError::invalid(
                place,
                &format!("must have the fields {}", known.join(", ")),
            ));
        };
        for key in fields.keys() {
            if !key.as_str().is_some_and(|key| known.contains(&key)) {
                let key = Unquoted(key);
                return Err(UsersFileError::invalid(
                    place,
                    &format!("unknown field {key}: known are {}", known.join(", ")),
                ));
            }
        }
        Ok(Self { place, fields })
    }

    fn optional(&self, name: &str) -> Option<&'a Value> {
        self.fields.get(name)
    }

    fn required(&self, name: &str) -> Result<&'a Value, UsersFileError> {
        self.optional(name)
            .ok_or_else(|| self.invalid(&format!("{name}: is missing")))
    }

    fn string(&self, name: &str, value: &'a Value) -> Result<&'a str, UsersFileError> {
        value
            .as_str()
            .ok_or_else(|| self.invalid(&format!("{name}: must be a string; put it in quotes")))
    }

    fn invalid(&self, what: &str) -> UsersFileError {
        UsersFileError::invalid(self.place, what)
    }
}

/// A key as it may be shown: short, one line.
struct Unquoted<'a>(&'a Value);

impl fmt::Display for Unquoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_str() {
            Some(key) if key.len() <= 32 => write!(f, "{key:?}"),
            _ => f.write_str("(not a short string)"),
        }
    }
}
