//! Rules for queries: alerts, autoscalers and the dashboard use only metrics that the binary exposes.

mod adapter;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

pub(super) use adapter::Adapter;
use serde_json::Value;

use crate::binary::{Live, Scrape};
use crate::fault::Faults;
use crate::promql::{self, Query};
use crate::render::{Overlay, Resource};
use crate::sources::Sources;

/// Labels that Prometheus and a ServiceMonitor add to every series.
const TARGET: [&str; 10] = [
    "job",
    "namespace",
    "pod",
    "service",
    "container",
    "endpoint",
    "instance",
    "node",
    "track",
    "__name__",
];
/// Series that Prometheus itself creates.
const OWN: [&str; 5] = [
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "ALERTS",
    "ALERTS_FOR_STATE",
];
/// Metrics that exist only under a condition: the container has limits, or the service has checks, background tasks or
/// connection pools.
const CONDITIONAL: [(&str, &[&str]); 13] = [
    ("cgroup_cpu_quota_cores", &[]),
    ("cgroup_cpu_periods_total", &[]),
    ("cgroup_cpu_throttled_periods_total", &[]),
    ("cgroup_cpu_throttled_seconds_total", &[]),
    ("cgroup_memory_limit_bytes", &[]),
    ("cgroup_memory_usage_bytes", &[]),
    ("readiness_check_up", &["check"]),
    ("readiness_check_duration_seconds", &["check"]),
    ("readiness_check_failures_total", &["check"]),
    ("background_task_running", &["task"]),
    ("background_task_ends_total", &["task", "outcome"]),
    (
        "db_client_connection_count",
        &[
            "db_client_connection_pool_name",
            "db_client_connection_state",
        ],
    ),
    (
        "db_client_connection_max",
        &["db_client_connection_pool_name"],
    ),
];

/// Names that a query may use.
struct Known<'a> {
    scrape: &'a Scrape,
    /// Series of recording rules, with the labels that they keep.
    recorded: BTreeMap<String, BTreeSet<String>>,
}

pub(super) fn check(
    sources: &Sources,
    overlays: &[Overlay],
    live: &Live,
    faults: &mut Faults,
) -> anyhow::Result<()> {
    let scrape = live.scrape("/metrics")?;
    let mut known = Known {
        scrape: &scrape,
        recorded: BTreeMap::new(),
    };
    let rules: Vec<_> = overlays
        .iter()
        .flat_map(|overlay| overlay.of_kind("PrometheusRule"))
        .flat_map(|resource| {
            resource
                .list("/spec/groups")
                .iter()
                .map(move |group| (&resource.file, group))
        })
        .flat_map(|(file, group)| {
            group["rules"]
                .as_array()
                .into_iter()
                .flatten()
                .map(move |rule| (file, rule))
        })
        .collect();
    for (_, rule) in &rules {
        if let (Some(name), Some(query)) = (rule["record"].as_str(), rule["expr"].as_str()) {
            known
                .recorded
                .entry(name.to_owned())
                .or_default()
                .extend(promql::parse(query).unwrap_or_default().grouping);
        }
    }
    for (file, rule) in rules {
        let name = rule["alert"]
            .as_str()
            .or(rule["record"].as_str())
            .unwrap_or("unnamed");
        known.check(
            file,
            &format!("rule {name}: expr"),
            rule["expr"].as_str().unwrap_or_default(),
            faults,
        );
    }
    for object in overlays.iter().flat_map(|o| o.of_kind("ScaledObject")) {
        scaled(&known, object, faults);
    }
    if let Some(adapter) = Adapter::read(sources)? {
        adapter.check(&known, faults);
    }
    for overlay in overlays {
        for map in overlay.of_kind("ConfigMap") {
            for (key, text) in map.at("/data").as_object().into_iter().flatten() {
                if Path::new(key)
                    .extension()
                    .is_some_and(|extension| extension == "json")
                {
                    let file = Path::new(&map.file)
                        .with_file_name(key)
                        .display()
                        .to_string();
                    dashboard(&known, &file, text.as_str().unwrap_or_default(), faults);
                }
            }
        }
    }
    Ok(())
}

/// The queries that KEDA sends to Prometheus.
fn scaled(known: &Known<'_>, object: &Resource, faults: &mut Faults) {
    for trigger in object.list("/spec/triggers") {
        let Some(query) = trigger["metadata"]["query"].as_str() else {
            continue;
        };
        let field = "spec.triggers[prometheus].metadata.query";
        known.check(&object.file, field, query, faults);
        let namespace = object.text("/metadata/namespace");
        for selector in promql::parse(query).unwrap_or_default().selectors {
            for (label, value) in selector.labels {
                if label == "namespace"
                    && let Some(value) =
                        value.filter(|value| !namespace.is_empty() && value != namespace)
                {
                    faults.add(
                        &object.file,
                        field,
                        format!("counts the requests of namespace {value}, and the service is in {namespace}"),
                        format!("name {namespace} in it"),
                    );
                }
            }
        }
    }
}

/// A dashboard's query with a time range in place of Grafana's variable.
fn filled_in(query: &str) -> String {
    ["$__rate_interval", "$__interval", "$__range"]
        .into_iter()
        .fold(query.to_owned(), |query, span| query.replace(span, "5m"))
}

fn dashboard(known: &Known<'_>, file: &str, text: &str, faults: &mut Faults) {
    let Ok(dashboard) = serde_json::from_str::<Value>(text) else {
        faults.add(
            file,
            "the file",
            "invalid JSON",
            "export the dashboard again",
        );
        return;
    };
    for panel in dashboard["panels"].as_array().into_iter().flatten() {
        let title = panel["title"].as_str().unwrap_or("untitled");
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().unwrap_or_default();
            known.check(
                file,
                &format!("panel {title:?}: expr"),
                &filled_in(query),
                faults,
            );
        }
    }
    for annotation in dashboard["annotations"]["list"]
        .as_array()
        .into_iter()
        .flatten()
    {
        // Grafana's own list of alerts has no query.
        if let Some(query) = annotation["expr"].as_str() {
            known.check(file, "annotations: expr", &filled_in(query), faults);
        }
    }
    for variable in dashboard["templating"]["list"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let query = variable["definition"].as_str().unwrap_or_default();
        // In `label_values(SELECTOR, LABEL)`, the second argument is a label, not a metric.
        let inner = query
            .strip_prefix("label_values(")
            .and_then(|rest| rest.strip_suffix(')'));
        if let Some((selector, label)) = inner.and_then(|inner| inner.rsplit_once(',')) {
            let query = format!("sum by ({}) ({selector})", label.trim());
            known.check(
                file,
                &format!("variable {}", variable["name"]),
                &query,
                faults,
            );
        }
    }
}

// === impl Known ===

impl Known<'_> {
    fn check(&self, file: &str, field: &str, query: &str, faults: &mut Faults) {
        let found = match promql::parse(query) {
            Ok(found) => found,
            Err(reason) => {
                let remedy = "correct it; Prometheus would refuse it too";
                faults.add(file, field, format!("invalid PromQL: {reason}"), remedy);
                return;
            }
        };
        for selector in &found.selectors {
            let metric = selector.metric.as_str();
            let Some(labels) = self.labels(metric) else {
                faults.add(
                    file,
                    field,
                    format!("names {metric}, which a live scrape does not contain"),
                    match self.nearest(metric) {
                        Some(near) => format!("did you mean {near}?"),
                        None => "use a metric that /metrics shows".to_owned(),
                    },
                );
                continue;
            };
            for (label, value) in &selector.labels {
                if !labels.contains(label.as_str()) {
                    faults.add(
                        file,
                        field,
                        format!("{metric} has no label {label}: it has {}", listed(&labels)),
                        "use one that it has",
                    );
                } else if let (true, Some(bound)) = (label == "le", value) {
                    self.bound(file, field, metric, bound, faults);
                }
            }
        }
        self.grouping(file, field, &found, faults);
    }

    /// The value of `le` must be a bucket's bound: other values match no series.
    fn bound(&self, file: &str, field: &str, metric: &str, bound: &str, faults: &mut Faults) {
        let bounds = self
            .scrape
            .labels(metric)
            .and_then(|labels| labels.get("le"));
        if bounds.is_some_and(|bounds| !bounds.contains(bound)) {
            let bounds: BTreeSet<&str> = bounds.into_iter().flatten().map(String::as_str).collect();
            faults.add(
                file,
                field,
                format!(
                    "{metric} has no bucket le=\"{bound}\": it has {}",
                    listed(&bounds)
                ),
                "use one that it has, with the same spelling",
            );
        }
    }

    fn grouping(&self, file: &str, field: &str, found: &Query, faults: &mut Faults) {
        let selectors = found.selectors.iter();
        let all: BTreeSet<&str> = selectors
            .filter_map(|selector| self.labels(&selector.metric))
            .flatten()
            .collect();
        for label in &found.grouping {
            if !all.is_empty() && !all.contains(label.as_str()) {
                faults.add(
                    file,
                    field,
                    format!(
                        "groups by {label}, which none of its metrics has: they have {}",
                        listed(&all)
                    ),
                    "use one that they have",
                );
            }
        }
    }

    fn labels<'a>(&'a self, metric: &str) -> Option<BTreeSet<&'a str>> {
        let mut labels: BTreeSet<&str> = TARGET.into_iter().collect();
        let conditional = CONDITIONAL.iter().find(|(name, _)| *name == metric);
        if let Some(shown) = self.scrape.labels(metric) {
            labels.extend(shown.keys().map(String::as_str));
        } else if let Some((_, own)) = conditional {
            labels.extend(*own);
        } else if let Some(kept) = self.recorded.get(metric) {
            labels.extend(kept.iter().map(String::as_str));
        } else if !OWN.contains(&metric) {
            return None;
        }
        Some(labels)
    }

    /// The known name that shares the longest prefix and suffix with `metric`.
    fn nearest(&self, metric: &str) -> Option<&str> {
        let alike = |name: &str| {
            let start = name
                .bytes()
                .zip(metric.bytes())
                .take_while(|(a, b)| a == b)
                .count();
            let end = name
                .bytes()
                .rev()
                .zip(metric.bytes().rev())
                .take_while(|(a, b)| a == b)
                .count();
            start + end
        };
        let names = self.scrape.names().chain(CONDITIONAL.map(|(name, _)| name));
        let near = names.max_by_key(|name| alike(name))?;
        (alike(near) * 2 > metric.len()).then_some(near)
    }
}

fn listed(names: &BTreeSet<&str>) -> String {
    names.iter().copied().collect::<Vec<_>>().join(", ")
}
