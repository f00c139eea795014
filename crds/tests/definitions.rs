//! The YAML beside the crate is what the types say.

use std::path::Path;

#[test]
fn the_committed_yaml_is_up_to_date() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (file, definition) in spillway_crds::definitions() {
        let committed = std::fs::read_to_string(folder.join(file)).unwrap_or_default();
        let generated = serde_yaml::to_string(&definition).unwrap();
        assert!(committed == generated, "{file} has drifted: run `make crds`");
    }
}
