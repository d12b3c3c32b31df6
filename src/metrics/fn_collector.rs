//! Metrics that call a function at each scrape.

use std::collections::HashMap;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

pub(super) struct FnCollector<F> {
    desc: Desc,
    kind: MetricType,
    read: F,
}

// === impl FnCollector ===

impl<F: Fn() -> f64> FnCollector<F> {
    pub(super) fn counter(
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
        read: F,
    ) -> Result<Self, prometheus::Error> {
        Self::new(name, help, labels, MetricType::COUNTER, read)
    }

    pub(super) fn gauge(
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
        read: F,
    ) -> Result<Self, prometheus::Error> {
        Self::new(name, help, labels, MetricType::GAUGE, read)
    }

    fn new(
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
        kind: MetricType,
        read: F,
    ) -> Result<Self, prometheus::Error> {
        let labels: HashMap<_, _> = labels
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Ok(Self {
            desc: Desc::new(name.to_owned(), help.to_owned(), Vec::new(), labels)?,
            kind,
            read,
        })
    }
}

impl<F: Fn() -> f64 + Send + Sync> Collector for FnCollector<F> {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let labels = self.desc.const_label_pairs.clone();
        let metric = match self.kind {
            MetricType::COUNTER => counter(labels, (self.read)()),
            _ => {
                let mut metric = Metric::from_label(labels);
                let mut gauge = Gauge::default();
                gauge.set_value((self.read)());
                metric.set_gauge(gauge);
                metric
            }
        };
        vec![family(&self.desc, self.kind, vec![metric])]
    }
}

pub(super) fn counter(labels: Vec<LabelPair>, value: f64) -> Metric {
    let mut metric = Metric::from_label(labels);
    let mut counter = Counter::default();
    counter.set_value(value);
    metric.set_counter(counter);
    metric
}

pub(super) fn family(desc: &Desc, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(desc.fq_name.clone());
    family.set_help(desc.help.clone());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

pub(super) fn label(name: &str, value: &str) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    pair
}
