//! HTTP statuses of Redis errors, with a real server.

use axum_chassis_redis::classify_error;
use axum_chassis_redis::redis::aio::MultiplexedConnection;
use axum_chassis_redis::redis::{self, Client};

/// A command, its words separated by spaces.
async fn run(
    connection: &mut MultiplexedConnection,
    command: &str,
) -> Result<(), redis::RedisError> {
    let mut words = command.split(' ');
    let mut cmd = redis::cmd(words.next().expect("a command"));
    words.for_each(|word| {
        cmd.arg(word);
    });
    cmd.exec_async(connection).await
}

fn status(error: &redis::RedisError) -> u16 {
    classify_error(error).map_or(500, |problem| {
        let response = axum::response::IntoResponse::into_response(problem);
        assert_eq!(response.headers()["retry-after"], "5");
        response.status().as_u16()
    })
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn temporary_states_are_503() {
    let server = stores::Redis::start();
    let client = Client::open(server.url()).expect("a URL");
    let mut connection = client
        .get_multiplexed_async_connection()
        .await
        .expect("an answer");
    for (before, fails, code, after) in [
        (
            "CONFIG SET maxmemory 1",
            "SET a b",
            "OOM",
            "CONFIG SET maxmemory 0",
        ),
        (
            "CONFIG SET min-replicas-to-write 1",
            "SET a b",
            "NOREPLICAS",
            "CONFIG SET min-replicas-to-write 0",
        ),
        (
            "REPLICAOF 127.0.0.1 1",
            "SET a b",
            "READONLY",
            "CONFIG SET replica-serve-stale-data no",
        ),
        ("PING", "GET a", "MASTERDOWN", "REPLICAOF NO ONE"),
    ] {
        // A replica without its master refuses this one as well.
        let _ = run(&mut connection, before).await;
        let error = run(&mut connection, fails).await.expect_err(code);
        assert_eq!((error.code(), status(&error)), (Some(code), 503), "{error}");
        run(&mut connection, after).await.expect(after);
    }
    let error = run(&mut connection, "INCR a b")
        .await
        .expect_err("too many arguments");
    assert_eq!(status(&error), 500);
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn a_script_that_blocks_the_others_is_503() {
    let server = stores::Redis::start();
    let client = Client::open(server.url()).expect("a URL");
    let mut connection = client
        .get_multiplexed_async_connection()
        .await
        .expect("an answer");
    let mut other = client
        .get_multiplexed_async_connection()
        .await
        .expect("an answer");
    run(&mut connection, "CONFIG SET busy-reply-threshold 1")
        .await
        .expect("an answer");
    let script = tokio::spawn(async move {
        let mut eval = redis::cmd("EVAL");
        eval.arg("while true do end").arg(0);
        eval.exec_async(&mut other).await
    });
    let error = loop {
        match run(&mut connection, "GET a").await {
            Ok(()) => tokio::task::yield_now().await,
            Err(error) if error.is_timeout() => {}
            Err(error) => break error,
        }
    };
    assert_eq!(
        (error.code(), status(&error)),
        (Some("BUSY"), 503),
        "{error}"
    );
    run(&mut connection, "SCRIPT KILL")
        .await
        .expect("an answer");
    script.await.expect("no panic").expect_err("it was killed");
}
