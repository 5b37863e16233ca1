//! What the limits drop, and what they never do.

use crate::filled;
use crate::index_world::{Made, body, ours, take};
use clap::Parser as _;
use contracts::RejectionCode;
use recovery::index::retention;
use recovery::index::retention::RetentionArgs;
use recovery::model::{DeadLetterState, Payload, Selection};
use recovery::query::detail;
use recovery::query::list;

#[derive(clap::Parser)]
struct Cli {
    #[command(flatten)]
    keep: RetentionArgs,
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_drop_values_of_resolved_ones_the_oldest_first_and_never_a_row() {
    let world = filled().await;
    // Of the same value: another one would be kept while its dead letter is open.
    let copy = ours(0, RejectionCode::NotJson).at(900).with("copy", "yes");
    let copy = Made {
        value: Some(body("evt-0", "t0")),
        ..copy
    };
    take(&mut world.index(), &[copy]).unwrap();
    let limits = |days: &str, mebibytes: &str| {
        Cli::parse_from([
            "test",
            "--payload-retention-days",
            days,
            "--index-max-mib",
            mebibytes,
        ])
        .keep
    };
    let roomy = retention::trim(&world.recovery, &limits("30", "20480"))
        .await
        .unwrap();
    assert_eq!(
        (roomy.letters, roomy.failures, roomy.over_limit),
        (0, 1, false),
        "that copy is of long ago"
    );

    // By age: what was settled more than a day ago.
    let old =
        "UPDATE dead_letters SET settled_at = now() - interval '2 days' WHERE state = 'discarded'";
    let discarded = sqlx::query(old)
        .execute(&world.pool)
        .await
        .unwrap()
        .rows_affected();
    let aged = retention::trim(&world.recovery, &limits("1", "20480"))
        .await
        .unwrap();
    assert_eq!((aged.letters, aged.over_limit), (discarded, false));
    assert_eq!(
        retention::trim(&world.recovery, &limits("1", "20480"))
            .await
            .unwrap()
            .letters,
        0,
        "once"
    );
    let one = list::dead_letters(
        &world.recovery,
        &Selection {
            state: vec![DeadLetterState::Discarded],
            limit: Some(1),
            ..Selection::default()
        },
        None,
    )
    .await
    .unwrap();
    let detail = detail::dead_letter(&world.recovery, one.letters[0].id)
        .await
        .unwrap();
    assert!(
        matches!(detail.value, Payload::Dropped { bytes } if bytes > 100),
        "{:?}",
        detail.value
    );
    assert!(detail.headers.is_empty() && detail.value_sha256.is_some());

    // By size: more than a mebibyte of settled ones, the oldest of them first.
    let large = "UPDATE dead_letters SET value = convert_to(repeat('x', 10000), 'UTF8'), kept_bytes = 10000,
                 settled_at = now() - make_interval(secs => id) WHERE state = 'resolved'";
    sqlx::query(large).execute(&world.pool).await.unwrap();
    let open = "SELECT sum(hashtext(d::text))::bigint FROM dead_letters d WHERE state IN ('open', 'replaying')";
    let before = world.number(open).await;
    let sized = retention::trim(&world.recovery, &limits("90", "1"))
        .await
        .unwrap();
    assert!(
        sized.letters > 0 && sized.bytes <= 1 << 20 && !sized.over_limit,
        "{sized:?}"
    );
    assert_eq!(world.number(open).await, before);
    assert_eq!(world.number("SELECT count(*) FROM dead_letters").await, 600);
    world.assert_counters().await;

    // Only open ones are left: nothing of them goes, and that is reported.
    sqlx::query("UPDATE dead_letters SET kept_bytes = 1000000 WHERE state = 'open'")
        .execute(&world.pool)
        .await
        .unwrap();
    let full = retention::trim(&world.recovery, &limits("90", "1"))
        .await
        .unwrap();
    assert!(full.over_limit, "{full:?}");
    assert_eq!(
        world.number("SELECT count(*) FROM dead_letters WHERE state IN ('open', 'replaying') AND dropped_at IS NOT NULL").await,
        0
    );
}
