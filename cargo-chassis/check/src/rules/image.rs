//! Rules for images: user, ports and folders agree with the manifests.

use std::collections::BTreeMap;

use anyhow::Context;

use super::Workload;
use crate::fault::Faults;
use crate::sources::Sources;

/// The instructions of the last stage of a Dockerfile, including those of its parent stages.
#[derive(Clone, Debug, Default, PartialEq)]
struct Image {
    user: String,
    workdir: String,
    exposed: Vec<u64>,
    entrypoint: String,
}

impl Image {
    fn parse(text: &str) -> Self {
        let mut stages: BTreeMap<String, Self> = BTreeMap::new();
        let mut arguments = BTreeMap::new();
        let mut name = String::new();
        let mut image = Self::default();
        for line in text.lines() {
            let line = line.trim();
            let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            let rest = rest.trim();
            match word.to_ascii_uppercase().as_str() {
                "ARG" => {
                    for word in rest.split_whitespace() {
                        let (key, value) = word.split_once('=').unwrap_or((word, ""));
                        // An ARG that a stage repeats without a value keeps the value from before the first stage.
                        arguments.entry(key.to_owned()).or_insert(value.to_owned());
                    }
                }
                "FROM" => {
                    stages.insert(std::mem::take(&mut name), image);
                    let mut words = rest
                        .split_whitespace()
                        .filter(|word| !word.starts_with("--"));
                    let parent = with_arguments(words.next().unwrap_or_default(), &arguments);
                    image = stages.get(&parent).cloned().unwrap_or_default();
                    // FROM parent AS name
                    words.nth(1).unwrap_or_default().clone_into(&mut name);
                }
                "USER" => rest.clone_into(&mut image.user),
                "WORKDIR" => rest.clone_into(&mut image.workdir),
                "EXPOSE" => image.exposed.extend(
                    rest.split_whitespace()
                        .filter_map(|port| port.split('/').next()?.parse::<u64>().ok()),
                ),
                "ENTRYPOINT" => rest.clone_into(&mut image.entrypoint),
                _ => {}
            }
        }
        image
    }
}

fn with_arguments(text: &str, arguments: &BTreeMap<String, String>) -> String {
    arguments
        .iter()
        .fold(text.to_owned(), |text, (key, value)| {
            text.replace(&format!("${{{key}}}"), value)
        })
}

pub(super) fn check(
    sources: &Sources,
    workload: &Workload<'_>,
    faults: &mut Faults,
) -> anyhow::Result<()> {
    for path in &sources.dockerfiles {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let file = path.file_name().unwrap_or_default().display().to_string();
        let image = Image::parse(&text);
        against(&image, &file, workload, faults);
    }
    Ok(())
}

fn against(image: &Image, file: &str, workload: &Workload<'_>, faults: &mut Faults) {
    let own = &workload.container["securityContext"]["runAsUser"];
    let pods = workload
        .deployment
        .at("/spec/template/spec/securityContext/runAsUser");
    let user = if own.is_null() { pods } else { own };
    let made_for = image.user.split(':').next().unwrap_or_default();
    if !image.user.is_empty() && user.as_u64() != made_for.parse().ok() {
        faults.add(
            workload.file(),
            "spec.template.spec.securityContext.runAsUser",
            format!("is {user}, but {file} has USER {made_for}"),
            format!("set it to {made_for}"),
        );
    }
    for port in workload.container["ports"].as_array().into_iter().flatten() {
        let port = port["containerPort"].as_u64().unwrap_or_default();
        if !image.exposed.is_empty() && !image.exposed.contains(&port) {
            faults.add(
                workload.file(),
                workload.field(".ports"),
                format!("{port} is declared, but {file} exposes {:?}", image.exposed),
                format!("declare the exposed port, or add EXPOSE {port} to {file}"),
            );
        }
    }
    // The service finds its configuration files relative to the working directory.
    let folder = format!("{}/config", image.workdir.trim_end_matches('/'));
    let elsewhere = workload.inputs.env.contains_key("APP_CONFIG_DIR");
    if !image.workdir.is_empty() && folder != "/app/config" && !elsewhere {
        faults.add(
            file,
            "WORKDIR",
            format!("the service would look for its settings in {folder}, and they are mounted at /app/config"),
            "WORKDIR /app",
        );
    }
    let command = &workload.container["command"];
    if !command.is_null()
        && !image.entrypoint.is_empty()
        && command[0] != image.entrypoint.trim_matches(['[', ']', '"', ' '])
    {
        faults.add(
            workload.file(),
            workload.field(".command"),
            format!(
                "runs {command}, and the image has but its ENTRYPOINT {}",
                image.entrypoint
            ),
            "remove it",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::Image;

    #[test]
    fn the_last_stage_inherits_from_its_parents() {
        let text = "ARG RUST=1.95 KIND=plain\nFROM --platform=linux/amd64 rust AS build\nUSER 0\nEXPOSE 1\n\
                    FROM base AS runtime\nWORKDIR /app\nUSER 65532:65532\nEXPOSE 8080 9090/tcp\n\
                    FROM runtime AS other\nUSER 1\nFROM runtime AS last-plain\nARG KIND\nFROM last-${KIND}\n";
        let image = Image::parse(text);
        assert_eq!(image.user, "65532:65532");
        assert_eq!(image.workdir, "/app");
        assert_eq!(image.exposed, [8080, 9090]);
    }
}
