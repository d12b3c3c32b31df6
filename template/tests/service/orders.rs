//! Orders in the real binary.

use serde_json::{Value, json};

use crate::program;

fn order(reference: &str, quantity: i32) -> Value {
    json!({ "reference": reference, "item": "tea", "quantity": quantity })
}

#[test]
fn an_order_is_created_found_and_counted() {
    let service = program().start();

    let taken = service.post("/orders", order("A-1", 2));
    assert_eq!(taken.status, 201);
    let place = taken.header("location").expect("where it is");
    let found = service.get(place);
    assert_eq!(found.status, 200);
    assert_eq!(found.json(), taken.json());
    assert_eq!(found.json()["item"], "tea");

    let metrics = service.admin().get("/metrics");
    for part in ["orders_created_total 1", r#"http_route="/orders/{id}""#] {
        assert!(metrics.text().contains(part), "{part}: {}", metrics.text());
    }
}

#[test]
fn an_order_that_is_sent_twice_is_created_once() {
    let service = program().start();
    let first = service.post("/orders", order("A-1", 2));
    let again = service.post("/orders", order("A-1", 2));
    assert_eq!((first.status, again.status), (201, 200));
    assert_eq!(first.json(), again.json());

    let other = service.post("/orders", order("A-1", 3));
    assert_eq!(other.status, 409);
    assert_eq!(
        other.json()["detail"],
        "A-1 is the reference of another order"
    );
    assert_eq!(
        service.get("/orders").json()["orders"],
        json!([first.json()])
    );
}

#[test]
fn an_invalid_order_is_rejected() {
    let service = program().start();
    for (wrong, refused) in [
        (order("", 1), 400),
        (order("A\0", 1), 400),
        (order("A-1", 0), 400),
        (
            json!({ "reference": "A-1", "item": "", "quantity": 1 }),
            400,
        ),
        (json!({ "reference": "A-1", "item": "tea" }), 422),
    ] {
        assert_eq!(service.post("/orders", &wrong).status, refused, "{wrong}");
    }
    assert_eq!(service.get("/orders").json(), json!({ "orders": [] }));
}

#[test]
fn a_long_list_comes_in_pages() {
    let service = program().start();
    for number in 1..=5 {
        let taken = service.post("/orders", order(&format!("A-{number}"), number));
        assert_eq!(taken.status, 201);
    }
    let mut seen = Vec::new();
    let mut next = Some("/orders?limit=2".to_owned());
    while let Some(page) = next {
        let page = service.get(&page).json();
        let orders = page["orders"].as_array().expect("a list");
        assert!(orders.len() <= 2, "{page}");
        seen.extend(orders.iter().map(|order| order["quantity"].clone()));
        next = page["next"].as_str().map(str::to_owned);
    }
    assert_eq!(Value::from(seen), json!([1, 2, 3, 4, 5]));
    assert_eq!(service.get("/orders?limit=0").status, 400);
}

#[test]
fn an_unknown_order_is_a_404_problem() {
    let service = program().start();
    let unknown = service.get("/orders/7");
    assert_eq!(unknown.status, 404);
    assert_eq!(unknown.json()["detail"], "there is no order 7");
}

#[cfg(feature = "openapi")]
#[test]
fn the_routes_of_orders_are_described() {
    let document = program().start().get("/openapi.json").json();
    for (path, method, status) in [
        ("/orders", "get", "200"),
        ("/orders", "post", "201"),
        ("/orders", "post", "409"),
        ("/orders/{id}", "get", "404"),
    ] {
        let answer = &document["paths"][path][method]["responses"][status];
        assert!(answer.is_object(), "{method} {path} {status}: {document}");
    }
}
