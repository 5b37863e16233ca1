//! The counters of the groups against counting.

use crate::CODES;
use crate::index_world::{Made, ours, take, world};
use proptest::test_runner::{Config, TestRunner};

#[tokio::test(flavor = "multi_thread")]
async fn counters_are_what_counting_gives_after_anything() {
    let world = world().await;
    let runtime = tokio::runtime::Handle::current();
    let mut index = world.index();
    let mut offset = 0;
    let operation = (0..9_u8, 1..40_i64, 0..4_usize, 0..3_i32);
    let mut runner = TestRunner::new(Config {
        cases: 150,
        failure_persistence: None,
        ..Config::default()
    });
    let index = std::cell::RefCell::new(&mut index);
    let offset = std::cell::RefCell::new(&mut offset);
    runner
        .run(&operation, |(what, number, code, replays)| {
            let mut offset = offset.borrow_mut();
            let batch: Vec<Made> = (0..number)
                .map(|raw| {
                    **offset += 1;
                    ours(raw * 3 % 50, CODES[code]).at(**offset).with("ef.replay_count", (i64::from(replays) + **offset / 500).to_string())
                })
                .collect();
            let statement = match what {
                0..4 => return take(&mut index.borrow_mut(), &batch).map_err(|error| proptest::test_runner::TestCaseError::fail(error.to_string())),
                4 => "UPDATE dead_letters SET state = 'replaying' WHERE id % 5 = $1 % 5 AND state = 'open'",
                5 => "UPDATE dead_letters SET state = 'resolved', settled_at = now() WHERE id % 3 = $1 % 3 AND state = 'replaying'",
                6 => "UPDATE dead_letters SET state = 'discarded', settled_at = now() WHERE id % 7 = $1 % 7 AND state = 'open'",
                7 => "UPDATE dead_letters SET edit_id = 1 WHERE id % 2 = $1 % 2",
                _ => "UPDATE dead_letters SET value = NULL, headers = '[]', kept_bytes = 0 WHERE id % 4 = $1 % 4 AND settled_at IS NOT NULL",
            };
            tokio::task::block_in_place(|| {
                runtime.block_on(async {
                    sqlx::query(statement).bind(number).execute(&world.pool).await.unwrap();
                    world.assert_counters().await;
                });
            });
            Ok(())
        })
        .unwrap();
    world.assert_counters().await;
    assert!(world.number("SELECT count(*) FROM failures").await > 50);
    assert!(
        world
            .number("SELECT count(*) FROM dead_letters WHERE state <> 'open'")
            .await
            > 0
    );
}
