//! Finds the metrics and labels in a PromQL query.

use promql_parser::label::MatchOp;
use promql_parser::parser::{self, Expr, LabelModifier, VectorSelector};
use promql_parser::util::{ExprVisitor, walk_expr};

/// The names in a query.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Query {
    pub(crate) selectors: Vec<Selector>,
    /// Labels in `by`, `on` and similar clauses.
    pub(crate) grouping: Vec<String>,
}

/// `name{label="value"}`.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Selector {
    pub(crate) metric: String,
    /// Each label, with its value if the matcher is `=`.
    pub(crate) labels: Vec<(String, Option<String>)>,
}

/// Parses a query.
pub(crate) fn parse(query: &str) -> Result<Query, String> {
    let expression = parser::parse(query)?;
    let mut found = Query::default();
    found.walk(&expression);
    Ok(found)
}

impl Query {
    fn walk(&mut self, expression: &Expr) {
        let Ok(_) = walk_expr(self, expression);
    }

    fn select(&mut self, selector: &VectorSelector) {
        let matchers = &selector.matchers;
        let all = matchers.matchers.iter();
        let all = all.chain(matchers.or_matchers.iter().flatten());
        self.selectors.push(Selector {
            metric: selector.name.clone().unwrap_or_default(),
            labels: all
                .map(|matcher| {
                    let equal = matches!(matcher.op, MatchOp::Equal);
                    (matcher.name.clone(), equal.then(|| matcher.value.clone()))
                })
                .collect(),
        });
    }
}

impl ExprVisitor for Query {
    type Error = std::convert::Infallible;

    fn pre_visit(&mut self, expression: &Expr) -> Result<bool, Self::Error> {
        match expression {
            Expr::VectorSelector(selector) => self.select(selector),
            Expr::MatrixSelector(range) => self.select(&range.vs),
            Expr::Aggregate(aggregate) => {
                let labels = aggregate.modifier.iter().flat_map(names);
                self.grouping.extend(labels);
                // The parser's visitor skips this parameter, such as the 3 in `topk(3, a)`. It may be a query too.
                if let Some(parameter) = &aggregate.param {
                    self.walk(parameter);
                }
            }
            Expr::Binary(binary) => {
                if let Some(modifier) = &binary.modifier {
                    self.grouping
                        .extend(modifier.matching.iter().flat_map(names));
                    let kept = modifier.card.labels().into_iter();
                    self.grouping
                        .extend(kept.flat_map(|labels| labels.labels.iter().cloned()));
                }
            }
            _ => {}
        }
        Ok(true)
    }
}

fn names(modifier: &LabelModifier) -> Vec<String> {
    modifier.labels().labels.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(query: &str) -> Vec<String> {
        let found = parse(query).expect("a query");
        found
            .selectors
            .into_iter()
            .map(|selector| selector.metric)
            .collect()
    }

    #[test]
    fn functions_aggregators_and_units_are_not_metrics() {
        let query = "sum by (le, job) (rate(a_bucket{le=\"0.5\"}[5m] offset 1h)) / ignoring (x) group_left (y) b > 1e3 and bool_c or on() vector(0)";
        let found = parse(query).expect("a query");
        assert_eq!(metrics(query), ["a_bucket", "b", "bool_c"]);
        let mut grouping = found.grouping;
        grouping.sort();
        assert_eq!(grouping, ["job", "le", "x", "y"]);
        assert_eq!(
            found.selectors[0].labels,
            [("le".to_owned(), Some("0.5".to_owned()))]
        );
    }

    #[test]
    fn an_aggregator_may_come_before_its_grouping_and_have_a_parameter() {
        assert_eq!(
            metrics("sum(a) by (pod) + count without (x) (b)"),
            ["a", "b"]
        );
        assert_eq!(metrics("topk(scalar(a), b)"), ["a", "b"]);
        assert_eq!(metrics("max_over_time(rate(a[5m])[1h:1m])"), ["a"]);
    }

    #[test]
    fn strings_may_hold_anything() {
        assert_eq!(metrics(r#"a{x=~"b[c]\"d", y!="e"} == 1 # f"#), ["a"]);
        assert_eq!(
            parse(r#"a{x=~"b", y!="e"}"#).expect("a query").selectors[0].labels,
            [("x".to_owned(), None), ("y".to_owned(), None)]
        );
    }

    #[test]
    fn an_invalid_query_is_an_error_with_a_reason() {
        for query in ["sum(a", "a[5 minutes]", "rate(a)", "a{b=1}", "unknown(a)"] {
            assert!(parse(query).is_err(), "{query}");
        }
    }
}
