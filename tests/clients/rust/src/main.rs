//! A client of order-service and delivery-service, to copy from; ../README.md says what each step
//! shows. How it connects is here, the calls are in steps.rs, and events.rs reads what the order
//! service tells over Kafka.

mod events;
mod steps;

use std::collections::HashMap;
use std::env;
use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::time::{Instant, timeout_at};
use tonic::Request;
use tonic::transport::{Channel, Endpoint};
use uuid::Uuid;

use delivery::v1::delivery_service_client::DeliveryServiceClient;
use order::v1::Order;
use order::v1::order_service_client::OrderServiceClient;

/// Made by build.rs from order/v1/*.proto.
mod order {
    pub mod v1 {
        tonic::include_proto!("order.v1");
    }
}

/// Made by build.rs from delivery/v1/*.proto.
mod delivery {
    pub mod v1 {
        tonic::include_proto!("delivery.v1");
    }
}

const CALL_TIMEOUT: Duration = Duration::from_secs(20);
/// Of all steps together.
const RUN_TIMEOUT: Duration = Duration::from_secs(110);

/// What the steps hand on to each other.
struct Scenario {
    orders: OrderServiceClient<Channel>,
    busy: OrderServiceClient<Channel>,
    deliveries: DeliveryServiceClient<Channel>,
    customer: String,
    /// The first one, as the service last showed it.
    order: Order,
    /// By id: what the service last showed of each order of this run.
    all: HashMap<i64, Order>,
}

/// The address in that variable. Does not dial yet: the first call does.
fn connect(variable: &str) -> anyhow::Result<Channel> {
    let target = env::var(variable).context(variable.to_string())?;
    Ok(Endpoint::from_shared(format!("http://{target}"))?.connect_lazy())
}

/// Bounds a call: one without a deadline waits for ever where nobody answers.
fn within<T>(timeout: Duration, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(timeout);
    request
}

fn request<T>(message: T) -> Request<T> {
    within(CALL_TIMEOUT, message)
}

/// Prints what came of it; whether it went well.
async fn step(name: &str, end: Instant, work: impl Future<Output = anyhow::Result<()>>) -> bool {
    let result = timeout_at(end, work)
        .await
        .unwrap_or_else(|_| Err(anyhow!("the time for all steps is over")));
    match &result {
        Ok(()) => println!("ok {name}"),
        Err(why) => println!("not ok {name}: {why:#}"),
    }
    result.is_ok()
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let mut s = Scenario {
        orders: OrderServiceClient::new(connect("ORDER_TARGET")?),
        busy: OrderServiceClient::new(connect("BUSY_TARGET")?),
        deliveries: DeliveryServiceClient::new(connect("DELIVERY_TARGET")?),
        customer: format!("rust-{}", Uuid::new_v4()),
        order: Order::default(),
        all: HashMap::new(),
    };
    let end = Instant::now() + RUN_TIMEOUT;
    let results = [
        step("create", end, s.create()).await,
        step("read", end, s.read()).await,
        step("update", end, s.update()).await,
        step("lose-race", end, s.lose_race()).await,
        step("validation", end, s.validation()).await,
        step("watch", end, s.watch()).await,
        step("list", end, s.list()).await,
        step("delivery", end, s.delivery()).await,
        step("cancel", end, s.cancel()).await,
        step("deadline", end, s.deadline()).await,
        step("busy", end, s.busy()).await,
        step("events", end, s.events()).await,
    ];
    let passed = results.iter().filter(|went_well| **went_well).count();
    println!("{passed} passed, {} failed", results.len() - passed);
    Ok(if passed == results.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
