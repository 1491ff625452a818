//! Names the rules by what they are: a hash over the sources of this crate.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::Hasher;
use std::io::Result;
use std::path::Path;

fn main() -> Result<()> {
    let mut hash = DefaultHasher::new();
    add(Path::new("src"), &mut hash)?;
    println!("cargo::rustc-env=TRADEPOST_RULES={:016x}", hash.finish());
    println!("cargo::rerun-if-changed=src");
    Ok(())
}

/// The sources of a folder, in the order of their names, without those that only test.
fn add(folder: &Path, hash: &mut DefaultHasher) -> Result<()> {
    let mut entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    entries.sort();
    for entry in entries {
        let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if entry.is_dir() {
            add(&entry, hash)?;
        } else if !["tests.rs", "laws.rs", "oracle.rs", "fuzz.rs"].contains(&name.as_str()) {
            hash.write(name.as_bytes());
            hash.write(&fs::read(&entry)?);
        }
    }
    Ok(())
}
