//! `auth_pass` changed on one side.

use std::time::Duration;

use anyhow::Result;
use ha_agent_tests::pair::SLACK;
use serde_json::json;

use super::found;

#[test]
#[ignore = "needs root"]
fn changed_on_one_side() -> Result<()> {
    let mut scene = found();
    scene.keepalived.auth_pass = Some("oldword".to_owned());
    let mut pair = scene.start("password")?;
    pair.b.settings.auth_pass = Some("newword".to_owned());
    let settings = pair.b.settings.clone();
    pair.b.keepalived()?.reload(&settings)?;
    pair.b.write_ha_confs()?;
    std::thread::sleep(Duration::from_secs(15));
    for node in [&mut pair.a, &mut pair.b] {
        node.agent.events.read()?;
        eprintln!("{}", node.agent.events.story());
        eprintln!("{}", node.agent.command(&["explain", &node.site.router.id.to_string()])?);
    }
    let _ = (SLACK, json!({}));
    Ok(())
}
