//! `optivex.yaml`: how a submission is built, what of it is handed over, and how it is started.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use optivex_bundle::archive::Source;
use optivex_bundle::limits::LIMITS;
use optivex_bundle::manifest::BundlePath;
use optivex_exit::{Exit, Failure};
use serde::Deserialize;

/// Name of the file, at the top of the repository.
pub const FILE: &str = "optivex.yaml";

/// The settings. All of them have defaults, which are those of the template.
///
/// In words, `{target}` stands for cargo's target directory, `{profile}` for `release` or `debug`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The command that builds it, run at the top of the repository. Empty: nothing is built.
    pub build: Vec<String>,
    /// What is handed over: files, or folders with all that is in them. A plain path keeps its place; `from: to` gives
    /// it another one.
    pub artefacts: Vec<Artefact>,
    /// The command that starts it, in the folder that the artefacts are unpacked into.
    pub start: Vec<String>,
    /// The command that runs the system tests here. Their options take the place of the word `{options}`, or its end.
    pub test: Vec<String>,
}

/// A file or a folder to hand over.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Artefact {
    /// Where it is and will be.
    Same(String),
    /// Where it is: where it will be.
    Moved(BTreeMap<String, String>),
}

impl Default for Settings {
    fn default() -> Self {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect();
        let program = ("{target}/{profile}/exchange".to_owned(), "exchange".to_owned());
        Self {
            build: words("cargo build --locked --release --bin exchange"),
            artefacts: vec![Artefact::Moved([program].into())],
            start: words("./exchange"),
            test: words("cargo xtask test --"),
        }
    }
}

/// What `{…}` stands for.
pub struct Places {
    /// `{target}`
    pub target: PathBuf,
    /// Whether it is built for debugging.
    pub debug: bool,
}

impl Settings {
    /// Reads them; without the file, the defaults.
    pub fn read(root: &Path) -> Result<Self> {
        match fs::read_to_string(root.join(FILE)) {
            Ok(text) => Self::parse(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).context(FILE),
        }
    }

    fn parse(text: &str) -> Result<Self> {
        let usage = |why: String| Failure::new(Exit::Usage, format!("{FILE}: {why}"));
        let settings: Self = serde_yaml::from_str(text).map_err(|error| usage(error.to_string()))?;
        if settings.start.is_empty() || settings.artefacts.is_empty() {
            return Err(usage("start and artefacts must name something".to_owned()).into());
        }
        Ok(settings)
    }

    /// The build command, or none.
    pub fn build_command(&self, places: &Places) -> Vec<String> {
        let words = self.build.iter();
        let words = words.filter(|word| !(places.debug && word.as_str() == "--release"));
        words.map(|word| places.fill(word)).collect()
    }

    /// The files that are handed over.
    pub fn sources(&self, root: &Path, places: &Places) -> Result<Vec<Source>> {
        let mut sources = Vec::new();
        for artefact in &self.artefacts {
            let pairs: Vec<(&str, &str)> = match artefact {
                Artefact::Same(path) => vec![(path, path)],
                Artefact::Moved(pairs) => pairs.iter().map(|(from, to)| (&**from, &**to)).collect(),
            };
            for (from, to) in pairs {
                let from = root.join(places.fill(from));
                collect(&from, to.trim_end_matches('/'), &mut sources)?;
            }
        }
        Ok(sources)
    }
}

impl Places {
    fn fill(&self, word: &str) -> String {
        word.replace("{target}", &self.target.to_string_lossy())
            .replace("{profile}", if self.debug { "debug" } else { "release" })
    }
}

fn collect(from: &Path, to: &str, sources: &mut Vec<Source>) -> Result<()> {
    let place = || from.display().to_string();
    let metadata = match fs::symlink_metadata(from) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Failure::new(
                Exit::BuildFailed,
                format!(
                    "{} was to be built, and is not there: see build and artefacts in {FILE}",
                    place()
                ),
            )
            .into());
        }
        Err(error) => return Err(error).with_context(place),
    };
    if metadata.is_dir() {
        for entry in fs::read_dir(from).with_context(place)? {
            let entry = entry.with_context(place)?;
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
                bail!("{} is not UTF-8: it cannot be handed over", entry.path().display());
            };
            collect(&entry.path(), &format!("{to}/{name}"), sources)?;
        }
        return Ok(());
    }
    if !metadata.is_file() {
        bail!(
            "{} is neither a file nor a folder (a link, say): it cannot be handed over",
            place()
        );
    }
    if sources.len() as u64 >= LIMITS.files {
        bail!("more than {} files: artefacts in {FILE} name too much", LIMITS.files);
    }
    let path: BundlePath = to
        .parse()
        .map_err(|why| Failure::new(Exit::Usage, format!("{to:?} cannot be a place in the bundle: {why}")))?;
    sources.push(Source {
        path,
        file: from.to_owned(),
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(debug: bool) -> Places {
        Places {
            target: "/t".into(),
            debug,
        }
    }

    #[test]
    fn defaults_are_the_templates() {
        let settings = Settings::default();
        assert_eq!(
            settings.build_command(&places(false)).join(" "),
            "cargo build --locked --release --bin exchange"
        );
        assert_eq!(
            settings.build_command(&places(true)).join(" "),
            "cargo build --locked --bin exchange"
        );
        let home = tempfile::tempdir().expect("a folder");
        assert_eq!(Settings::read(home.path()).expect("none"), settings);
    }

    #[test]
    fn what_is_handed_over() {
        let home = tempfile::tempdir().expect("a folder");
        for file in ["app/main.py", "app/lib/book.py", "conf.yaml"] {
            let path = home.path().join(file);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(path, "x").expect("written");
        }
        let settings = Settings::parse("build: []\nartefacts: [conf.yaml, app/: src]\nstart: [python3, src/main.py]")
            .expect("right");
        assert!(settings.build_command(&places(false)).is_empty());
        let mut sources = settings.sources(home.path(), &places(false)).expect("there");
        sources.sort();
        let paths: Vec<&str> = sources.iter().map(|source| source.path.as_str()).collect();
        assert_eq!(paths, ["conf.yaml", "src/lib/book.py", "src/main.py"]);
    }

    #[test]
    fn what_makes_no_sense() {
        let home = tempfile::tempdir().expect("a folder");
        std::os::unix::fs::symlink("/etc/passwd", home.path().join("link")).expect("linked");
        fs::write(home.path().join("file"), "x").expect("written");
        for (text, told) in [
            ("artefacts: {}", "optivex.yaml"),
            ("starts: [x]", "unknown field"),
            ("start: []", "must name something"),
            ("artefacts: [missing]", "was to be built"),
            ("artefacts: [link]", "neither a file nor a folder"),
            ("artefacts: [file: ../file]", "cannot be a place"),
            ("artefacts: [file: manifest.json]", "cannot be a place"),
        ] {
            let error = Settings::parse(text).and_then(|settings| settings.sources(home.path(), &places(false)));
            let error = format!("{:#}", error.expect_err(text));
            assert!(error.contains(told), "{text}: {error}");
        }
    }
}
