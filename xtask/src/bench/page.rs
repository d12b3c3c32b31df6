//! Measures the admin page: CPU time of its samples, CPU time while it is open, and memory.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::load;
use super::programs::{CHASSIS, Conditions, Running};

/// More routes than the page counts separately.
const ROUTES: usize = 150;
/// More warnings than the page keeps.
const WARNINGS: usize = 300;
/// The requests of the warm-up, after which memory does not grow further.
const REQUESTS: u32 = 5000;
const SCRAPES: usize = 60;
/// The polling interval of `page.js`.
const PERIOD: Duration = Duration::from_secs(2);
/// The time with the page closed: a little longer than its samples reach back.
const UNSEEN: Duration = Duration::from_secs(610);
const SEEN: Duration = Duration::from_secs(60);

/// Two sentences with the results: the shares of a core, and the memory.
pub(super) fn measure() -> Result<String> {
    CHASSIS.build()?;
    let server = CHASSIS.serve(Conditions {
        extra_routes: ROUTES,
        ..Conditions::default()
    })?;
    let routes = (0..ROUTES).map(|route| format!("/extra/{route}/7"));
    load::each_once(server.address, routes)?;
    load::one_by_one(server.address, REQUESTS)?;
    for _ in 0..SCRAPES {
        server.scrape()?;
        thread::sleep(Duration::from_millis(50));
    }
    let before = server.anonymous()?;
    let warnings = (0..WARNINGS).map(|_| "/warning".to_owned());
    load::each_once(server.address, warnings)?;
    eprintln!("ten minutes with the page closed, and one with it open");
    let unseen = share(&server, || {
        thread::sleep(UNSEEN);
        Ok(())
    })?;
    let kept = server.anonymous()? - before;
    let seen = share(&server, || {
        let began = Instant::now();
        while began.elapsed() < SEEN {
            server.admin("/")?;
            thread::sleep(PERIOD);
        }
        Ok(())
    })?;
    let drawn = server.anonymous()? - before;
    Ok(format!(
        "The admin page with {ROUTES} busy routes takes {unseen:.2} % of a core while it is closed, and {seen:.2} % while it is open.\n\
         Its memory is {kept:.0} kB after ten minutes, and {drawn:.0} kB once the page was opened.\n"
    ))
}

/// The share of a core that the server uses during `meanwhile`, in percent.
fn share(server: &Running, meanwhile: impl FnOnce() -> Result<()>) -> Result<f64> {
    let (before, began) = (server.cpu()?, Instant::now());
    meanwhile()?;
    Ok(100.0 * (server.cpu()? - before) / began.elapsed().as_secs_f64())
}
