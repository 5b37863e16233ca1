//! Many dead letters at once, and no registry to ask.

use crate::index_world::{Made, assign, body, ours, take, world};
use contracts::RejectionCode;
use recovery::model::Selection;
use recovery::query::list;
use recovery::query::stats;

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_registry_is_not_waited_for() {
    let world = world().await;
    let framed: Vec<Made> = (0..100)
        .map(|offset| Made {
            value: Some([&[0, 0, 0, 0, 9][..], b"datum"].concat()),
            ..ours(offset, RejectionCode::BadDatum)
        })
        .collect();
    let began = std::time::Instant::now();
    take(&mut world.index(), &framed).unwrap();
    assert!(began.elapsed() < std::time::Duration::from_secs(10));
    assert_eq!(
        world
            .number("SELECT count(*) FROM groups WHERE event_type = '' AND open = 100")
            .await,
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_counted_exactly_and_random_event_types_stay_few_groups() {
    let world = world().await;
    let mut index = world.index();
    let codes = [
        RejectionCode::NotJson,
        RejectionCode::MissingField,
        RejectionCode::InvalidAmount,
        RejectionCode::Conflict,
    ];
    let mut offset = 0;
    while offset < 50_000 {
        let batch: Vec<Made> = (offset..offset + 2000)
            .map(|offset| {
                let code = codes[usize::try_from(offset % 4).unwrap()];
                let event_type = if offset % 2 == 0 {
                    "payment.authorized.v1".to_owned()
                } else {
                    format!("random.{}", offset % 5000)
                };
                Made {
                    partition: i32::try_from(offset % 3).unwrap(),
                    value: Some(body("e", &event_type)),
                    ..ours(offset, code)
                }
            })
            .collect();
        take(&mut index, &batch).unwrap();
        offset += 2000;
    }
    assert_eq!(
        world.number("SELECT count(*) FROM dead_letters").await,
        50_000
    );
    world.assert_counters().await;
    let groups = world.number("SELECT count(*) FROM groups").await;
    assert!(groups <= 4 * 201 + 4, "{groups} groups");
    let stats = stats::stats(&world.recovery).await.unwrap();
    assert_eq!(stats.open, 50_000);
    for code in codes {
        assert_eq!(stats.by_code[code.code()], 12_500);
    }
    let other = Selection {
        event_type: vec!["(other)".to_owned()],
        ..Selection::default()
    };
    assert!(
        list::groups(&world.recovery, &other)
            .await
            .unwrap()
            .iter()
            .map(|group| group.open)
            .sum::<i64>()
            > 20_000
    );
    assert_eq!(
        world
            .number("SELECT sum(next_offset)::bigint FROM consumer_offsets")
            .await,
        3 * 50_000 - 3
    );
    // A new process knows the groups.
    let mut next = world.index();
    assign(&mut next);
    let more = Made {
        value: Some(body("e", "random.new")),
        ..ours(60_000, RejectionCode::Conflict)
    };
    take(&mut next, &[more]).unwrap();
    assert_eq!(world.number("SELECT count(*) FROM groups").await, groups);
}
