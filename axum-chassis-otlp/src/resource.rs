//! The attributes of the resource: the service and its process.

use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;

use opentelemetry::KeyValue;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1 as proto;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::TelemetryResourceDetector;

use crate::variables::ResourceVariables;

/// The version of OpenTelemetry's semantic conventions that spans of requests and metrics follow. The test `conventions`
/// compares them with this version.
pub(crate) const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.42.0";

/// The resource attributes. Those in environment variables take precedence over the service's name and version.
pub(crate) fn resource(
    config: &ResourceVariables,
    name: &'static str,
    version: &'static str,
) -> Resource {
    let own = [
        ("service.name", name),
        ("service.version", version),
        ("service.instance.id", instance()),
    ];
    let own = own.map(|(key, value)| KeyValue::new(key, value));
    let given = config.attributes.iter().cloned();
    let resource = Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_attributes(own)
        .with_attributes(given.map(|(key, value)| KeyValue::new(key, value)));
    match config.service_name.clone() {
        Some(name) => resource.with_service_name(name).build(),
        None => resource.build(),
    }
}

/// The resource in OTLP.
pub(crate) fn encoded(resource: &ResourceAttributesWithSchema) -> proto::Resource {
    proto::Resource {
        attributes: resource.attributes.0.clone(),
        ..proto::Resource::default()
    }
}

/// This crate as the scope of metrics and log records, in OTLP.
pub(crate) fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: env!("CARGO_PKG_NAME").to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    }
}

/// A random UUID (version 4), the same for all signals of this process. Without it, a metrics store would take the
/// counters of two replicas for one.
fn instance() -> &'static str {
    static INSTANCE: OnceLock<String> = OnceLock::new();
    INSTANCE.get_or_init(|| {
        // The standard library has no other source of random numbers than the keys of its hash function.
        let [high, low] = [0, 1].map(|part| RandomState::new().hash_one(part));
        let digits = format!(
            "{:016x}{:016x}",
            high & !0xf000 | 0x4000,
            low >> 2 | 0x8000_0000_0000_0000
        );
        let parts = [0..8, 8..12, 12..16, 16..20, 20..32];
        parts.map(|part| &digits[part]).join("-")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_instance_is_a_random_uuid() {
        let instance = instance();
        let lengths: Vec<_> = instance.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{instance}");
        assert_eq!(&instance[14..15], "4", "{instance}");
        assert!("89ab".contains(&instance[19..20]), "{instance}");
    }
}
