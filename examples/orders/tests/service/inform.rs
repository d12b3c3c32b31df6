//! Stores whose checks only inform: while they are away, the rest of the service is well.

use std::time::{Duration, Instant};

use stores::{Load, Postgres, Redis, metric, request, wait_for};

use crate::{program, run, take};

#[test]
#[ignore = "needs PostgreSQL and Redis"]
fn routes_without_stores_work_while_both_stores_are_down() {
    let (mut postgres, mut redis) = (Postgres::start(), Redis::start());
    let program = program()
        .variable("DATABASE_URL", postgres.url())
        .variable("REDIS_URL", redis.url())
        .set("database.readiness", "inform")
        .set("redis.readiness", "inform");
    run(program.clone(), "migrate");
    let service = program.start();
    let main = service.main().address();
    assert_eq!(take(main, 1).expect("an answer").status, 201);
    let load = Load::start(4, move |_| request(main, "GET", "/", ""));
    load.wait_for(50, 200);

    postgres.stop();
    redis.kill();
    for name in ["database", "redis"] {
        let up = format!("readiness_check_up{{check=\"{name}\"}}");
        wait_for(&up, || (metric(&service, &up) == Some(0.0)).then_some(()));
    }
    let gone = Instant::now();
    while gone.elapsed() < Duration::from_secs(2) {
        let ready = service.admin().get("/health/readiness");
        assert_eq!(ready.status, 200, "{}", ready.text());
        let orders = take(main, 2).expect("an answer");
        assert!(orders.is_unavailable(), "{orders:?}");
    }
    let report = service.admin().get("/health/readiness").text().to_owned();
    assert!(
        report.contains(r#""role":"inform""#) && report.contains(r#""down""#),
        "{report}"
    );
    let page = service.admin().get("/").text().to_owned();
    assert!(page.contains("Check database is down"), "{page}");

    postgres.start_again();
    wait_for("orders", || {
        (take(main, 2).expect("an answer").status == 201).then_some(())
    });
    let asked = load.finish();
    let failed = asked.iter().filter(|one| one.status() != 200).count();
    println!("{failed} of {} failed", asked.len());
    assert_eq!(failed, 0);
}
