//! The attributes of the resource: the service and its process.

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::TelemetryResourceDetector;

use crate::variables::ResourceVariables;

/// The resource attributes. Those in environment variables take precedence over the service's name and version.
pub(crate) fn resource(
    config: &ResourceVariables,
    name: &'static str,
    version: &'static str,
) -> Resource {
    let own = [("service.name", name), ("service.version", version)];
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
