//! Metrics that call a function at each scrape.

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, Metric, MetricFamily, MetricType};

pub(super) struct FnCollector {
    desc: Desc,
    kind: MetricType,
    read: Box<dyn Fn() -> f64 + Send + Sync>,
}

// === impl FnCollector ===

impl FnCollector {
    /// A counter or a gauge.
    pub(super) fn new(
        kind: MetricType,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
        read: Box<dyn Fn() -> f64 + Send + Sync>,
    ) -> Result<Self, prometheus::Error> {
        let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        let labels = labels.iter().map(owned).collect();
        Ok(Self {
            desc: Desc::new(name.to_owned(), help.to_owned(), Vec::new(), labels)?,
            kind,
            read,
        })
    }
}

impl Collector for FnCollector {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut metric = Metric::from_label(self.desc.const_label_pairs.clone());
        if self.kind == MetricType::COUNTER {
            let mut counter = Counter::default();
            counter.set_value((self.read)());
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value((self.read)());
            metric.set_gauge(gauge);
        }
        let mut family = MetricFamily::default();
        family.set_name(self.desc.fq_name.clone());
        family.set_help(self.desc.help.clone());
        family.set_field_type(self.kind);
        family.set_metric(vec![metric]);
        vec![family]
    }
}
