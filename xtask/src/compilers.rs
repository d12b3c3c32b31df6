//! `cargo xtask compilers`: compiles and tests this workspace and generated services with another Rust, in a container.
//!
//! The compilers are Debian's, so that any machine with Docker can install them.

use std::env;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::Context;

use crate::matrix::{Combination, NAME, Servers, generate};
use crate::tools::{build_tool, succeed};

/// Environment variables that CI sets for every call of cargo. The container gets them too.
const PASSED_ON: [&str; 4] = [
    "CARGO_INCREMENTAL",
    "CARGO_PROFILE_DEV_DEBUG",
    "CARGO_TERM_COLOR",
    "RUST_TEST_THREADS",
];

/// The flags of `cargo xtask compilers`.
#[derive(clap::Args)]
pub(crate) struct Args {
    which: Which,

    /// Only Clippy with warnings as errors, no tests
    #[arg(long)]
    lints: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Which {
    /// The newest in any of Debian's suites
    Newest,
    /// The oldest that Debian's mirrors still have at or above the `rust-version` of the tests
    Oldest,
    /// The newest, for arm64: a service is run under qemu
    Arm64,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let (name, dockerfile) = match args.which {
        Which::Newest | Which::Arm64 => ("newest", include_str!("compilers/newest.Dockerfile")),
        Which::Oldest => ("oldest", include_str!("compilers/oldest.Dockerfile")),
    };
    let compiler = Compiler::build(name, dockerfile)?;
    let place = tempfile::tempdir()?;
    let tool = build_tool()?;
    if let Which::Arm64 = args.which {
        let service = generate(&[], &tool, place.path())?;
        let mut script = compiler.container(&service)?;
        script.args(["--env", &format!("SERVICE={NAME}")]);
        run_in(
            script,
            compiler.image(),
            &["bash", "-c", include_str!("compilers/arm64.sh")],
        )?;
        return Ok(ExitCode::SUCCESS);
    }

    let clippy = ["cargo", "clippy", "--all-targets", "--all-features"];
    let denied = ["--", "--deny=warnings"];
    let root = crate::root();
    compiler.run(
        &root,
        &[&clippy[..], &["--workspace", "--locked"], &denied].concat(),
        &[],
    )?;
    if !args.lints {
        compiler.run(
            &root,
            &["cargo", "test", "--workspace", "--all-features", "--locked"],
            &[],
        )?;
    }

    let everything = [
        "database=postgres",
        "redis=yes",
        "openapi=yes",
        "otlp=yes",
        "auth=oidc",
    ];
    let services: [Combination; 2] = [vec![], everything.map(str::to_owned).to_vec()];
    let servers = (!args.lints).then(|| Servers::of(&services));
    for (at, answers) in services.iter().enumerate() {
        let place = place.path().join(at.to_string());
        std::fs::create_dir(&place)?;
        let service = generate(answers, &tool, &place)?;
        compiler.run(&service, &[&clippy[..], &denied].concat(), &[])?;
        if let Some(servers) = &servers {
            let variables: Vec<_> = servers.variables().collect();
            compiler.run(&service, &["cargo", "test"], &variables)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// An image with a compiler in it.
struct Compiler {
    name: &'static str,
}

impl Compiler {
    fn build(name: &'static str, dockerfile: &str) -> anyhow::Result<Self> {
        let compiler = Self { name };
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), dockerfile)?;
        let empty = tempfile::tempdir()?;
        let mut build = docker();
        build
            .arg("build")
            .args(["--tag", &compiler.image(), "--file"]);
        succeed(build.arg(file.path()).arg(empty.path()))?;
        let mut version = docker();
        version.args(["run", "--rm", &compiler.image(), "rustc", "--version"]);
        eprint!("{name}: {}", succeed(&mut version)?);
        Ok(compiler)
    }

    fn image(&self) -> String {
        format!("axum-chassis-compiler:{}", self.name)
    }

    /// The beginning of a `docker run` command for a folder, up to the image's name. The container runs as the owner of
    /// this checkout, and has the checkout at the same path as this machine. It also has the packages that cargo has
    /// already fetched.
    fn container(&self, folder: &Path) -> anyhow::Result<Command> {
        let root = crate::root();
        let target = root.join("target/compilers");
        let home = target.join("home");
        std::fs::create_dir_all(home.join("registry"))?;
        let owner = std::fs::metadata(&root)?;
        let same = |path: &Path| format!("{0}:{0}", path.display());
        let (from, to) = (cargo_home().join("registry"), home.join("registry"));
        let registry = format!("{}:{}", from.display(), to.display());
        let mut run = docker();
        run.args(["run", "--rm", "--init", "--workdir"]).arg(folder);
        run.args(["--user", &format!("{}:{}", owner.uid(), owner.gid())]);
        for volume in [same(&root), same(folder), registry] {
            run.args(["--volume", &volume]);
        }
        let target = target.join(self.name);
        run.args(["--env", "HOME=/tmp"]);
        run.args(["--env", &format!("CARGO_HOME={}", home.display())]);
        run.args(["--env", &format!("CARGO_TARGET_DIR={}", target.display())]);
        for name in PASSED_ON {
            run.args(["--env", name]);
        }
        Ok(run)
    }

    /// Runs a command in a folder. The command can reach servers on this machine.
    fn run(
        &self,
        folder: &Path,
        words: &[&str],
        variables: &[(&str, String)],
    ) -> anyhow::Result<()> {
        let mut run = self.container(folder)?;
        run.args(["--network", "host"]);
        for (name, value) in variables {
            run.args(["--env", &format!("{name}={value}")]);
        }
        run_in(run, self.image(), words)
    }
}

fn run_in(mut run: Command, image: String, words: &[&str]) -> anyhow::Result<()> {
    succeed(run.arg(image).args(words))
        .map(|printed| eprint!("{printed}"))
        .with_context(|| format!("`{}` fails with this compiler", words.join(" ")))
}

fn docker() -> Command {
    Command::new("docker")
}

fn cargo_home() -> PathBuf {
    let home = || PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".cargo");
    env::var_os("CARGO_HOME").map_or_else(home, PathBuf::from)
}
