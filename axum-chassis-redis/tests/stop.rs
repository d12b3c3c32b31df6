//! Start and shutdown with Redis: required permissions, and closed connections.

use std::time::Duration;

use axum::Router;
use axum_chassis::schemars::{self, JsonSchema};
use axum_chassis::settings::{Sources, Validate};
use axum_chassis::{Chassis, Service};
use axum_chassis_redis::redis::aio::MultiplexedConnection;
use axum_chassis_redis::redis::{self, Client};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Settings {
    redis: axum_chassis_redis::Settings,
}

impl Validate for Settings {}

async fn clients(server: &mut MultiplexedConnection) -> anyhow::Result<usize> {
    let mut list = redis::cmd("CLIENT");
    let list: String = list.arg("LIST").query_async(server).await?;
    Ok(list.lines().count())
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn connections_are_closed_after_the_last_request() {
    let server = stores::Redis::start();
    let client = Client::open(server.url()).expect("a URL");
    let mut own = client
        .get_multiplexed_async_connection()
        .await
        .expect("an answer");
    let sources = Sources::empty()
        .set("redis.url", server.url())
        .set("redis.pool_size", "3");
    let start = async |chassis: Chassis<Settings>| {
        let mut after = own.clone();
        // Registered first, it runs last; it fails if it takes longer than a hook may.
        chassis.on_stop("only this test is left", async move || {
            while clients(&mut after).await? > 1 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Ok(())
        });
        axum_chassis_redis::redis(&chassis, "redis", &chassis.settings().redis).await?;
        Ok(Router::new())
    };
    let running = Service::<Settings>::new("counter", "1.0.0")
        .start(sources, start)
        .await;
    let running = running.expect("Redis is there");
    assert_eq!(clients(&mut own).await.expect("an answer"), 4);
    assert!(running.stop().await.is_graceful());
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn a_user_without_the_right_to_ping_starts_and_is_ready() {
    let server = stores::Redis::start();
    let made = server.command(&["ACL", "SETUSER", "limited", "on", ">secret", "~*", "+incr"]);
    assert_eq!(made.matches("+OK").count(), 3, "{made}");
    let port = server.address().port();
    let sources = Sources::empty()
        .set(
            "redis.url",
            format!("redis://limited:secret@127.0.0.1:{port}"),
        )
        .set("service.start_timeout", "5s");
    let start = async |chassis: Chassis<Settings>| {
        axum_chassis_redis::redis(&chassis, "redis", &chassis.settings().redis).await?;
        Ok(Router::new())
    };
    let running = Service::<Settings>::new("counter", "1.0.0")
        .start(sources, start)
        .await;
    assert!(running.expect("a start").stop().await.is_graceful());
}
