//! Faults of topics and groups: partitions, offsets, topics that are deleted and created again.

use crate::judge::settled;
use crate::process::until;
use crate::world::World;
use contracts::kafka::topics;
use std::time::Duration;
use tokio::time::sleep;

const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";
const CONFIGS: &str = "kafka.admin.ConfigCommand";
const GROUPS: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
/// Longest orderly end of a role.
const DRAIN: Duration = Duration::from_secs(30);
/// Longest wait until what is in the raw topic has its fate.
const SETTLED: Duration = Duration::from_secs(40);

/// A topic gets two more partitions.
pub(crate) async fn grow(world: &World, topic: &str) -> anyhow::Result<String> {
    let direct = world.cluster.direct();
    let name = topic.to_owned();
    let marks =
        crate::cluster::blocking(move || runtime::admin::watermarks(&direct, &name)).await?;
    let partitions = (marks.len() + 2).to_string();
    let arguments = ["--alter", "--topic", topic, "--partitions", &partitions];
    world.cluster.tool(TOPICS, &arguments).await?;
    Ok(format!("{partitions} partitions"))
}

/// A group's offsets in Kafka are lost, while its members are away.
pub(crate) async fn drop_offsets(world: &World, role: &str) -> anyhow::Result<String> {
    let group = format!("eventflow-{role}");
    let drop = async || {
        let delete = ["--delete", "--group", &group];
        world.cluster.tool(GROUPS, &delete).await?;
        Ok("reads from the beginning".to_owned())
    };
    while_away(world, role, drop).await
}

/// A topic is deleted and created again. What was in a retry topic and not read is lost, and its replays say so.
pub(crate) async fn recreate(world: &World, topic: &str) -> anyhow::Result<String> {
    let delete = ["--delete", "--topic", topic];
    world.recreated.lock().await.insert(topic.to_owned());
    world.cluster.tool(TOPICS, &delete).await?;
    // Kafka deletes in the background, and refuses a topic that is on its way out.
    let mut last = Ok(());
    for _ in 0..10 {
        last = world.apply_topics(world.cluster.size()).await;
        if last.is_ok() {
            break;
        }
        sleep(Duration::from_millis(500)).await;
    }
    last?;
    Ok("deleted, and created again".to_owned())
}

/// For a while the topic of dead letters takes none, as after a mistake in its settings.
pub(crate) async fn refuse_dead_letters(world: &World, lasts: Duration) -> anyhow::Result<String> {
    let entity = [
        "--alter",
        "--entity-type",
        "topics",
        "--entity-name",
        topics::DLQ,
    ];
    let change = async |change: [&str; 2]| {
        let arguments = [&entity[..], &change].concat();
        world.cluster.tool(CONFIGS, &arguments).await
    };
    let refused = change(["--add-config", "max.message.bytes=10"]).await;
    sleep(lasts).await;
    // On-call restarts what waits, which changes nothing.
    let mut restarted = Ok(());
    for member in world.members_of("validator") {
        let again = member.lock().await.restart(DRAIN, &[]).await;
        restarted = restarted.and(again);
    }
    change(["--delete-config", "max.message.bytes"]).await?;
    refused?;
    restarted?;
    Ok("takes dead letters again".to_owned())
}

/// The raw topic is deleted and created again, as an administrator must do it: the edges are stopped, and everything in it has its fate.
pub(crate) async fn recreate_raw(world: &World) -> anyhow::Result<String> {
    let settle_and_recreate = async || {
        let all_settled = async || settled(world).await;
        until("the raw topic is settled", SETTLED, all_settled).await?;
        recreate(world, topics::RAW).await
    };
    while_away(world, "producer", settle_and_recreate).await
}

/// Ends the processes of a role in an orderly way, does something, and starts them again, whatever came of it.
async fn while_away(
    world: &World,
    role: &str,
    act: impl AsyncFnOnce() -> anyhow::Result<String>,
) -> anyhow::Result<String> {
    let members = world.members_of(role);
    // Held, so that nobody starts them again meanwhile.
    let mut held = Vec::new();
    for member in &members {
        held.push(member.lock().await);
    }
    let ended = async {
        for member in &mut held {
            member.terminate(DRAIN).await?;
        }
        anyhow::Ok(())
    };
    let done = match ended.await {
        Ok(()) => act().await,
        Err(error) => Err(error),
    };
    for member in &mut held {
        member.start(&[])?;
    }
    done
}
