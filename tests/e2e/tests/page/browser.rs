//! Chromium, by the WebDriver protocol.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};

/// A browser with one page, ended with this value.
pub(crate) struct Browser {
    driver: Child,
    port: u16,
    session: String,
}

impl Browser {
    /// # Panics
    /// Without chromium and chromedriver.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver, which is in the package chromium-driver");
        let mut lines = BufReader::new(driver.stdout.take().expect("its output")).lines();
        let port = lines.find_map(|line| {
            let line = line.expect("text");
            let (_, port) = line.split_once("started successfully on port ")?;
            port.trim_end_matches('.').parse().ok()
        });
        let mut browser = Self {
            driver,
            port: port.expect("a port"),
            session: String::new(),
        };
        // As root there is no sandbox; and of shared memory a container has little.
        let mut all = vec!["--headless=new", "--no-sandbox", "--disable-dev-shm-usage"];
        all.extend(arguments);
        let options = json!({ "args": all });
        let capabilities =
            json!({ "capabilities": { "alwaysMatch": { "goog:chromeOptions": options } } });
        let session = browser.ask("POST", "/session", &capabilities);
        browser.session = session["sessionId"].as_str().expect("a session").to_owned();
        browser
    }

    pub(crate) fn open(&self, url: &str) {
        self.command("POST", "url", &json!({ "url": url }));
    }

    /// Runs a script, and returns its result.
    pub(crate) fn run(&self, script: &str) -> Value {
        self.command(
            "POST",
            "execute/sync",
            &json!({ "script": script, "args": [] }),
        )
    }

    /// Runs a script that ends by calling its last argument, and returns the value passed to that call.
    pub(crate) fn run_async(&self, script: &str) -> Value {
        self.command(
            "POST",
            "execute/async",
            &json!({ "script": script, "args": [] }),
        )
    }

    /// The visible text of the first element that a selector finds; none without one.
    pub(crate) fn text(&self, selector: &str) -> String {
        let script = format!(
            "return document.querySelector({})?.innerText ?? ''",
            json!(selector)
        );
        self.run(&script).as_str().expect("text").to_owned()
    }

    /// Whether the element can be seen, also where no script runs.
    pub(crate) fn shows(&self, selector: &str) -> bool {
        let found = json!({ "using": "css selector", "value": selector });
        let element = self.command("POST", "element", &found);
        let id = element
            .as_object()
            .and_then(|it| it.values().next())
            .expect("an element");
        let path = format!("element/{}/displayed", id.as_str().expect("an id"));
        self.command("GET", &path, &Value::Null) == true
    }

    pub(crate) fn source(&self) -> String {
        let source = self.command("GET", "source", &Value::Null);
        source.as_str().expect("HTML").to_owned()
    }

    /// Has the page know that its reader prefers `light`, or `dark`.
    pub(crate) fn prefer(&self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        let command =
            json!({ "cmd": "Emulation.setEmulatedMedia", "params": { "features": features } });
        self.command("POST", "goog/cdp/execute", &command);
    }

    /// A screenshot of the visible part, as a PNG.
    pub(crate) fn screenshot(&self) -> Vec<u8> {
        let encoded = self.command("GET", "screenshot", &Value::Null);
        let encoded = encoded.as_str().expect("text");
        BASE64_STANDARD.decode(encoded).expect("base64")
    }

    fn command(&self, method: &str, command: &str, body: &Value) -> Value {
        self.ask(
            method,
            &format!("/session/{}/{command}", self.session),
            body,
        )
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("chromedriver");
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .expect("a timeout");
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            self.port,
            body.len()
        )
        .expect("a request");
        // It does not close the connection.
        let mut stream = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).expect("an answer");
            let Some((name, value)) = line.trim_end().split_once(':') else {
                if line.trim_end().is_empty() {
                    break;
                }
                continue;
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().expect("a length");
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).expect("a body");
        let answer: Value = serde_json::from_slice(&body).expect("JSON");
        let value = answer["value"].clone();
        assert!(value["error"].is_null(), "{path}: {value}");
        value
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Chromium ends with its session, and not with the driver.
        if !self.session.is_empty() && !std::thread::panicking() {
            self.ask(
                "DELETE",
                &format!("/session/{}", self.session),
                &Value::Null,
            );
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
