//! Each line of docs/security.md that promises something has a test.

use std::fs;
use std::path::Path;

/// The beginnings of the page's lines, and the test of each.
const TESTS: [(&str, &str); 34] = [
    (
        "| sends headers, bodies or requests slowly",
        "service/hostile_clients.rs slow_headers_end_at_their_timeout",
    ),
    (
        "| sends large bodies",
        "service/memory_limits.rs bodies_beyond_the_memory_limit_are_503_and_small_ones_are_served",
    ),
    (
        "| opens many connections",
        "service/memory_limits.rs without_idle_connections_one_that_waits_for_its_client_is_closed",
    ),
    (
        "| sends many requests",
        "service/outcomes.rs a_request_over_the_limit_is_shed_and_the_probes_are_not",
    ),
    (
        "| sends a large head",
        "service/hostile_clients.rs oversized_headers_and_garbage_are_rejected",
    ),
    (
        "| claims another address",
        "service/client_address.rs a_header_from_an_untrusted_peer_is_ignored",
    ),
    (
        "| sends `x-request-id`",
        "service/client_address.rs ids_are_kept_from_the_callers_in_the_setting",
    ),
    (
        "| makes a handler fail",
        "service/outcomes.rs a_handlers_error_is_logged_with_its_causes_which_the_response_omits",
    ),
    ("| 200 bodies of 2 MB", MEMORY),
    ("| 4000 connections", MEMORY),
    ("| 2000 heads", MEMORY),
    ("| 2000 such heads", MEMORY),
    ("| 10 bodies", MEMORY),
    ("| 100 windows", MEMORY),
    ("| 250 connections", MEMORY),
    ("| `/health/*`", WITH_TOKEN),
    ("| `/`, `/status`", WITH_TOKEN),
    (
        "| `PUT /log`",
        "service/admin.rs without_a_token_a_service_in_a_container_rejects_changes",
    ),
    (
        "| [routes of the service itself]",
        "service/admin_routes.rs the_access_rules_are_those_of_the_chassis",
    ),
    (
        "- The token is sent",
        "service/admin.rs a_weak_token_fails_the_start",
    ),
    (
        "- On a connection to localhost",
        "service/admin.rs dns_rebinding_in_a_browser_with_a_forwarded_port_reads_nothing",
    ),
    (
        "- A request is authorized",
        "service/memory_limits.rs probes_are_answered_when_all_slots_of_the_admin_listener_are_taken",
    ),
    ("- Probes are answered", FLOOD),
    (
        "- A change of the log filter",
        "service/admin.rs a_change_of_the_filter_and_its_end_are_logged_regardless_of_the_filter",
    ),
    (
        "- Values of settings",
        "../axum-chassis-settings/tests/settings/redaction.rs values_with_the_name_of_a_secret_and_userinfo_are_never_shown",
    ),
    ("| sends nothing", FLOOD),
    ("| sends half a head", FLOOD),
    ("| sends `PUT /log`", FLOOD),
    ("| requests `/version`", FLOOD),
    ("| requests `/metrics` 200", FLOOD),
    ("| begins HTTP/2", FLOOD),
    ("| requests `/metrics` in gzip", FLOOD),
    (
        "therefore allow only Prometheus' pods to connect",
        "e2e/tests/manifests/security.rs only_prometheus_pods_connect_to_the_admin_port",
    ),
    (
        "account token. Pod Security's",
        "e2e/tests/manifests/schemas.rs every_namespace_of_a_service_enforces_restricted",
    ),
];
const MEMORY: &str =
    "e2e/tests/memory.rs no_client_has_a_container_of_128_mib_killed_and_others_are_answered";
const WITH_TOKEN: &str =
    "service/admin.rs with_a_token_changing_the_filter_and_reading_sensitive_routes_require_it";
const FLOOD: &str =
    "service/memory_limits.rs probes_are_answered_during_a_connection_flood_on_the_admin_listener";

/// Lines that begin a table or name what is not promised.
const NO_PROMISES: [&str; 9] = [
    "| a client |",
    "| clients |",
    "| each connection |",
    "| route |",
    "|---",
    "- what a handler makes",
    "- responses:",
    "- WebSockets:",
    "- connections that are open",
];

#[test]
fn each_line_of_the_page_has_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/security.md")).expect("the page");
    let begins = |line: &str, beginnings: &[&str]| {
        beginnings
            .iter()
            .any(|beginning| line.starts_with(beginning))
    };
    let promised = TESTS.map(|(line, _)| line);
    for line in page
        .lines()
        .filter(|line| line.starts_with("| ") || line.starts_with("- "))
    {
        assert!(
            begins(line, &promised) || begins(line, &NO_PROMISES),
            "no test is named for: {line}"
        );
    }
    for (line, test) in TESTS {
        assert!(
            page.lines().any(|written| written.starts_with(line)),
            "{line}"
        );
        let (file, name) = test.split_once(' ').expect("a file and a name");
        let text = fs::read_to_string(root.join("tests").join(file)).expect(file);
        assert!(
            text.contains(&format!("\nfn {name}()")),
            "{file} has no test {name}"
        );
    }
}
