//! Makes the stubs from the schemas, with protoc.

fn main() -> std::io::Result<()> {
    let schemas = "../../../proto";
    let files = [
        "order/v1/order_service.proto",
        "order/v1/order_event.proto",
        "delivery/v1/delivery_service.proto",
    ]
    .map(|file| format!("{schemas}/{file}"));
    tonic_prost_build::configure()
        .build_server(false)
        .compile_protos(&files, &[schemas.to_string()])
}
