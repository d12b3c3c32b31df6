//! Pins the third-party actions of all workflows to the commits in docs/maintained.md.

use anyhow::Context;

/// Folders with workflows.
pub(super) const WORKFLOWS: [&str; 2] = [".github/workflows", "template/.github/workflows"];

/// Returns the workflow with each `uses: OWNER/NAME@…` replaced by the one in the table.
///
/// # Errors
/// If the table does not have an action.
pub(super) fn pin(workflow: &str, table: &str) -> anyhow::Result<String> {
    let mut pinned = String::new();
    for line in workflow.split_inclusive('\n') {
        match line.split_once("uses: ") {
            Some((indent, action))
                if matches!(indent.trim(), "" | "-") && !action.starts_with("./") =>
            {
                let name = action.split('@').next().unwrap_or(action).trim();
                let commit = commit(name, table).with_context(|| {
                    format!("docs/maintained.md has no row for the action {name}")
                })?;
                pinned += &format!("{indent}uses: {commit}\n");
            }
            _ => pinned += line,
        }
    }
    Ok(pinned)
}

/// The action with its commit and, as a comment, its release.
fn commit<'a>(name: &str, table: &'a str) -> Option<&'a str> {
    let cells = table.lines().filter_map(|line| line.split('|').nth(2));
    let mut named = cells.filter_map(|cell| cell.trim().strip_prefix('`')?.strip_suffix('`'));
    named.find(|version| {
        version
            .strip_prefix(name)
            .is_some_and(|rest| rest.starts_with('@'))
    })
}

#[cfg(test)]
mod tests {
    use super::{WORKFLOWS, commit, pin};

    const TABLE: &str = "| checkout | `actions/checkout@0123 # v7.0.1` | `x` |\n";

    #[test]
    fn an_action_gets_the_commit_of_the_table_and_other_lines_stay() {
        let before = "{% raw -%}\n  - uses: actions/checkout@v6 # old\n    uses: ./.github/actions/own\n  # uses: x\n";
        let after = before.replace("@v6 # old", "@0123 # v7.0.1");
        assert_eq!(pin(before, TABLE).expect("a workflow"), after);
        assert_eq!(pin(&after, TABLE).expect("a workflow"), after);
        assert!(pin("  - uses: actions/checkout-more@v1\n", TABLE).is_err());
    }

    #[test]
    fn every_action_is_named_by_a_whole_commit_and_its_release() {
        let table = include_str!("../../../docs/maintained.md");
        let mut seen = 0;
        for folder in WORKFLOWS {
            for path in super::super::files(&crate::root().join(folder)).expect("files") {
                let text = std::fs::read_to_string(path).expect("a workflow");
                for (_, action) in text.lines().filter_map(|line| line.split_once("uses: ")) {
                    let (name, rest) = action.split_once('@').expect("a version");
                    let (hash, release) = rest.split_once(" # v").expect("a release");
                    assert!(
                        hash.len() == 40 && hash.bytes().all(|digit| digit.is_ascii_hexdigit())
                    );
                    assert!(release.split('.').count() == 3, "{action}");
                    assert_eq!(commit(name, table), Some(action));
                    seen += 1;
                }
            }
        }
        assert!(seen > 15, "{seen}");
    }
}
