//! Writes the CustomResourceDefinitions as YAML into the folder given as the only argument.

use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os()
        .nth(1)
        .map(PathBuf::from)
        .ok_or("usage: generate FOLDER")?;
    for (file, definition) in spillway_crds::definitions() {
        std::fs::write(folder.join(file), serde_yaml::to_string(&definition)?)?;
    }
    Ok(())
}
