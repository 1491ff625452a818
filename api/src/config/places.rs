//! Which places there are besides those of the program.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Which places there are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Places {
    /// A file per country, in the form of the program's own.
    pub files: Files,
}

/// Files, with commas between.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Files(pub Vec<PathBuf>);

impl FromStr for Files {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = text.split(',').map(str::trim).filter(|_| !text.trim().is_empty());
        let file = |name: &str| match Path::new(name).file_name() {
            Some(_) => Ok(PathBuf::from(name)),
            None => Err(format!("`{name}` names no file")),
        };
        names.map(file).collect::<Result<_, _>>().map(Self)
    }
}

impl TryFrom<String> for Files {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.iter().map(|file| file.display().to_string()).collect();
        f.write_str(&names.join(","))
    }
}

impl From<Files> for String {
    fn from(files: Files) -> Self {
        files.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_with_commas_between() {
        let files = |text: &str| text.parse::<Files>().map(|files| files.to_string());
        assert_eq!(files(""), Ok(String::new()));
        assert_eq!(files(" no.toml , places/se.toml"), Ok("no.toml,places/se.toml".to_owned()));
        assert_eq!(files("no.toml,"), Err("`` names no file".to_owned()));
    }
}
