//! Metrics with labels, one for each combination of the labels' values.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Error, Opts};

/// The metrics of a family, by the values of their labels.
///
/// It replaces `prometheus`' own `MetricVec`, which finds a metric by a hash of the values without separators. In a
/// `MetricVec`, `["cellar1", "3"]` and `["cellar", "13"]` are the same metric.
#[derive(Clone)]
pub(super) struct Labeled<M, const N: usize>(Arc<Inner<M, N>>);

struct Inner<M, const N: usize> {
    desc: Desc,
    create: Box<Create<M, N>>,
    /// Sorted by the values, so that finding a metric allocates nothing.
    metrics: RwLock<Vec<([Box<str>; N], M)>>,
}

/// Creates the metric with these values of its labels.
type Create<M, const N: usize> = dyn Fn([&str; N]) -> Result<M, Error> + Send + Sync;

// === impl Labeled ===

impl<M: Clone, const N: usize> Labeled<M, N> {
    pub(super) fn new(
        options: Opts,
        labels: [&str; N],
        create: impl Fn(Opts) -> Result<M, Error> + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let labels = labels.map(str::to_owned);
        let (name, help) = (options.name.clone(), options.help.clone());
        let desc = Desc::new(name, help, labels.to_vec(), HashMap::new())?;
        let create = move |values: [&str; N]| {
            let values = values.map(str::to_owned);
            let labels = labels.iter().cloned().zip(values).collect();
            create(options.clone().const_labels(labels))
        };
        // Create a metric once, so that invalid options are an error here, and not a panic in `with`.
        create([""; N])?;
        Ok(Self(Arc::new(Inner {
            desc,
            create: Box::new(create),
            metrics: RwLock::default(),
        })))
    }

    /// The metric with these values of the labels, in the order of the labels.
    pub(super) fn with(&self, values: [&str; N]) -> M {
        let place = |metrics: &[([Box<str>; N], M)]| {
            metrics.binary_search_by(|(known, _)| known.iter().map(|value| &**value).cmp(values))
        };
        let Inner {
            metrics, create, ..
        } = &*self.0;
        let known = metrics.read().unwrap_or_else(PoisonError::into_inner);
        if let Ok(place) = place(&known) {
            return known[place].1.clone();
        }
        drop(known);
        let mut known = metrics.write().unwrap_or_else(PoisonError::into_inner);
        match place(&known) {
            Ok(place) => known[place].1.clone(),
            Err(place) => {
                let metric = create(values).expect("valid with any values, as `new` has checked");
                known.insert(place, (values.map(Box::from), metric.clone()));
                metric
            }
        }
    }
}

impl<M: Collector, const N: usize> Collector for Labeled<M, N> {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.0.desc]
    }

    /// Each metric becomes a family of its own. The registry joins families with the same name.
    fn collect(&self) -> Vec<MetricFamily> {
        let metrics = self.0.metrics.read();
        let metrics = metrics.unwrap_or_else(PoisonError::into_inner);
        metrics.iter().flat_map(|(_, one)| one.collect()).collect()
    }
}
