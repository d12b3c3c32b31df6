//! Parses prometheus-adapter's rules: the metrics that they define, and those that they use.

use anyhow::Context;
use serde_json::Value;

use super::Known;
use crate::fault::Faults;
use crate::promql;
use crate::sources::Sources;

/// The values of prometheus-adapter's Helm chart.
#[derive(Debug)]
pub(in crate::rules) struct Adapter {
    file: String,
    rules: Vec<Value>,
}

impl Adapter {
    /// Reads the chart's values, if the manifests contain them.
    pub(in crate::rules) fn read(sources: &Sources) -> anyhow::Result<Option<Self>> {
        let relative = "cluster/prometheus-adapter/values.yaml";
        let path = sources.manifests.join(relative);
        if !path.is_file() {
            return Ok(None);
        }
        let values: Value = serde_yaml_ng::from_str(&std::fs::read_to_string(&path)?)
            .with_context(|| format!("{} is not YAML", path.display()))?;
        let rules = values["rules"]["custom"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let folder = sources.manifests.file_name().unwrap_or_default().display();
        Ok(Some(Self {
            file: format!("{folder}/{relative}"),
            rules,
        }))
    }

    /// The names that the rule defines.
    pub(in crate::rules) fn metrics(&self) -> impl Iterator<Item = &str> {
        self.rules
            .iter()
            .filter_map(|rule| rule["name"]["as"].as_str())
    }

    pub(super) fn check(&self, known: &Known<'_>, faults: &mut Faults) {
        for rule in &self.rules {
            let name = rule["name"]["as"].as_str().unwrap_or("unnamed");
            let series = rule["seriesQuery"].as_str().unwrap_or_default();
            known.check(
                &self.file,
                &format!("rules.custom[{name}].seriesQuery"),
                series,
                faults,
            );
            // The adapter replaces the placeholders in angle brackets.
            let metric = promql::parse(series)
                .unwrap_or_default()
                .selectors
                .into_iter()
                .next()
                .unwrap_or_default()
                .metric;
            let query = rule["metricsQuery"].as_str().unwrap_or_default();
            let query = query
                .replace("<<.Series>>", &metric)
                .replace("<<.LabelMatchers>>", "")
                .replace("<<.GroupBy>>", "pod");
            known.check(
                &self.file,
                &format!("rules.custom[{name}].metricsQuery"),
                &query,
                faults,
            );
        }
    }
}
