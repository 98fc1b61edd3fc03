//! The order events from Kafka, taken apart by the SDK of `CloudEvents`.

use std::collections::HashMap;
use std::env;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use cloudevents::binding::rdkafka::MessageExt;
use cloudevents::event::SpecVersion;
use cloudevents::{AttributesReader, Data};
use prost::Message as _;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::time::timeout;

use crate::Scenario;
use crate::order::v1::{OrderEvent, OrderEventType};

/// Reads by itself all partitions there are from their beginning, without a consumer group: this
/// process needs all of it, once.
fn consumer(topic: &str) -> anyhow::Result<StreamConsumer> {
    let consumer: StreamConsumer = ClientConfig::new()
        .set("bootstrap.servers", env::var("KAFKA_BOOTSTRAP_SERVERS")?)
        .set("group.id", "lockstep-rust-client") // librdkafka wants one all the same
        .set("enable.auto.commit", "false")
        .create()?;
    let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(10))?;
    let partitions = metadata.topics()[0].partitions();
    ensure!(!partitions.is_empty(), "no topic {topic}");
    let mut all = TopicPartitionList::new();
    for partition in partitions {
        all.add_partition_offset(topic, partition.id(), Offset::Beginning)?;
    }
    consumer.assign(&all)?;
    Ok(consumer)
}

/// The attribute `type` says what the envelope says; readers that filter need not parse the value.
fn cloud_event_type(event_type: OrderEventType) -> &'static str {
    match event_type {
        OrderEventType::Created => "order.v1.OrderCreated",
        OrderEventType::Changed => "order.v1.OrderChanged",
        OrderEventType::Cancelled => "order.v1.OrderCancelled",
        OrderEventType::Unspecified => "order.v1.OrderEvent",
    }
}

/// The event's data, once its attributes are found to say the same.
fn parse(message: &BorrowedMessage) -> anyhow::Result<OrderEvent> {
    let event = message.to_event()?;
    let Some(Data::Binary(bytes)) = event.data() else {
        bail!("no binary data: {:?}", event.data());
    };
    let data = OrderEvent::decode(bytes.as_slice())?;
    let id = data.order_id.to_string();
    let time = event.time().map(|time| prost_types::Timestamp {
        seconds: time.timestamp(),
        nanos: time.timestamp_subsec_nanos().cast_signed(),
    });
    ensure!(
        event.specversion() == SpecVersion::V10
            && event.source() == "/lockstep/order"
            && event.ty() == cloud_event_type(data.r#type())
            && event.subject() == Some(&id)
            && message.key() == Some(id.as_bytes())
            && event.id() == data.event_id
            && event.id() == format!("{id}:{}", data.version)
            && time == data.occur_time
            && event.datacontenttype() == Some("application/protobuf")
            && event.dataschema().is_none(),
        "attributes do not fit the data: {:?} {data:?}",
        event.iter().collect::<Vec<_>>()
    );
    Ok(data)
}

impl Scenario {
    /// Reads until the newest version of each order of this run has come.
    pub async fn events(&mut self) -> anyhow::Result<()> {
        let mut last: HashMap<i64, OrderEvent> = HashMap::new();
        let result = timeout(Duration::from_secs(30), self.read_events(&mut last)).await;
        let complete = last
            .values()
            .filter(|event| self.all[&event.order_id].version == event.version)
            .count();
        result
            .unwrap_or_else(|elapsed| Err(elapsed.into()))
            .context(format!("{complete} of {} orders complete", self.all.len()))?;
        for (id, order) in &self.all {
            ensure!(
                last[id].order.as_ref() == Some(order),
                "{:?} instead of {order:?}",
                last[id].order
            );
        }
        let end = last.get(&self.order.order_id).context("no event of the first order")?;
        ensure!(
            end.r#type() == OrderEventType::Cancelled,
            "the cancellation is not the last event: {end:?}"
        );
        Ok(())
    }

    /// Keeps the last event of each order. The same event may come twice, but one order's versions
    /// never go back, and none is left out.
    async fn read_events(&self, last: &mut HashMap<i64, OrderEvent>) -> anyhow::Result<()> {
        let consumer = consumer(&env::var("ORDER_EVENTS_TOPIC")?)?;
        let mut complete = 0;
        while complete < self.all.len() {
            let message = consumer.recv().await?;
            let id = message
                .key()
                .and_then(|key| std::str::from_utf8(key).ok()?.parse().ok())
                .unwrap_or(0);
            let Some(newest) = self.all.get(&id) else {
                continue; // somebody else's order
            };
            let event = parse(&message)?;
            let (before, version) = (last.get(&id).map_or(0, |event| event.version), event.version);
            ensure!(
                version == before || version == before + 1,
                "order {id}: version {version} after {before}"
            );
            if version > before && version == newest.version {
                complete += 1;
            }
            last.insert(id, event);
        }
        Ok(())
    }
}
