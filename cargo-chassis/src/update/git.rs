//! Runs the git commands of a merge. All steps except the last one write only unreferenced objects, so an update that
//! is interrupted before changes nothing.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;

/// The repository around a project.
#[derive(Debug)]
pub(super) struct Git {
    top: PathBuf,
    /// The repository's git directory.
    folder: PathBuf,
    /// The path of the project's folder, relative to `top`. Empty if both are the same.
    prefix: String,
    /// A temporary folder for index files.
    scratch: TempDir,
}

/// A change of the template, as a commit.
#[derive(Debug)]
pub(super) struct Change {
    base: String,
    commit: String,
    /// Files that the template has changed and the project has deleted. They stay deleted.
    pub(super) left_deleted: Vec<String>,
}

/// The result of a merge.
#[derive(Debug)]
pub(super) struct Merge {
    /// A verb and a path for each file. The path is relative to the project's folder.
    pub(super) done: Vec<(&'static str, String)>,
    pub(super) conflicts: bool,
}

impl Git {
    pub(super) fn around(folder: &Path) -> anyhow::Result<Self> {
        let ask = |what: &str| {
            let output = Command::new("git")
                .current_dir(folder)
                .args(["rev-parse", what])
                .output()
                .context("cannot run git, which update needs")?;
            ensure!(
                output.status.success(),
                "{} is not in a git repository, which update needs: run git init and commit the files",
                folder.display()
            );
            Ok(String::from_utf8(output.stdout)?
                .trim_end_matches('\n')
                .to_owned())
        };
        let git = Self {
            top: ask("--show-toplevel")?.into(),
            folder: ask("--absolute-git-dir")?.into(),
            prefix: ask("--show-prefix")?,
            scratch: tempfile::tempdir()?,
        };
        let head = git
            .command(["rev-parse", "--quiet", "--verify", "HEAD"])
            .output()?;
        ensure!(
            head.status.success(),
            "the git repository of {} has no commit: commit the files first, so that you can see and undo the update",
            git.top.display()
        );
        Ok(git)
    }

    /// The tracked files that differ from the last commit.
    pub(super) fn changed_files(&self) -> anyhow::Result<Vec<String>> {
        let status = self.ask(["status", "--porcelain", "--untracked-files=no"])?;
        Ok(status
            .lines()
            .map(|line| line.get(3..).unwrap_or(line).to_owned())
            .collect())
    }

    /// The tree of the repository's last commit, in which the files in `project` replace the project's folder.
    pub(super) fn tree_of(&self, project: &Path) -> anyhow::Result<String> {
        let index = self.scratch.path().join("project");
        let _ = fs::remove_file(&index);
        succeed(
            self.with_index(&index, ["add", "--force", "--all", "."])
                .env("GIT_DIR", &self.folder)
                .env("GIT_WORK_TREE", project)
                .current_dir(project),
        )?;
        succeed(&mut self.with_index(&index, ["write-tree"]))
    }

    /// The number of files in the project's folder that differ from `tree`.
    pub(super) fn files_unlike(&self, tree: &str) -> anyhow::Result<usize> {
        let head = self.project_of("HEAD")?;
        Ok(self
            .ask(["diff-tree", "-r", "--name-only", tree, &head])?
            .lines()
            .count())
    }

    /// Creates a commit with the difference between two trees of the project's folder.
    pub(super) fn change(&self, then: &str, now: &str, subject: &str) -> anyhow::Result<Change> {
        // If the template changed a file that the project has deleted, git would report a conflict. Such files are left
        // out of both trees.
        let mut left_deleted = Vec::new();
        let head = self.project_of("HEAD")?;
        let deleted = self.ask([
            "diff-tree",
            "-r",
            "-M",
            "--diff-filter=D",
            "--name-only",
            "-z",
            then,
            &head,
        ])?;
        let deleted: Vec<&str> = deleted.split_terminator('\0').collect();
        let changed = self.ask(["diff-tree", "-r", "--name-only", "-z", then, now])?;
        for path in changed
            .split_terminator('\0')
            .filter(|path| deleted.contains(path))
        {
            left_deleted.push(path.to_owned());
        }
        let [then, now] = [self.without(then, &deleted)?, self.without(now, &deleted)?];

        let base = self.commit(&then, None, "what the template made")?;
        let commit = self.commit(&now, Some(&base), subject)?;
        Ok(Change {
            base,
            commit,
            left_deleted,
        })
    }

    /// Merges the change into the last commit, without writing to the index or the working tree. Needs git 2.40.
    pub(super) fn preview(&self, change: &Change) -> anyhow::Result<Merge> {
        let mut merge = self.command(["merge-tree", "--write-tree", "--name-only", "-z"]);
        merge.arg(format!("--merge-base={}", change.base));
        merge.args(["HEAD", &change.commit]);
        let output = merge.output().context("cannot start git")?;
        // The exit code 1 means that there are conflicts.
        ensure!(
            matches!(output.status.code(), Some(0 | 1)),
            "{merge:?} failed:\n{}",
            said(&output)
        );
        let text = String::from_utf8(output.stdout)?;
        // The output has the merged tree, the files with conflicts, an empty field, and messages.
        let mut fields = text.split('\0');
        let tree = fields.next().context("git merge-tree printed no tree")?;
        let unmerged: Vec<&str> = fields.take_while(|path| !path.is_empty()).collect();
        let status = self.ask(["diff", "--name-status", "--no-renames", "-z", "HEAD", tree])?;
        Ok(self.listed(&status, &unmerged))
    }

    /// Merges a change into the working tree.
    pub(super) fn merge(&self, change: &Change) -> anyhow::Result<Merge> {
        let mut pick = self.command(["cherry-pick", "--no-commit", &change.commit]);
        // This last step is the only one that changes something, so it must not stop midway. It runs in a process group
        // of its own, which Ctrl-C does not reach. Its output goes to a file, which exists even if the terminal is
        // closed.
        let words = self.scratch.path().join("picked");
        let picked = pick
            .process_group(0)
            .stdout(Stdio::null())
            .stderr(File::create(&words)?)
            .status()
            .context("cannot start git")?;
        let unmerged = self.ask(["diff", "--name-only", "--diff-filter=U", "-z"])?;
        let unmerged: Vec<&str> = unmerged.split_terminator('\0').collect();
        if !picked.success() && unmerged.is_empty() {
            let words = fs::read_to_string(words)?;
            bail!(
                "git could not merge; nothing was changed:\n{}",
                words.trim()
            );
        }

        let status = self.ask([
            "diff",
            "--cached",
            "--name-status",
            "--no-renames",
            "-z",
            "HEAD",
        ])?;
        Ok(self.listed(&status, &unmerged))
    }

    /// Parses the output of `git diff --name-status -z`, and adds the files with conflicts.
    fn listed(&self, status: &str, unmerged: &[&str]) -> Merge {
        let mut fields = status.split_terminator('\0');
        let mut done = Vec::new();
        while let (Some(kind), Some(path)) = (fields.next(), fields.next()) {
            let verb = match kind {
                _ if unmerged.contains(&path) => continue,
                "A" => "Added",
                "D" => "Deleted",
                _ => "Changed",
            };
            done.push((verb, self.seen_from_project(path)));
        }
        let conflicts = unmerged.iter().map(|path| self.seen_from_project(path));
        done.extend(conflicts.map(|path| ("Conflict", path)));
        Merge {
            done,
            conflicts: !unmerged.is_empty(),
        }
    }

    fn seen_from_project(&self, path: &str) -> String {
        path.strip_prefix(&self.prefix).unwrap_or(path).to_owned()
    }

    /// The tree of the project's folder in a commit.
    fn project_of(&self, commit: &str) -> anyhow::Result<String> {
        let folder = self.prefix.trim_end_matches('/');
        self.ask(["rev-parse", "--verify", &format!("{commit}:{folder}")])
    }

    /// The tree without the files in `paths`.
    fn without(&self, tree: &str, paths: &[&str]) -> anyhow::Result<String> {
        let index = self.scratch.path().join("without");
        let _ = fs::remove_file(&index);
        succeed(&mut self.with_index(&index, ["read-tree", tree]))?;
        if !paths.is_empty() {
            let remove = ["update-index", "--force-remove", "--"];
            succeed(self.with_index(&index, remove).args(paths))?;
        }
        succeed(&mut self.with_index(&index, ["write-tree"]))
    }

    /// Creates an unreferenced commit. It has HEAD's tree, in which `tree` replaces the project's folder.
    fn commit(&self, tree: &str, parent: Option<&str>, subject: &str) -> anyhow::Result<String> {
        let index = self.scratch.path().join("commit");
        let _ = fs::remove_file(&index);
        if self.prefix.is_empty() {
            succeed(&mut self.with_index(&index, ["read-tree", tree]))?;
        } else {
            let folder = self.prefix.trim_end_matches('/');
            succeed(&mut self.with_index(&index, ["read-tree", "HEAD"]))?;
            succeed(
                &mut self.with_index(&index, ["rm", "-r", "--cached", "--quiet", "--", folder]),
            )?;
            let prefix = format!("--prefix={}", self.prefix);
            succeed(&mut self.with_index(&index, ["read-tree", &prefix, tree]))?;
        }
        let tree = succeed(&mut self.with_index(&index, ["write-tree"]))?;
        let mut commit = self.command(["commit-tree", &tree, "-m", subject]);
        if let Some(parent) = parent {
            commit.args(["-p", parent]);
        }
        for who in ["AUTHOR", "COMMITTER"] {
            commit.env(format!("GIT_{who}_NAME"), "cargo chassis");
            commit.env(format!("GIT_{who}_EMAIL"), "cargo-chassis@localhost");
        }
        succeed(&mut commit)
    }

    fn ask<const N: usize>(&self, arguments: [&str; N]) -> anyhow::Result<String> {
        succeed(&mut self.command(arguments))
    }

    fn with_index<const N: usize>(&self, index: &Path, arguments: [&str; N]) -> Command {
        let mut git = self.command(arguments);
        git.env("GIT_INDEX_FILE", index);
        git
    }

    fn command(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
        let mut git = Command::new("git");
        git.current_dir(&self.top).args(arguments);
        git
    }
}

/// Runs a command and returns its output. Fails if the command fails.
fn succeed(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().context("cannot start git")?;
    ensure!(
        output.status.success(),
        "{command:?} failed:\n{}",
        said(&output)
    );
    Ok(String::from_utf8(output.stdout)?
        .trim_end_matches('\n')
        .to_owned())
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}
