//! Which metrics and labels a query names. Not a parser: it finds names and leaves judging syntax to promtool.

/// What a query names.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Query {
    pub(crate) selectors: Vec<Selector>,
    /// Labels of `by`, `on` and the like.
    pub(crate) grouping: Vec<String>,
}

/// `name{label="value"}`.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Selector {
    pub(crate) metric: String,
    /// Each label, and the value if it is matched by `=`.
    pub(crate) labels: Vec<(String, Option<String>)>,
}

const GROUPING: [&str; 6] = [
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
];
const AGGREGATORS: [&str; 12] = [
    "sum",
    "min",
    "max",
    "avg",
    "group",
    "stddev",
    "stdvar",
    "count",
    "count_values",
    "bottomk",
    "topk",
    "quantile",
];
const WORDS: [&str; 8] = [
    "and", "or", "unless", "bool", "offset", "atan2", "inf", "nan",
];

/// Finds the names in `query`.
pub(crate) fn scan(query: &str) -> Query {
    let mut found = Query::default();
    let mut rest = query;
    while let Some(first) = rest.chars().next() {
        match first {
            '"' | '\'' | '`' => rest = string(rest).1,
            '[' => rest = rest.split_once(']').map_or("", |(_, rest)| rest),
            '{' => rest = matchers(rest).1,
            '#' => rest = rest.split_once('\n').map_or("", |(_, rest)| rest),
            // Numbers and durations, whose units are no names.
            '0'..='9' => {
                rest = rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '.')
            }
            _ if starts_name(first) => {
                let (name, after) = name(rest);
                let next = after.trim_start();
                let lower = name.to_ascii_lowercase();
                rest = after;
                if GROUPING.contains(&lower.as_str()) {
                    if let Some((labels, after)) =
                        next.strip_prefix('(').and_then(|list| list.split_once(')'))
                    {
                        let labels = labels
                            .split(',')
                            .map(str::trim)
                            .filter(|label| !label.is_empty());
                        found.grouping.extend(labels.map(str::to_owned));
                        rest = after;
                    }
                } else if !next.starts_with('(')
                    && !AGGREGATORS.contains(&lower.as_str())
                    && !WORDS.contains(&lower.as_str())
                {
                    let mut selector = Selector {
                        metric: name.to_owned(),
                        labels: Vec::new(),
                    };
                    if next.starts_with('{') {
                        (selector.labels, rest) = matchers(next);
                    }
                    found.selectors.push(selector);
                }
            }
            other => rest = &rest[other.len_utf8()..],
        }
    }
    found
}

fn starts_name(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || c == ':'
}

fn name(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !starts_name(c) && !c.is_ascii_digit());
    text.split_at(end.unwrap_or(text.len()))
}

/// A quoted string without its quotes, and what follows it.
fn string(text: &str) -> (&str, &str) {
    let quote = text.chars().next().unwrap_or('"');
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' if quote != '`' => escaped = true,
            c if c == quote => return (&text[1..at], &text[at + 1..]),
            _ => {}
        }
    }
    (&text[1..], "")
}

/// What stands in braces, and what follows them.
fn matchers(text: &str) -> (Vec<(String, Option<String>)>, &str) {
    let mut labels = Vec::new();
    let mut rest = &text[1..];
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
        match rest.chars().next() {
            None => return (labels, ""),
            Some('}') => return (labels, &rest[1..]),
            Some(c) if starts_name(c) => {
                let (label, after) = name(rest);
                let after = after.trim_start();
                let operator = after.trim_start_matches(['=', '!', '~']);
                let equal = &after[..after.len() - operator.len()] == "=";
                let (value, after) = string(operator.trim_start());
                labels.push((label.to_owned(), equal.then(|| value.to_owned())));
                rest = after;
            }
            Some(c) => rest = &rest[c.len_utf8()..],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(query: &str) -> Vec<String> {
        scan(query)
            .selectors
            .into_iter()
            .map(|selector| selector.metric)
            .collect()
    }

    #[test]
    fn functions_aggregators_and_units_are_no_metrics() {
        let query = "sum by (le, job) (rate(a_bucket{le=\"0.5\"}[5m] offset 1h)) / ignoring (x) group_left (y) b > 1e3 and bool_c or on() vector(0)";
        let found = scan(query);
        assert_eq!(names(query), ["a_bucket", "b", "bool_c"]);
        assert_eq!(found.grouping, ["le", "job", "x", "y"]);
        assert_eq!(
            found.selectors[0].labels,
            [("le".to_owned(), Some("0.5".to_owned()))]
        );
    }

    #[test]
    fn an_aggregator_may_come_before_its_grouping() {
        assert_eq!(names("sum(a) by (pod) + count without (x) (b)"), ["a", "b"]);
    }

    #[test]
    fn strings_may_hold_anything() {
        assert_eq!(names(r#"a{x=~"b{c}\"d", y!="e"} == 1 # f"#), ["a"]);
        assert_eq!(
            scan(r#"a{x=~"b", y!="e"}"#).selectors[0].labels,
            [("x".to_owned(), None), ("y".to_owned(), None)]
        );
    }
}
