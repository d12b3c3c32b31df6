//! Starts the service{% if has_settings == "yes" %}: its stores and its routes{% endif %}.

{% if database != "none" -%}
mod database;
{% endif -%}
{% if openapi == "yes" -%}
mod openapi;
{% endif -%}
{% if example == "yes" -%}
mod orders;
{% endif -%}
mod routes;
mod settings;
{%- if example == "yes" %}
mod store;
{%- if redis == "yes" %}
mod views;
{%- endif %}
{%- endif %}

use std::process::ExitCode;

use axum_chassis::Service;

use settings::Settings;
{%- if example == "yes" %}
use store::Store;
{%- endif %}

fn main() -> ExitCode {
    Service::<Settings>::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
        .revision(option_env!("REVISION"))
        .built_at(option_env!("CREATED"))
        {%- if otlp == "yes" %}
        .export(axum_chassis_otlp::Traces::from_env)
        {%- endif %}
        {%- if database != "none" %}
        .command(
            "migrate",
            "Brings the database up to date",
            database::migrate,
        )
        {%- endif %}
        .run(async |{% if has_settings == "no" %}_{% endif %}chassis| {
            // Inside the tokio runtime: liveness is 200, and readiness is 503 until this is done and the checks pass.
            let router = routes::router();
            {%- if database != "none" %}
            let {% if example == "no" %}_{% endif %}database = database::open(&chassis).await?;
            {%- endif %}
            {%- if redis == "yes" %}
            let {% if example == "no" %}_{% endif %}redis =
                axum_chassis_redis::redis_rotating(&chassis, "redis", |all| &all.redis).await?;
            {%- endif %}
            {%- if example == "yes" %}
            {%- if database == "none" %}
            let store = Store::open(&chassis, &chassis.settings().store);
            {%- else %}
            let store = Store::new(database);
            {%- endif %}
            {%- if redis == "yes" %}
            let router = router.merge(views::router(store.clone(), redis));
            {%- endif %}
            let router = router.merge(orders::router(&chassis, store)?);
            {%- endif %}
            {%- if openapi == "yes" %}
            Ok(openapi::described(router))
            {%- else %}
            Ok(router)
            {%- endif %}
        })
}
