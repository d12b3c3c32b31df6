//! `cargo chassis check`: silent on what is here, and loud about each thing that could be wrong with it.

use std::sync::Mutex;

use cargo_chassis_check::{Check, Fault};
use e2e::edit;
use serde::Deserialize;

use crate::{choose, combinations, copy, generated, orders, service};

#[test]
#[ignore = "needs kubectl"]
fn manifests_image_and_binary_agree() {
    let copy = copy();
    assert_agree(&Check::new(copy.path().join("k8s"), service()));
}

#[test]
#[ignore = "needs kubectl"]
fn each_component_and_each_combination_agrees() {
    let copy = copy();
    // The template's is for dev alone.
    let token = copy.path().join("k8s/components/secret/admin.token");
    std::fs::write(token, "a-token-of-the-team").expect("written");
    let mut check = Check::new(copy.path().join("k8s"), service());
    for folder in combinations(copy.path()) {
        check = check.only(format!(
            "overlays/{}",
            folder.file_name().expect("a name").display()
        ));
    }
    assert_agree(&check);
}

#[test]
#[ignore = "needs kubectl"]
fn a_binary_without_axum_chassis_is_a_warning_in_the_result() {
    let copy = copy();
    let check = Check::new(copy.path().join("k8s"), "/bin/true").only("overlays/dev");
    let faults = check.run().expect("both can be looked at");
    let warnings: Vec<&Fault> = faults.iter().filter(|fault| fault.warning).collect();
    let told = |fault: &&&Fault| fault.problem.contains("does not use axum-chassis");
    let warning = warnings.iter().find(told).expect("a warning");
    assert_eq!(warning.file, "/bin/true");
}

pub(crate) fn assert_agree(check: &Check) {
    let faults = check.run().expect("both can be looked at");
    // The scheduled job reports warnings, which appear without a change.
    let faults = faults.iter().filter(|fault| !fault.warning);
    let lines: Vec<String> = faults.map(Fault::to_string).collect();
    assert!(lines.is_empty(), "{}", lines.join("\n\n"));
}

/// One thing that is wrong, and how it is to be told.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mutation {
    /// The template's, for a service on stores; without any it is the example service.
    #[serde(default)]
    answers: Vec<String>,
    overlay: String,
    #[serde(default)]
    with: Vec<String>,
    #[serde(default)]
    without: Vec<String>,
    file: String,
    from: String,
    to: String,
    told: Option<String>,
    field: String,
    remedy: String,
}

#[test]
#[ignore = "needs kubectl"]
fn each_error_is_reported_with_file_field_and_remedy() {
    let mutations: Vec<Mutation> =
        serde_saphyr::from_str(include_str!("mutations.yaml")).expect("mutations");
    assert!(mutations.len() > 60);
    let mutations = Mutex::new(mutations.into_iter());
    let silent = Mutex::new(Vec::new());
    service();
    orders();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some(mutation) = mutations.lock().expect("no panic").next() else {
                        break;
                    };
                    if let Err(told) = try_one(&mutation) {
                        silent.lock().expect("no panic").push(told);
                    }
                }
            });
        }
    });
    let silent = silent.into_inner().expect("no panic");
    assert!(silent.is_empty(), "{}", silent.join("\n\n"));
}

fn try_one(mutation: &Mutation) -> Result<(), String> {
    let answers: Vec<&str> = mutation.answers.iter().map(String::as_str).collect();
    let (copy, binary) = if answers.is_empty() {
        (copy(), service())
    } else {
        (generated(&answers), orders())
    };
    let overlay = copy.path().join("k8s").join(&mutation.overlay);
    choose(
        &overlay.join("kustomization.yaml"),
        &mutation.with,
        &mutation.without,
    );
    edit(
        &copy.path().join(&mutation.file),
        &mutation.from,
        &mutation.to,
    );
    let check = Check::new(copy.path().join("k8s"), binary).only(&mutation.overlay);
    let what = format!(
        "{}: {:?} -> {:?}",
        mutation.file, mutation.from, mutation.to
    );
    let faults = match check.run() {
        Ok(faults) => faults,
        // A binary that refuses its settings cannot be run, and says why.
        Err(error) => return Err(format!("{what}\n{error:#}")),
    };
    let file = mutation.told.as_ref().unwrap_or(&mutation.file);
    let told = |fault: &Fault| {
        fault.file.starts_with(file)
            && fault.field.contains(&mutation.field)
            && fault.remedy.contains(&mutation.remedy)
    };
    if faults.iter().any(told) {
        return Ok(());
    }
    let lines: Vec<String> = faults.iter().map(Fault::to_string).collect();
    Err(format!("{what}\nis not told; but:\n{}", lines.join("\n")))
}
