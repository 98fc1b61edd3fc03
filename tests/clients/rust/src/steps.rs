//! The calls: one function for each step, which says what went otherwise than it must.

use std::collections::HashSet;
use std::error::Error;
use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};
use prost_types::FieldMask;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tonic::transport::Channel;
use tonic::{Code, Status, TimeoutExpired};
use tonic_types::StatusExt;
use uuid::Uuid;

use crate::delivery::v1::{Delivery, DeliveryState, GetDeliveryRequest};
use crate::order::v1::order_service_client::OrderServiceClient;
use crate::order::v1::{
    Address, CancelOrderRequest, CreateOrderRequest, GetOrderRequest, ListOrdersRequest, Order,
    OrderItem, OrderStatus, UpdateOrderRequest, WatchOrdersRequest,
};
use crate::{Scenario, request, within};

/// What `result` must be: an error with that code.
fn expect_error<T>(result: Result<T, Status>, code: Code) -> anyhow::Result<Status> {
    match result {
        Err(status) if status.code() == code => Ok(status),
        Err(status) => Err(anyhow!("not {code:?}: {status}")),
        Ok(_) => Err(anyhow!("no error {code:?}")),
    }
}

/// Whether the deadline is over. Mostly tonic's own clock says so first, and it has the code
/// `CANCELLED` for it; the cause tells that from a call that was given up.
fn is_deadline_exceeded(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<TimeoutExpired>() {
            return true;
        }
        cause = error.source();
    }
    status.code() == Code::DeadlineExceeded
}

/// Places an order on a service that may be busy, and says how often it was refused.
/// `RESOURCE_EXHAUSTED`: nothing was done; `UNAVAILABLE`: nobody knows; with the same `request_id`
/// either may be repeated. (tonic reads no service config, and repeats nothing by itself.) The first
/// pause is what the service asks for, each further one is twice as long, and a share of chance keeps
/// apart those that were refused together.
async fn create_patiently(
    mut client: OrderServiceClient<Channel>,
    message: CreateOrderRequest,
) -> anyhow::Result<u32> {
    let give_up = Instant::now() + Duration::from_secs(60);
    let (mut refusals, mut pause) = (0, Duration::ZERO);
    loop {
        let Err(status) = client.create_order(request(message.clone())).await else {
            return Ok(refusals);
        };
        let asked = match status.code() {
            Code::ResourceExhausted => {
                refusals += 1;
                let info = status.get_details_retry_info().context("refused without RetryInfo")?;
                info.retry_delay.context("RetryInfo without a delay")?
            }
            Code::Unavailable => Duration::from_millis(100),
            _ => return Err(status.into()),
        };
        if Instant::now() > give_up {
            return Err(status.into());
        }
        pause = asked.max(2 * pause).min(Duration::from_secs(2));
        sleep(pause.mul_f64(0.8 + 0.4 * fastrand::f64())).await;
    }
}

impl Scenario {
    fn remember(&mut self, order: Order) {
        self.order = order.clone();
        self.all.insert(order.order_id, order);
    }

    /// What places an order. Whatever became of a first try, its `request_id` makes it safe to
    /// repeat.
    fn new_request(&self, note: &str) -> CreateOrderRequest {
        CreateOrderRequest {
            request_id: Uuid::new_v4().to_string(),
            order: Some(Order {
                customer_id: self.customer.clone(),
                delivery_address: Some(Address {
                    recipient: "Ada".into(),
                    lines: vec!["Ringstrasse 1".into()],
                    postal_code: "6300".into(),
                    city: "Zug".into(),
                    country_code: "CH".into(),
                }),
                items: vec![OrderItem { sku: "lamp".into(), quantity: 2, unit_minor_units: 1990 }],
                currency_code: "EUR".into(),
                note: note.into(),
                ..Default::default()
            }),
        }
    }

    /// Changes the note alone, if the order is still at the version that the change was made for.
    async fn set_note(&mut self, note: &str, expected_version: i64) -> Result<Order, Status> {
        let message = UpdateOrderRequest {
            request_id: Uuid::new_v4().to_string(),
            order: Some(Order {
                order_id: self.order.order_id,
                note: note.into(),
                ..Default::default()
            }),
            update_mask: Some(FieldMask { paths: vec!["note".into()] }),
            expected_version,
        };
        let response = self.orders.update_order(request(message)).await?;
        Ok(response.into_inner().order.unwrap_or_default())
    }

    pub async fn create(&mut self) -> anyhow::Result<()> {
        let message = self.new_request("ring twice");
        let first = self.orders.create_order(request(message.clone())).await?.into_inner();
        let again = self.orders.create_order(request(message)).await?.into_inner();
        ensure!(first == again, "not the same order: {first:?}, {again:?}");
        self.remember(first.order.context("no order")?);
        ensure!(self.order.version == 1, "unexpected: {:?}", self.order);
        Ok(())
    }

    pub async fn read(&mut self) -> anyhow::Result<()> {
        let message = GetOrderRequest { order_id: self.order.order_id, min_version: 0 };
        let got = self
            .orders
            .get_order(request(message))
            .await?
            .into_inner()
            .order
            .context("no order")?;
        let sent = self.new_request("ring twice").order.context("no order")?;
        // What was sent, and what the service sets.
        let want = Order {
            order_id: self.order.order_id,
            version: 1,
            status: OrderStatus::Placed.into(),
            total_minor_units: 3980,
            create_time: self.order.create_time,
            update_time: self.order.update_time,
            ..sent
        };
        ensure!(got == want, "{got:?} instead of {want:?}");
        Ok(())
    }

    pub async fn update(&mut self) -> anyhow::Result<()> {
        let mut want = self.order.clone();
        want.version += 1;
        want.note = "ring once".into();
        want.delivery_address.get_or_insert_default().lines =
            vec!["Bahnhofstrasse 7".into(), "2nd floor".into()];
        let message = UpdateOrderRequest {
            request_id: Uuid::new_v4().to_string(),
            order: Some(Order {
                items: vec![OrderItem {
                    sku: "not in the mask".into(),
                    quantity: 1,
                    unit_minor_units: 0,
                }],
                order_id: want.order_id,
                note: want.note.clone(),
                delivery_address: want.delivery_address.clone(),
                ..Default::default()
            }),
            update_mask: Some(FieldMask { paths: vec!["note".into(), "delivery_address".into()] }),
            expected_version: self.order.version,
        };
        let got = self
            .orders
            .update_order(request(message))
            .await?
            .into_inner()
            .order
            .context("no order")?;
        want.update_time = got.update_time;
        self.remember(got);
        ensure!(self.order == want, "{:?} instead of {want:?}", self.order);
        Ok(())
    }

    pub async fn lose_race(&mut self) -> anyhow::Result<()> {
        let lost = self.set_note("too late", self.order.version - 1).await;
        let status = expect_error(lost, Code::Aborted)?;
        let info = status.get_details_error_info().context("no ErrorInfo")?;
        let known = |key| info.metadata.get(key).map(String::as_str);
        ensure!(
            info.reason == "VERSION_MISMATCH"
                && info.domain == "order.lockstep"
                && known("order_id") == Some(&self.order.order_id.to_string()),
            "unexpected: {info:?}"
        );
        // Somebody else's change may matter for this one: in earnest, read the order and decide
        // again.
        let current: i64 = known("current_version").context("no current_version")?.parse()?;
        let order = self.set_note("in time", current).await?;
        self.remember(order);
        ensure!(
            self.order.note == "in time" && self.order.version == current + 1,
            "unexpected: {:?}",
            self.order
        );
        Ok(())
    }

    pub async fn validation(&mut self) -> anyhow::Result<()> {
        let mut message = self.new_request("");
        let order = message.order.get_or_insert_default();
        order.currency_code = "euro".into();
        order.items[0].quantity = 0;
        let status =
            expect_error(self.orders.create_order(request(message)).await, Code::InvalidArgument)?;
        let violations =
            status.get_details_bad_request().context("no BadRequest")?.field_violations;
        let mut fields: Vec<_> =
            violations.iter().map(|violation| violation.field.as_str()).collect();
        fields.sort_unstable();
        ensure!(
            fields == ["order.currency_code", "order.items[0].quantity"],
            "unexpected: {fields:?}"
        );
        Ok(())
    }

    pub async fn watch(&mut self) -> anyhow::Result<()> {
        let message = WatchOrdersRequest { order_ids: vec![self.order.order_id] };
        let mut stream = self.orders.watch_orders(request(message)).await?.into_inner();
        let now = stream.message().await?.and_then(|message| message.order);
        ensure!(now.as_ref() == Some(&self.order), "{now:?} instead of {:?}", self.order);
        let order = self.set_note("while watched", self.order.version).await?;
        self.remember(order);
        let newer = stream.message().await?.and_then(|message| message.order);
        ensure!(newer.as_ref() == Some(&self.order), "{newer:?} instead of {:?}", self.order);
        // Who drops a stream cancels it, and the service hears of it.
        drop(stream);
        Ok(())
    }

    pub async fn list(&mut self) -> anyhow::Result<()> {
        for number in 0..7 {
            let message = self.new_request(&format!("number {number}"));
            let order = self
                .orders
                .create_order(request(message))
                .await?
                .into_inner()
                .order
                .context("no order")?;
            self.all.insert(order.order_id, order);
        }
        let (mut listed, mut pages, mut page_token) = (HashSet::new(), 0, String::new());
        loop {
            let message = ListOrdersRequest {
                customer_id: self.customer.clone(),
                page_size: 3,
                page_token,
                status: OrderStatus::Unspecified.into(),
            };
            let page = self.orders.list_orders(request(message)).await?.into_inner();
            pages += 1;
            for order in &page.orders {
                let known = self.all.get(&order.order_id) == Some(order);
                ensure!(
                    listed.insert(order.order_id) && known,
                    "twice, or not as it was shown: {order:?}"
                );
            }
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        ensure!(listed.len() == 8 && pages == 3, "{} orders on {pages} pages", listed.len());
        Ok(())
    }

    /// Waits until the delivery is in step with the order as it was last written: who writes reads
    /// it here.
    async fn delivery_in_step(&mut self) -> anyhow::Result<Delivery> {
        let message = GetDeliveryRequest {
            order_id: self.order.order_id,
            min_order_version: self.order.version,
            include_history: false,
        };
        let response = self.deliveries.get_delivery(request(message)).await?;
        response.into_inner().delivery.context("no delivery")
    }

    pub async fn delivery(&mut self) -> anyhow::Result<()> {
        let delivery = self.delivery_in_step().await?;
        let ordered_to = self.order.delivery_address.clone().unwrap_or_default();
        let delivered_to = delivery.address.clone().unwrap_or_default();
        ensure!(
            delivery.order_version == self.order.version
                && delivery.state() == DeliveryState::Preparing
                && delivered_to.recipient == ordered_to.recipient
                && delivered_to.lines == ordered_to.lines
                && delivery.items.len() == 1
                && delivery.items[0].sku == "lamp",
            "unexpected: {delivery:?}"
        );
        Ok(())
    }

    pub async fn cancel(&mut self) -> anyhow::Result<()> {
        let message = CancelOrderRequest {
            request_id: Uuid::new_v4().to_string(),
            order_id: self.order.order_id,
            expected_version: self.order.version,
            reason: "found one in the attic".into(),
        };
        let order = self
            .orders
            .cancel_order(request(message))
            .await?
            .into_inner()
            .order
            .context("no order")?;
        self.remember(order);
        ensure!(
            self.order.status() == OrderStatus::Cancelled
                && self.order.cancel_reason == "found one in the attic",
            "unexpected: {:?}",
            self.order
        );
        let delivery = self.delivery_in_step().await?;
        ensure!(delivery.state() == DeliveryState::Cancelled, "unexpected: {delivery:?}");
        Ok(())
    }

    pub async fn deadline(&mut self) -> anyhow::Result<()> {
        let message = GetDeliveryRequest {
            order_id: self.order.order_id,
            min_order_version: self.order.version + 1000,
            include_history: false,
        };
        let begin = Instant::now();
        match self.deliveries.get_delivery(within(Duration::from_millis(200), message)).await {
            Err(status) if is_deadline_exceeded(&status) => (),
            other => bail!("no DEADLINE_EXCEEDED: {other:?}"),
        }
        ensure!(begin.elapsed() < Duration::from_secs(5), "only after {:?}", begin.elapsed());
        Ok(())
    }

    pub async fn busy(&mut self) -> anyhow::Result<()> {
        let mut calls = JoinSet::new();
        for _ in 0..100 {
            calls.spawn(create_patiently(self.busy.clone(), self.new_request("")));
        }
        let mut refusals = 0;
        while let Some(result) = calls.join_next().await {
            refusals += result??;
        }
        ensure!(refusals > 0, "no call was refused");
        Ok(())
    }
}
