use std::time::Duration;

use super::*;

async fn soon(names: &mut Names) -> Vec<(u64, NameChange)> {
    tokio::time::timeout(Duration::from_secs(10), names.next()).await.expect("nothing was told").expect("inotify works")
}

#[tokio::test]
async fn files_appear_and_vanish_in_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut names = Names::new().expect("inotify");
    let path = folder.path().join("qrouter-1");
    names.add(&path, 1).expect("watched");
    names.add(&folder.path().join("qrouter-2"), 2).expect("watched");
    std::fs::write(folder.path().join("unwatched"), "").expect("written");
    std::fs::write(&path, "").expect("written");
    std::fs::remove_file(&path).expect("removed");
    std::fs::rename(folder.path().join("unwatched"), &path).expect("moved");
    let mut seen = Vec::new();
    while seen.len() < 3 {
        seen.extend(soon(&mut names).await);
    }
    assert_eq!(seen, [(1, NameChange::Appeared), (1, NameChange::Vanished), (1, NameChange::Appeared)]);
}

#[tokio::test]
async fn a_missing_folder_is_waited_for_level_by_level() {
    let base = tempfile::tempdir().expect("a folder");
    let folder = base.path().join("run").join("netns");
    let mut names = Names::new().expect("inotify");
    names.add(&folder.join("a"), 7).expect("watched");
    std::fs::create_dir(base.path().join("run")).expect("made");
    // Nothing to tell of the middle level: go on while the watch is being read.
    let maker = async {
        tokio::task::yield_now().await;
        std::fs::create_dir(&folder).expect("made");
    };
    let (seen, ()) = tokio::join!(soon(&mut names), maker);
    assert_eq!(seen, [(7, NameChange::Unsure)]);
    assert!(names.ancestors.is_empty());
    std::fs::write(folder.join("a"), "").expect("written");
    assert_eq!(soon(&mut names).await, [(7, NameChange::Appeared)]);
}

#[tokio::test]
async fn a_folder_that_goes_takes_its_names_along_and_may_come_back() {
    let base = tempfile::tempdir().expect("a folder");
    let folder = base.path().join("netns");
    std::fs::create_dir(&folder).expect("made");
    let mut names = Names::new().expect("inotify");
    names.add(&folder.join("a"), 3).expect("watched");
    std::fs::remove_dir(&folder).expect("removed");
    assert_eq!(soon(&mut names).await, [(3, NameChange::Vanished)]);
    std::fs::create_dir(&folder).expect("made");
    assert_eq!(soon(&mut names).await, [(3, NameChange::Unsure)]);
    // Moved away, the old descriptor must not speak for the name any more.
    std::fs::rename(&folder, base.path().join("elsewhere")).expect("moved");
    assert_eq!(soon(&mut names).await, [(3, NameChange::Vanished)]);
    std::fs::write(base.path().join("elsewhere/a"), "").expect("written");
    std::fs::create_dir(&folder).expect("made");
    assert_eq!(soon(&mut names).await, [(3, NameChange::Unsure)]);
}

#[tokio::test]
async fn what_is_removed_is_not_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut names = Names::new().expect("inotify");
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    names.add(&a, 1).expect("watched");
    names.remove(&a);
    assert!(names.folders.is_empty() && names.armed.is_empty());
    names.add(&a, 1).expect("watched again");
    names.add(&b, 2).expect("watched");
    names.remove(&a);
    std::fs::write(&a, "").expect("written");
    std::fs::write(&b, "").expect("written");
    assert_eq!(soon(&mut names).await, [(2, NameChange::Appeared)]);
}

#[test]
fn a_path_needs_a_folder_and_a_name() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let _inside = runtime.enter();
    let mut names = Names::new().expect("inotify");
    for bad in ["", "/", "relative/path", "/run/.."] {
        let error = names.add(Path::new(bad), 1).expect_err(bad);
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
