//! Rules for runbooks: every alert has one.

use crate::fault::Faults;
use crate::render::Overlay;
use crate::sources::Sources;

/// The path of the runbooks in the project.
const PAGES: &str = "docs/runbooks";

pub(super) fn check(sources: &Sources, overlay: &Overlay, faults: &mut Faults) {
    let root = sources.manifests.join("..");
    for resource in overlay.of_kind("PrometheusRule") {
        let groups = resource.list("/spec/groups").iter();
        let rules = groups.flat_map(|group| group["rules"].as_array().into_iter().flatten());
        for rule in rules {
            let Some(alert) = rule["alert"].as_str() else {
                continue;
            };
            let page = format!("{PAGES}/{alert}.md");
            let field = format!("alert {alert}: annotations.runbook_url");
            let url = rule["annotations"]["runbook_url"].as_str();
            if !url.is_some_and(|url| url.ends_with(&page)) {
                faults.add(
                    &resource.file,
                    field,
                    format!(
                        "is {}, which is not the alert's runbook",
                        url.unwrap_or("not set")
                    ),
                    format!("end it with {page}"),
                );
            } else if !root.join(&page).is_file() {
                faults.add(
                    &resource.file,
                    field,
                    format!("names {page}, which does not exist"),
                    "write it: what users feel, what to look at first, what helps, what not to do",
                );
            }
        }
    }
}
