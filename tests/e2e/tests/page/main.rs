//! The admin page in a real browser.
//!
//! `cargo test -p e2e --test page -- --ignored` needs chromium, chromedriver, and node's package axe-core, found through
//! NODE_MODULES. `screenshots` makes the pictures of docs/admin-page.md.

mod browser;
mod service;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use axum_chassis_testing::Process;
use e2e::{root, wait_for};
use serde_json::{Value, json};

use browser::Browser;

fn page(service: &Process) -> String {
    format!("http://{}/", service.admin().address())
}

/// A route that fails, one that is slow, and a check that is down, among others that are well.
fn trouble(service: &Process) {
    for _ in 0..20 {
        assert_eq!(service.get("/").status, 200);
    }
    assert_eq!(service.get("/fails").status, 500);
    assert_eq!(service.get("/slow").status, 200);
    assert_eq!(service.post("/dependency/down", "").status, 200);
}

const WRONG: [&str; 3] = ["/fails fails", "/slow is slow", "Check dependency is down"];

#[test]
#[ignore = "needs chromium and chromedriver"]
fn a_failure_is_shown_within_ten_seconds_and_a_shutdown_until_its_end() {
    let service = service::start();
    let browser = Browser::start(&[]);
    browser.open(&page(&service));
    assert!(browser.text("#wrong").starts_with("Nothing is wrong"));
    browser.run("window.kept = true; window.scrollTo(0, 300)");
    browser.run("document.querySelector('#routes th:nth-child(2) button').click()");
    let began = Instant::now();
    trouble(&service);
    wait_for("what is wrong", || {
        let text = browser.text("#wrong");
        WRONG.iter().all(|wrong| text.contains(wrong)).then_some(())
    });
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
    // Not loaded again: what somebody was at is as it was.
    assert_eq!(browser.run("return window.kept"), true);
    assert_eq!(browser.run("return window.scrollY >= 300"), true);
    let sorted = "return document.querySelector('#routes th[aria-sort=descending]').textContent";
    assert_eq!(browser.run(sorted), "Requests");
    let first = "return document.querySelector('#routes tbody td').textContent";
    assert_eq!(browser.run(first), "/");

    std::thread::scope(|scope| {
        scope.spawn(|| service.get("/slower"));
        service.admin().get("/status");
        wait_for("the request", || {
            let status: Value = serde_json::from_str(service.admin().get("/status").text()).ok()?;
            let traffic = status["resources"].as_array()?.iter();
            let mut flying = traffic.filter(|it| it["name"] == "Requests in flight");
            (flying.next()?["value"] == 1.0).then_some(())
        });
        service.terminate();
        wait_for("the stop", || {
            browser.text("#now").contains("1 requests").then_some(())
        });
    });
    assert!(browser.text("#now").contains("stopping for"));
    wait_for("its end", || {
        browser
            .text("#lost")
            .starts_with("No answer since")
            .then_some(())
    });
}

#[test]
#[ignore = "needs chromium and chromedriver"]
fn the_form_sets_the_filter_and_it_goes_back() {
    let service = service::start_with_a_token();
    let browser = Browser::start(&[]);
    // As a person types it into the browser's dialog, which remembers it.
    let password = format!("any:{}@", service::TOKEN);
    browser.open(&page(&service).replacen("://", &format!("://{password}"), 1));
    browser.open(&page(&service));
    browser.run(
        "document.querySelector('option').value = '3s';
         document.querySelector('[name=filter]').value = 'debug';
         document.querySelector('form button').click()",
    );
    wait_for("the filter", || {
        browser
            .text("#log")
            .contains("In force: debug, for ")
            .then_some(())
    });
    assert!(browser.run("return location.pathname") == "/");
    wait_for("the one before", || {
        browser
            .text("#log")
            .contains("In force: info\n")
            .then_some(())
    });
}

#[test]
#[ignore = "needs chromium and chromedriver"]
fn no_shown_text_becomes_markup() {
    let service = service::start();
    let browser = Browser::start(&[]);
    browser.open(&page(&service));
    // Each has headers that get into the line that it leaves, and the page is drawn meanwhile.
    for number in 0..10_000 {
        let text = service::hostile(number);
        let id = text.replace([' ', '"'], "/");
        let headers = [("user-agent", text.as_str()), ("x-request-id", &id)];
        let path = format!("/hostile/{}/x", number % service::HOSTILE_ROUTES);
        let answer = service.request("GET", &path, &headers, "");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("x-request-id"), Some(id.as_str()));
    }
    wait_for("lines and routes", || {
        let shown =
            browser.text("#lines").contains("9999") && browser.text("#routes").contains("injected");
        shown.then_some(())
    });
    let foreign = "return [document.scripts.length, document.querySelectorAll('img, iframe, object, style, base').length, window.injected ?? null]";
    assert_eq!(browser.run(foreign), json!([1, 0, null]));
    let handlers = "return [...document.querySelectorAll('*')]
        .flatMap((it) => [...it.attributes])
        .filter((it) => it.name.startsWith('on') || it.value.startsWith('javascript:'))
        .map((it) => it.name + '=' + it.value)";
    assert_eq!(browser.run(handlers), json!([]));
}

#[test]
#[ignore = "needs chromium and chromedriver"]
fn the_page_is_readable_without_scripts() {
    let service = service::start();
    trouble(&service);
    let browser = Browser::start(&["--blink-settings=scriptEnabled=false"]);
    browser.open(&page(&service));
    wait_for("what is wrong", || {
        browser.open(&page(&service));
        let source = browser.source();
        WRONG
            .iter()
            .all(|wrong| source.contains(wrong))
            .then_some(())
    });
    let refresh = "<meta http-equiv=\"refresh\" content=\"5\">";
    assert!(browser.source().contains(refresh));
    assert!(
        !browser.shows("#search"),
        "what takes scripts is not offered"
    );
}

#[test]
#[ignore = "needs chromium, chromedriver, and axe-core by NODE_MODULES"]
fn axe_finds_nothing_in_light_and_dark_wide_and_narrow() {
    let service = service::start();
    trouble(&service);
    assert_eq!(service.get("/panics").status, 500);
    let modules = std::env::var_os("NODE_MODULES").unwrap_or_else(|| "node_modules".into());
    let axe = PathBuf::from(modules).join("axe-core/axe.min.js");
    let axe = fs::read_to_string(&axe).unwrap_or_else(|error| panic!("{}: {error}", axe.display()));
    for scheme in ["light", "dark"] {
        for width in ["1200", "360"] {
            let browser = Browser::start(&[
                &format!("--force-{scheme}-scheme"),
                &format!("--window-size={width},900"),
            ]);
            browser.prefer(scheme);
            browser.open(&page(&service));
            browser.run(&axe);
            let found = browser.run_async("axe.run().then((found) => arguments[0](found.violations.map((it) => [it.id, it.help, it.nodes[0].html])))");
            assert_eq!(found, json!([]), "{scheme}, {width} wide");
            let wide = "return document.documentElement.scrollWidth <= window.innerWidth";
            assert_eq!(browser.run(wide), true, "{width} wide");
        }
    }
}

/// `cargo test -p e2e --test page -- --ignored screenshots`
#[test]
#[ignore = "writes docs/admin-page-light.png and -dark.png; needs chromium and chromedriver"]
fn screenshots() {
    let service = service::start();
    let under_load = Instant::now();
    while under_load.elapsed() < Duration::from_secs(40) {
        service.get("/");
        service.get("/orders/1");
        std::thread::sleep(Duration::from_millis(15));
    }
    trouble(&service);
    for scheme in ["light", "dark"] {
        let browser = Browser::start(&["--window-size=1100,1000", "--hide-scrollbars"]);
        browser.prefer(scheme);
        wait_for("what is wrong", || {
            browser.open(&page(&service));
            browser.text("#wrong").contains("dependency").then_some(())
        });
        let file = root().join(format!("docs/admin-page-{scheme}.png"));
        fs::write(file, browser.screenshot()).expect("a picture");
    }
}
