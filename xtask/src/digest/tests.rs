use super::*;
use crate::build_ebpf;

fn root() -> PathBuf {
    build_ebpf::root()
}

#[test]
fn object_is_not_older_than_its_sources() {
    let record = Record::read(&root()).unwrap();
    let now = sources(&root(), &build_ebpf::FLAGS).unwrap();
    assert_eq!(record.sources_sha256, now, "the eBPF object is older than its sources: run `cargo xtask build-ebpf`");
}

#[test]
fn object_is_the_recorded_one() {
    let record = Record::read(&root()).unwrap();
    let object = fs::read(object_path(&root())).unwrap();
    assert_eq!(record.object_sha256, of(&object));
    assert_eq!(record.layout_version, ha_agent_common::LAYOUT_VERSION);
}

#[test]
fn every_source_and_flag_counts_and_tests_do_not() {
    let dir = tempfile::tempdir().unwrap();
    for source in SOURCES {
        let path = dir.path().join(source);
        if source.ends_with("src") {
            fs::create_dir_all(path.join("sub")).unwrap();
            fs::write(path.join("sub/one.rs"), "1").unwrap();
        } else {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "1").unwrap();
        }
    }
    let digest = |flags: &[&str]| sources(dir.path(), flags).unwrap();
    let first = digest(&["a"]);
    assert_eq!(first, digest(&["a"]));
    assert_ne!(first, digest(&["b"]));
    fs::write(dir.path().join("ha-agent-common/src/tests.rs"), "x").unwrap();
    assert_eq!(first, digest(&["a"]));
    for source in SOURCES {
        let before = digest(&["a"]);
        let path = dir.path().join(source);
        let file = if path.is_dir() { path.join("sub/one.rs") } else { path };
        fs::write(file, "2").unwrap();
        assert_ne!(before, digest(&["a"]), "{source}");
    }
}
