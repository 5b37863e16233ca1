//! The validator on other events than a payment: mapped, without a contract, with arrays, with rules beyond the plan. Each is measured beside
//! the payment, in the same run and published the same way.

use crate::bench::Bench;
use crate::figures::{Run, median};
use crate::process::Process;
use crate::report::compare;
use crate::stages::drain;
use crate::world::World;
use contracts::kafka::{headers, topics};
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::time::Duration;

/// Where the sources and contracts of the shapes are.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/shapes");
/// Of the topics: the embedded broker keeps 5 MiB of each.
const PARTITIONS: i32 = 64;

/// Events of one source that differ in their ids.
struct Shape {
    what: &'static str,
    /// Of the payment's rate, at least
    goal: Option<f64>,
    source: &'static str,
    /// `@` is a number
    body: &'static str,
}

const PAYMENT: Shape = Shape {
    what: "the payment",
    goal: None,
    source: "payment",
    body: include_str!("../shapes/payment.json"),
};
const SHAPES: [Shape; 5] = [
    Shape {
        what: "a Stripe refund, mapped and typed",
        goal: Some(0.8),
        source: "stripe",
        body: include_str!("../shapes/stripe.json"),
    },
    Shape {
        what: "the payment without a contract, any.v1",
        goal: Some(1.0),
        source: "payment-any",
        body: PAYMENT.body,
    },
    Shape {
        what: "the Stripe refund without a contract, any.v1",
        goal: None,
        source: "stripe-any",
        body: include_str!("../shapes/stripe.json"),
    },
    Shape {
        what: "an order with a list of lines",
        goal: None,
        source: "order",
        body: include_str!("../shapes/order.json"),
    },
    Shape {
        what: "that order with a pattern, judged by the crate jsonschema",
        goal: None,
        source: "order-checked",
        body: include_str!("../shapes/order.json"),
    },
];

/// The validator on each shape, against the payment.
pub(crate) async fn measure(bench: &Bench) -> anyhow::Result<()> {
    let mut rounds: Vec<(Run, Vec<Run>)> = Vec::new();
    for _ in 0..bench.runs {
        let payment = validate(bench, &PAYMENT).await?;
        let mut others = Vec::with_capacity(SHAPES.len());
        for shape in &SHAPES {
            others.push(validate(bench, shape).await?);
        }
        rounds.push((payment, others));
    }
    let payment = median(rounds.iter().map(|(payment, _)| payment.clone()).collect());
    for (number, shape) in SHAPES.iter().enumerate() {
        let ours = rounds
            .iter()
            .filter_map(|(_, others)| others.get(number).cloned());
        let what = format!("validator, {} ({} bytes)", shape.what, shape.body.len());
        let ours = median(ours.collect());
        compare(&what, "event/s", &ours, (PAYMENT.what, &payment));
        if let Some(goal) = shape.goal {
            let what = format!("validator, {}, of the payment", shape.what);
            bench.note_ratio(&what, goal, &ours, &payment);
        }
    }
    Ok(())
}

async fn validate(bench: &Bench, shape: &Shape) -> anyhow::Result<Run> {
    let contracts = format!("--contracts={FOLDER}/contracts");
    let events = bench.events / 2;
    let world = World::with_contracts(bench, PARTITIONS, std::slice::from_ref(&contracts)).await?;
    publish(world.brokers(), shape, events)?;
    let sources = format!("--sources={FOLDER}/sources.toml");
    let validator: Process = world.validator_with(&[contracts, sources])?;
    let run = drain(&world, topics::VALIDATED, events, &validator).await?;
    let refused = world.count(topics::DLQ).await?;
    anyhow::ensure!(
        refused == 0,
        "{}: {refused} events were dead-lettered",
        shape.what
    );
    Ok(run)
}

/// The body of the payment of this number.
pub(crate) fn payment(number: u64) -> String {
    PAYMENT.body.replace('@', &format!("{number:024}"))
}

/// Fills the raw topic with payments.
pub(crate) fn publish_payments(brokers: &str, events: u64) -> anyhow::Result<()> {
    publish(brokers, &PAYMENT, events)
}

fn header<'a>(key: &'a str, value: &'a str) -> Header<'a, &'a str> {
    let value = Some(value);
    Header { key, value }
}

/// Fills the raw topic with records as the edge writes them, in large batches.
fn publish(brokers: &str, shape: &Shape, events: u64) -> anyhow::Result<()> {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("linger.ms", "100")
        .set("compression.type", "lz4")
        .create()?;
    for number in 0..events {
        let id = format!("{number:024}");
        let body = shape.body.replace('@', &id);
        let all = OwnedHeaders::new_with_capacity(7)
            .insert(header(headers::SOURCE, shape.source))
            .insert(header(headers::EVENT_ID, &id))
            .insert(header(headers::RECEIVED_AT, "1768478400123456"))
            .insert(header(headers::SCHEME, "bench"))
            .insert(header(headers::SECRET_ID, "1"))
            .insert(header(
                headers::TRACEPARENT,
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            ))
            .insert(header(headers::CONTENT_TYPE, "application/json"));
        let mut record = BaseRecord::to(topics::RAW)
            .key(id.as_str())
            .payload(body.as_str())
            .headers(all);
        while let Err((error, unsent)) = producer.send(record) {
            let full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
            anyhow::ensure!(error == full, "the event could not be published: {error}");
            producer.poll(Duration::from_millis(100));
            record = unsent;
        }
    }
    producer.flush(Duration::from_secs(60))?;
    Ok(())
}
