//! Answers that the service gives before it has the whole request.

use std::collections::BTreeMap;
use std::io;

use crate::client::{Answer, Connection};
use crate::proxy::Proxy;
use crate::{DEFAULT, behind_each};

/// Handlers that do not read the body, and what they answer.
const CASES: [(&str, &str, u16); 4] = [
    ("/nowhere", "", 404),
    ("/echo", "", 413),
    ("/json", "content-type: text/plain\r\n", 415),
    ("/private", "", 401),
];

#[test]
#[ignore = "needs nginx, haproxy, varnish, apache2, caddy and traefik"]
fn a_response_to_an_unread_upload_reaches_the_client() {
    uploads(5, &[50_000, 200_000, 1_000_000, 5_000_000]);
}

/// Every size to every handler, `times` times, each followed by a request that has to succeed.
pub(crate) fn uploads(times: usize, sizes: &[usize]) {
    behind_each(DEFAULT, |proxy| {
        let mut seen = BTreeMap::<_, usize>::new();
        for (path, headers, wanted) in CASES {
            for size in sizes {
                for _ in 0..times {
                    let body = vec![b'a'; *size];
                    let answer = on_new_connection(proxy, "POST", path, headers, &body);
                    *seen.entry((path, wanted, status(answer))).or_default() += 1;
                    let answer = on_new_connection(proxy, "GET", "/", "", b"");
                    *seen
                        .entry(("the next request", 200, status(answer)))
                        .or_default() += 1;
                }
            }
        }
        let total: usize = seen.values().sum();
        let right = |path: &str| -> usize {
            let these = seen
                .iter()
                .filter(|((it, wanted, got), _)| *it == path && *got == wanted.to_string());
            these.map(|(_, count)| count).sum()
        };
        let all_right: usize = CASES
            .iter()
            .map(|case| case.0)
            .chain(["the next request"])
            .map(right)
            .sum();
        println!("{}: {all_right} of {total} as they should be", proxy.name());
        let wrong = seen
            .iter()
            .filter(|((_, wanted, got), _)| *got != wanted.to_string());
        wrong
            .map(|((path, wanted, got), count)| {
                format!("{path}: {count} times {got} instead of {wanted}")
            })
            .collect()
    });
}

fn on_new_connection(
    proxy: &Proxy,
    method: &str,
    path: &str,
    headers: &str,
    body: &[u8],
) -> io::Result<Answer> {
    Connection::open(proxy.port)?.request(method, path, headers, body)
}

fn status(answer: io::Result<Answer>) -> String {
    match answer {
        Ok(answer) => answer.status.to_string(),
        Err(error) => error.to_string(),
    }
}
