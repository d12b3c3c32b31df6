//! The OpenAPI document of the routes, and the page to try them.

use crate::program;

#[test]
fn every_route_documents_its_responses_and_errors() {
    let document = program().start().get("/openapi.json").json();
    let paths = document["paths"].as_object().expect("paths");
    assert!(paths.contains_key("/"), "{document}");
    for (path, routes) in paths {
        for (method, route) in routes.as_object().expect("routes") {
            let responses = &route["responses"];
            let problem = &responses["default"]["content"]["application/problem+json"];
            assert!(route["summary"].is_string(), "{method} {path}: {route}");
            assert!(problem.is_object(), "{method} {path}: {responses}");
        }
    }
}

#[test]
fn the_page_loads_without_other_hosts() {
    let page = program().start().get("/docs");
    assert_eq!(page.status, 200);
    assert!(page.text().contains("openapi.json"));
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.contains("default-src 'none'"), "{policy}");
}
