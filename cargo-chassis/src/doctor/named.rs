//! Compares the third-party parts that a project's files name with those of the newest template.

use std::path::Path;

use super::crates::UPDATE;
use super::references::{self, Kind, Reference};
use super::{Part, Remedy, State};
use crate::answers::SavedAnswers;
use crate::calendar::{day, newest_rust, today};
use crate::embedded::{self, VERSION};

/// Releases of Debian in the names of images. Each has the last day of its full support, and the newest release, which
/// replaces it. docs/maintained.md has the sources.
const DEBIANS: [(&str, &str, &str); 6] = [
    ("debian11", "2024-08-14", "debian13"),
    ("debian12", "2026-08-09", "debian13"),
    ("debian13", "2028-08-09", "debian13"),
    ("bullseye", "2024-08-14", "trixie"),
    ("bookworm", "2026-07-11", "trixie"),
    ("trixie", "2028-08-09", "trixie"),
];

pub(super) fn parts(folder: &Path, saved: Option<&SavedAnswers>) -> anyhow::Result<Vec<Part>> {
    let newest = references::of_template(&embedded::current()?);
    // The parts in the project's own template. If the project still has such a part unchanged, `cargo chassis update`
    // updates it.
    let then = saved.filter(|saved| saved.template != VERSION);
    let then = then.and_then(|saved| embedded::release(&saved.template).ok());
    let then = then.map_or_else(Vec::new, |release| references::of_template(&release));

    let mut parts = Vec::new();
    for found in grouped(folder) {
        let first = &found[0];
        let Some(mut part) = compare(first, &newest) else {
            continue;
        };
        part.files = found.iter().map(|one| one.file.clone()).collect();
        part.files.dedup();
        let is_updated = part.state != State::Newer && found.iter().all(|one| then.contains(one));
        if part.remedy.is_some() && is_updated {
            part.remedy = Some(Remedy::Command(UPDATE.to_owned()));
        }
        parts.push(part);
    }
    Ok(parts)
}

/// The references of the project, in groups with the same text. They are read from its folder and from the folders
/// above, up to the folder of the repository, which contains the workflows.
fn grouped(folder: &Path) -> Vec<Vec<Reference>> {
    let depth = folder
        .ancestors()
        .position(|folder| folder.join(".git").exists());
    let mut groups: Vec<Vec<Reference>> = Vec::new();
    for outer in folder.ancestors().take(depth.unwrap_or_default() + 1) {
        for mut reference in references::of_folder(outer) {
            if outer != folder {
                reference.file = outer.join(&reference.file);
            }
            let is_same = |group: &&mut Vec<Reference>| {
                (group[0].kind, &group[0].text, &group[0].name)
                    == (reference.kind, &reference.text, &reference.name)
            };
            match groups.iter_mut().find(is_same) {
                Some(group) => group.push(reference),
                None => groups.push(vec![reference]),
            }
        }
    }
    groups
}

/// Compares a part. Returns `None` if the template does not have this part, and the part is not based on an old release
/// of Debian.
fn compare(found: &Reference, newest: &[Reference]) -> Option<Part> {
    let same = newest
        .iter()
        .filter(|one| (one.kind, &one.name) == (found.kind, &found.name));
    let known = same.max_by_key(|one| one.numbers());
    let old_debian = old_debian(found);
    if known.is_none() && old_debian.is_none() {
        return None;
    }
    let mut part = Part {
        name: name(found),
        version: found.version.clone(),
        newest: known.map_or(&found.version, |known| &known.version).clone(),
        files: Vec::new(),
        state: State::Current,
        reason: String::new(),
        remedy: None,
    };
    let mut to = found.text.clone();
    if let Some(known) = known.filter(|known| is_older(found, known)) {
        part.state = State::Behind;
        if found.kind == Kind::Image {
            // An image of a server for local use should have the version of the server in production, which the team
            // decides.
            part.state = State::Newer;
        }
        part.reason = format!("the template of {VERSION} has {}", known.version);
        to = match found.kind {
            Kind::Action => known.text.clone(),
            _ => with_version(found, &known.version),
        };
    } else if let Some(release) = newer_rust(found) {
        part.state = State::Newer;
        part.reason = format!(
            "according to the calendar, the newest is {release}; the template of {VERSION} is tested with {}",
            part.newest
        );
        to = with_version(found, &release);
        part.newest = release;
    }
    if let Some((release, until, replacement)) = old_debian {
        part.state = State::Unsupported;
        part.reason = format!("{release} has not been fully supported since {until}");
        part.newest = replacement.to_owned();
        to = without_digest(&to).replace(release, replacement);
    }
    if to != found.text {
        let from = found.text.clone();
        part.remedy = Some(Remedy::Replace { from, to });
    }
    Some(part)
}

fn name(found: &Reference) -> String {
    let kind = match found.kind {
        Kind::Base => "base image ",
        Kind::Image => "image ",
        Kind::Action => "action ",
        Kind::Rust => "",
        Kind::Api => "API ",
    };
    format!("{kind}{}", found.name)
}

/// Whether a version is older than another one. `v7` is not older than `v7.0.1`, because it includes this release.
fn is_older(found: &Reference, known: &Reference) -> bool {
    let (found, known) = (found.numbers(), known.numbers());
    let length = found.len().min(known.len());
    found[..length] < known[..length]
}

/// The newest release of Rust, if the project names an older one.
fn newer_rust(found: &Reference) -> Option<String> {
    let is_image = found.kind == Kind::Base && found.name.split('/').next_back() == Some("rust");
    let minor = *found.numbers().get(1)?;
    let newest = newest_rust(today());
    let is_older = i64::try_from(minor).is_ok_and(|minor| minor < newest);
    (is_older && (is_image || found.kind == Kind::Rust)).then(|| format!("1.{newest}"))
}

/// The entry of `DEBIANS` for an image's release of Debian, if the support of this release has ended.
fn old_debian(found: &Reference) -> Option<(&'static str, &'static str, &'static str)> {
    let mut named = DEBIANS
        .into_iter()
        .filter(|(release, ..)| found.text.contains(release));
    let (_, until, _) = named.clone().next()?;
    let is_old = found.kind == Kind::Base && day(until).is_some_and(|until| until < today());
    named.next().filter(|_| is_old)
}

/// The reference's text with another version. A digest is removed, because it belongs to the old version.
fn with_version(found: &Reference, version: &str) -> String {
    let text = match found.kind {
        Kind::Base | Kind::Image => without_digest(&found.text),
        _ => &found.text,
    };
    match text.rfind(&found.version) {
        Some(at) => [&text[..at], version, &text[at + found.version.len()..]].concat(),
        None => text.to_owned(),
    }
}

fn without_digest(image: &str) -> &str {
    image.split('@').next().unwrap_or(image)
}

#[cfg(test)]
mod tests {
    use super::DEBIANS;

    #[test]
    fn each_date_is_in_the_table() {
        let table = include_str!("../../../docs/maintained.md");
        for (release, until, replacement) in DEBIANS {
            let is_row = |line: &str| line.contains(release) && line.contains(until);
            assert!(table.lines().any(is_row), "{release} {until}");
            assert!(DEBIANS.iter().any(|(release, ..)| *release == replacement));
        }
    }
}
