//! The contract of a folder: deploy and UAT read it the same way, so that they can mean the same one.

use std::fs;
use std::io;
use std::path::Path;

use crate::digest::Digest;
use crate::manifest::contract_digest;

/// [`contract_digest`] over all `.proto` files below a folder, by their path in it; none if there are none. Links to
/// folders are not followed. Errors name the file.
pub fn contract_of(proto: &Path) -> io::Result<Option<Digest>> {
    let mut files = Vec::new();
    match fs::metadata(proto) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        _ => collect(proto, "", &mut files)?,
    }
    let files_by_path = files.iter().map(|(path, text)| (path.as_str(), text.as_slice()));
    Ok((!files.is_empty()).then(|| contract_digest(files_by_path)))
}

fn collect(folder: &Path, below: &str, files: &mut Vec<(String, Vec<u8>)>) -> io::Result<()> {
    let named = |path: &Path, error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    for entry in fs::read_dir(folder).map_err(|error| named(folder, error))? {
        let entry = entry?;
        let path = entry.path();
        let name = format!("{below}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            collect(&path, &format!("{name}/"), files)?;
        } else if path.extension().is_some_and(|end| end == "proto") {
            let text = fs::read(&path).map_err(|error| named(&path, error))?;
            files.push((name, text));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_below_the_folder_wherever_it_lies() {
        let home = tempfile::tempdir().expect("a folder");
        let digest = |at: &str| {
            let proto = home.path().join(at);
            fs::create_dir_all(proto.join("optivex/v1")).expect("folders");
            fs::write(proto.join("optivex/v1/b.proto"), "two").expect("written");
            fs::write(proto.join("a.proto"), "one").expect("written");
            fs::write(proto.join("README.md"), at).expect("written");
            contract_of(&proto).expect("read")
        };
        let expected = contract_digest([
            ("a.proto", b"one".as_slice()),
            ("optivex/v1/b.proto", b"two".as_slice()),
        ]);
        assert_eq!(digest("proto"), Some(expected));
        assert_eq!(digest("else/where"), Some(expected));
        assert_eq!(contract_of(&home.path().join("nowhere")).expect("read"), None);
    }
}
