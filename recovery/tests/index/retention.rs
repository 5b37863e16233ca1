//! What is kept, and for how long.

use crate::index_world::{Made, ours, take, world};
use contracts::RejectionCode;
use recovery::index::retention;

#[derive(clap::Parser)]
struct Limits {
    #[command(flatten)]
    keep: recovery::index::retention::RetentionArgs,
}

#[tokio::test(flavor = "multi_thread")]
async fn the_original_of_an_edit_that_failed_again_is_kept_while_its_dead_letter_is_open() {
    let world = world().await;
    let mut index = world.index();
    take(&mut index, &[ours(1, RejectionCode::NotJson)]).unwrap();
    let again = ours(1, RejectionCode::AmountNotPositive)
        .at(10)
        .with("ef.replay_count", "1")
        .with("ef.replay_id", "j");
    take(
        &mut index,
        &[Made {
            value: Some(b"{\"edited\":true}".to_vec()),
            ..again
        }],
    )
    .unwrap();
    let limits =
        <Limits as clap::Parser>::parse_from(["test", "--payload-retention-days", "1"]).keep;
    let aged = "UPDATE failures SET failed_at = now() - interval '2 days'";
    sqlx::query(aged).execute(&world.pool).await.unwrap();
    let original = "SELECT count(*) FROM failures WHERE value IS NOT NULL AND dropped_at IS NULL";
    assert_eq!(
        (
            retention::trim(&world.recovery, &limits)
                .await
                .unwrap()
                .failures,
            world.number(original).await
        ),
        (0, 1)
    );
    let settled = "UPDATE dead_letters SET state = 'resolved', settled_at = now()";
    sqlx::query(settled).execute(&world.pool).await.unwrap();
    assert_eq!(
        (
            retention::trim(&world.recovery, &limits)
                .await
                .unwrap()
                .failures,
            world.number(original).await
        ),
        (1, 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_a_patch_is_forgotten_after_a_month() {
    let world = world().await;
    let keys = "INSERT INTO done_once (key, asked, answer, at)
         SELECT n::text, '', '{}', now() - make_interval(days => n) FROM generate_series(28, 32, 2) n";
    sqlx::query(keys).execute(&world.pool).await.unwrap();
    retention::trim(
        &world.recovery,
        &<Limits as clap::Parser>::parse_from(["test"]).keep,
    )
    .await
    .unwrap();
    assert_eq!(
        world
            .number("SELECT sum(key::integer)::bigint FROM done_once")
            .await,
        28
    );
}
