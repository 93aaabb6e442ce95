use super::*;
use crate::netlink::carrier::Carrier;

#[tokio::test]
async fn what_a_path_may_be() {
    let (carrier, _thread) = Carrier::start().expect("a thread");
    let (requests, connection) = Requests::start(&carrier).expect("netlink sockets are for everybody");
    let folder = tempfile::tempdir().expect("a folder");
    let look = async |path: std::path::PathBuf| resolve(&requests, &Netns::Path(path)).await;

    let absent = look(folder.path().join("none")).await;
    assert!(matches!(absent, Err(ResolveError::Absent)), "{absent:?}");

    let plain = folder.path().join("plain");
    std::fs::write(&plain, "").expect("written");
    let below = look(plain.join("below")).await;
    assert!(matches!(below, Err(ResolveError::Absent)), "{below:?}");
    let plain = look(plain).await;
    assert!(matches!(plain, Err(ResolveError::NotYet)), "{plain:?}");
    let other = look("/proc/self/ns/uts".into()).await;
    assert!(matches!(other, Err(ResolveError::NotYet)), "a namespace of another kind: {other:?}");

    let own = resolve(&requests, &Netns::Own).await.expect("is there");
    let by_path = look("/proc/self/ns/net".into()).await.expect("is there");
    assert_eq!((own.nsid, own), (None, by_path));
    connection.abort();
}
