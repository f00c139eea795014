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

/// The API server reports every other format of a number as unrecognized.
#[test]
fn no_integer_has_a_format_that_kubernetes_does_not_know() {
    for (file, definition) in spillway_crds::definitions() {
        let yaml = serde_yaml::to_string(&definition).unwrap();
        let formats = yaml.lines().filter_map(|line| line.trim().strip_prefix("format: "));
        let unknown: Vec<&str> = formats
            .filter(|format| !["int32", "int64", "date-time"].contains(format))
            .collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?}");
    }
}
