//! `cargo chassis new ../orders --run`: a service of one's own, generated from this checkout.

mod run;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, bail, ensure};
use cargo_generate::{GenerateArgs, TemplatePath, Vcs};

/// Its flags.
#[derive(clap::Args)]
pub struct Args {
    /// Where the service goes; the last part of the path is its name
    path: PathBuf,

    /// What the service does, in a sentence
    #[arg(long)]
    description: Option<String>,

    /// Starts the service once it is built, and runs it until Ctrl-C
    #[arg(long)]
    run: bool,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let service = Target::parse(&args.path)?;
    let checkout = root();

    say(format_args!("Generating {}", service.path().display()));
    let mut define = vec![
        "chassis=path".to_owned(),
        format!(
            "chassis-path={}",
            relative(&checkout, &service.path()).display()
        ),
        "workspace=own".to_owned(),
    ];
    define.extend(args.description.map(|text| format!("description={text}")));
    let folder = service.generate(&checkout.join("template"), define)?;

    git_init(&folder);
    // The versions that this checkout was tested with, most of which are downloaded by now.
    std::fs::copy(checkout.join("Cargo.lock"), folder.join("Cargo.lock"))
        .context("cannot copy Cargo.lock")?;

    say(format_args!(
        "Building it. The first time, this compiles every dependency: a minute or two"
    ));
    let built = cargo(&folder)
        .arg("build")
        .status()
        .context("cannot start cargo")?;
    ensure!(built.success(), "{} does not build", folder.display());

    if args.run {
        return run::run(&service.name, &folder);
    }
    say(format_args!(
        "Built. To see it answer: cd {} && cargo run",
        args.path.display()
    ));
    Ok(ExitCode::SUCCESS)
}

/// This checkout.
fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The folder of a service to be.
pub struct Target {
    name: String,
    parent: PathBuf,
}

impl Target {
    /// Takes a path that does not exist yet, or an empty folder, apart.
    pub fn parse(path: &Path) -> anyhow::Result<Self> {
        let path = std::path::absolute(path)?;
        // Resolves a `..` that the path ends with.
        let path = path.canonicalize().unwrap_or(path);
        let (Some(name), Some(parent)) = (path.file_name(), path.parent()) else {
            bail!("{} has no name to call the service by", path.display());
        };
        let name = name
            .to_str()
            .context("the name of a service is plain text")?
            .to_owned();
        match path.read_dir() {
            Ok(mut entries) => ensure!(
                entries.next().is_none(),
                "{} is there already and not empty; nothing in it was changed",
                path.display()
            ),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(error).with_context(|| format!("cannot use {}", path.display()));
            }
        }
        std::fs::create_dir_all(parent)
            .with_context(|| format!("cannot create {}", parent.display()))?;
        Ok(Self {
            name,
            parent: parent.canonicalize()?,
        })
    }

    fn path(&self) -> PathBuf {
        self.parent.join(&self.name)
    }

    /// Fills the folder from `template`, and says where it is.
    pub fn generate(&self, template: &Path, define: Vec<String>) -> anyhow::Result<PathBuf> {
        let folder = self.path();
        if folder.exists() {
            // cargo-generate wants to make the folder itself.
            std::fs::remove_dir(&folder)?;
        }
        let generated = cargo_generate::generate(GenerateArgs {
            template_path: TemplatePath {
                path: Some(template.display().to_string()),
                ..TemplatePath::default()
            },
            name: Some(self.name.clone()),
            destination: Some(self.parent.clone()),
            // Keeps the name as it is; the template refuses what cannot be one.
            force: true,
            silent: true,
            quiet: true,
            no_workspace: true,
            no_fmt: true,
            vcs: Some(Vcs::None),
            define,
            ..GenerateArgs::default()
        });
        if generated.is_err() {
            // Empty, if it is there at all. The reason has been printed.
            let _ = std::fs::remove_dir(&folder);
            bail!("nothing was generated");
        }
        Ok(folder)
    }
}

/// `cargo` in another folder.
fn cargo(folder: &Path) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(folder);
    cargo
}

/// Starts a repository, as `cargo new` does: unless there is one around the folder already.
fn git_init(folder: &Path) {
    let git = |arguments: &[&str]| {
        let git = Command::new("git")
            .current_dir(folder)
            .args(arguments)
            .output();
        git.is_ok_and(|output| output.status.success())
    };
    if !git(&["rev-parse", "--is-inside-work-tree"]) && !git(&["init"]) {
        say(format_args!(
            "git could not start a repository there; the service does without"
        ));
    }
}

/// `to`, seen from the folder `from`; both absolute.
fn relative(to: &Path, from: &Path) -> PathBuf {
    let shared = to
        .components()
        .zip(from.components())
        .take_while(|(a, b)| a == b)
        .count();
    let up = from.components().skip(shared).map(|_| "..");
    up.map(Path::new)
        .map(Path::as_os_str)
        .chain(to.components().skip(shared).map(|c| c.as_os_str()))
        .collect()
}

fn say(what: std::fmt::Arguments<'_>) {
    eprintln!("{what}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_told_from_the_folder_it_will_be_used_in() {
        for (to, from, seen) in [
            ("/src/chassis", "/src/orders", "../chassis"),
            ("/src/chassis", "/src/chassis/orders", ".."),
            ("/src/chassis", "/home/me/orders", "../../../src/chassis"),
        ] {
            assert_eq!(relative(Path::new(to), Path::new(from)), Path::new(seen));
        }
    }

    #[test]
    fn a_folder_with_something_in_it_is_left_alone() {
        let full = tempfile::tempdir().expect("a folder");
        std::fs::write(full.path().join("mine"), "").expect("a file");
        let refused = Target::parse(full.path())
            .map(|_| ())
            .expect_err("it is not empty");
        assert!(refused.to_string().contains("not empty"), "{refused}");
    }
}
