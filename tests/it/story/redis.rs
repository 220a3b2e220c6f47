//! A connection to a Redis of the tests.

use std::time::Duration;

/// One that waits for an answer as long as a busy machine needs: redis-rs gives up after half a second, unless told.
pub async fn connection(url: &str) -> ::redis::aio::MultiplexedConnection {
    let patient = ::redis::AsyncConnectionConfig::new()
        .set_connection_timeout(Some(Duration::from_secs(30)))
        .set_response_timeout(Some(Duration::from_secs(30)));
    let client = ::redis::Client::open(url).unwrap();
    client.get_multiplexed_async_connection_with_config(&patient).await.unwrap()
}
