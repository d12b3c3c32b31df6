//! Several services whose database was started again: all of them connect at once.

mod nightly {
    use std::time::{Duration, Instant};

    use stores::{Load, Postgres};

    use crate::{program, run, take};

    const SERVICES: usize = 6;

    #[test]
    #[ignore = "needs PostgreSQL"]
    fn six_services_recover_soon_after_their_database() {
        let mut postgres = Postgres::start();
        let program = program()
            .variable("DATABASE_URL", postgres.url())
            // As it is by default.
            .set("health.interval", "5s")
            .set("database.max_connections", 8);
        run(program.clone(), "migrate");
        let services: Vec<_> = (0..SERVICES).map(|_| program.clone().start()).collect();
        let loads: Vec<_> = (0..)
            .zip(&services)
            .map(|(at, service)| {
                let main = service.main().address();
                Load::start(8, move |number| take(main, at * 1_000_000 + number))
            })
            .collect();
        loads.iter().for_each(|load| load.wait_for(50, 201));
        postgres.stop();
        loads.iter().for_each(|load| load.wait_for(8, 503));
        postgres.start_again();
        let back = Instant::now();
        loads.iter().for_each(|load| load.wait_for(50, 201));
        let back = back.elapsed();
        println!("all well after {back:?}");
        // A debug build on a busy machine takes ten times as long as a release build.
        assert!(back < Duration::from_secs(15), "{back:?}");
        for asked in loads.into_iter().map(Load::finish) {
            let worse = asked.iter().find(|one| match &one.answer {
                Ok(answer) => answer.status != 201 && !answer.is_unavailable(),
                Err(_) => true,
            });
            assert!(worse.is_none(), "{worse:?}");
        }
    }
}
