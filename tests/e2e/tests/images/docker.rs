//! Docker for tests: build a folder, run the image, look at the container.

use std::{
    collections::BTreeSet,
    env, fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::{
        Once, OnceLock, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use e2e::{root, succeed, wait_for};

/// The restrictions of a hardened cluster.
const HARDENED: [&str; 3] = [
    "--read-only",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
];

/// The first client that can build with BuildKit: some have no such part.
pub(crate) fn docker() -> Command {
    static CLIENT: OnceLock<PathBuf> = OnceLock::new();
    let client = CLIENT.get_or_init(|| {
        let path = env::var_os("PATH").unwrap_or_default();
        env::var_os("DOCKER")
            .map(PathBuf::from)
            .into_iter()
            .chain(env::split_paths(&path).map(|directory| directory.join("docker")))
            .chain([PathBuf::from("/usr/bin/docker")])
            .find(|client| builds(client))
            .expect("a docker client with BuildKit on PATH, or named by DOCKER")
    });
    let mut command = Command::new(client);
    command.env("DOCKER_BUILDKIT", "1");
    command
}

fn builds(client: &Path) -> bool {
    Command::new(client)
        .args(["build", "--help"])
        .env("DOCKER_BUILDKIT", "1")
        .output()
        .is_ok_and(|output| output.status.success())
}

/// A name for something that nobody else has.
fn unique() -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("e2e-{}-{count}", process::id())
}

/// Runs a docker command that has to succeed; its output.
fn run(command: &mut Command) -> String {
    String::from_utf8_lossy(&succeed(command).stdout)
        .trim()
        .to_owned()
}

/// Held during a build; exclusively if its time is measured.
static BUILDING: RwLock<()> = RwLock::new(());

/// Builds what no project has a part in, before anything else: two builds that run these steps at once leave BuildKit with
/// two outcomes of them, and what one build makes of the one is not found by another that begins at the other.
fn build_common_stages() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let nothing = tempfile::tempdir().expect("a folder");
        let file = root().join("Dockerfile.distroless");
        let mut command = docker();
        command.args(["build", "--quiet", "--target=compiler", "--file"]);
        run(command.arg(file).arg(nothing.path()));
    });
}

/// A `docker build` to come.
pub(crate) struct Build {
    command: Command,
    context: PathBuf,
    tag: String,
}

impl Build {
    /// With the project's own Dockerfile, or with this repository's.
    pub(crate) fn of(context: impl Into<PathBuf>, dockerfile: &str) -> Self {
        let tag = unique();
        let context = context.into();
        let own = context.join(dockerfile);
        let file = if own.exists() {
            own
        } else {
            root().join(dockerfile)
        };
        let mut command = docker();
        command
            .args(["build", "--progress=plain", "--tag", &tag, "--file"])
            .arg(file);
        Self {
            command,
            context,
            tag,
        }
    }

    pub(crate) fn arg(self, key: &str, value: &str) -> Self {
        self.option(&format!("--build-arg={key}={value}"))
    }

    /// Without the optimizer's work, which is most of a build, where nothing is looked at that it makes.
    pub(crate) fn unoptimized(self) -> Self {
        self.arg("PROFILE", "dev")
    }

    pub(crate) fn option(mut self, option: &str) -> Self {
        self.command.arg(option);
        self
    }

    pub(crate) fn image(self) -> Image {
        let _beside_others = BUILDING.read().unwrap_or_else(PoisonError::into_inner);
        self.made()
    }

    /// Built with no other build beside it, which would take its processors and spoil the timing.
    pub(crate) fn image_alone(self) -> Image {
        let _alone = BUILDING.write().unwrap_or_else(PoisonError::into_inner);
        self.made()
    }

    fn made(mut self) -> Image {
        let (took, output) = self.build();
        let log = output.unwrap_or_else(|log| {
            panic!(
                "{:?}
{log}",
                self.command
            )
        });
        Image {
            tag: self.tag,
            took,
            log,
        }
    }

    /// The log of a build that has to fail.
    pub(crate) fn failure(mut self) -> String {
        let _beside_others = BUILDING.read().unwrap_or_else(PoisonError::into_inner);
        self.build().1.expect_err("the build fails")
    }

    fn build(&mut self) -> (Duration, Result<String, String>) {
        build_common_stages();
        let start = Instant::now();
        let output = self
            .command
            .arg(&self.context)
            .output()
            .expect("docker starts");
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        (
            start.elapsed(),
            if output.status.success() {
                Ok(log)
            } else {
                Err(log)
            },
        )
    }
}

/// An image, removed at the end of the test.
pub(crate) struct Image {
    tag: String,
    /// The duration of its build.
    pub(crate) took: Duration,
    pub(crate) log: String,
}

impl Image {
    /// Docker's answer to a template about the image.
    pub(crate) fn inspect(&self, template: &str) -> String {
        run(docker().args(["image", "inspect", "--format", template, &self.tag]))
    }

    /// The packages that its build compiled.
    pub(crate) fn compiled(&self) -> BTreeSet<&str> {
        let lines = self.log.lines();
        lines
            .filter_map(|line| line.split_once(" Compiling ")?.1.split(' ').next())
            .collect()
    }

    /// Was this step's outcome found in the layer cache?
    pub(crate) fn found(&self, step: &str) -> bool {
        let mut lines = self.log.lines();
        let Some(start) = lines.find(|line| line.contains(&format!("[{step}]"))) else {
            return false;
        };
        let number = start.split(' ').next().unwrap_or_default();
        let cached = format!("{number} CACHED");
        lines.any(|line| line == cached)
    }

    pub(crate) fn megabytes(&self) -> f64 {
        self.inspect("{{.Size}}").parse::<f64>().expect("a number") / 1e6
    }

    /// The output of `docker run`.
    pub(crate) fn prints(&self) -> String {
        run(docker().args(["run", "--rm"]).args(HARDENED).arg(&self.tag))
    }

    /// Starts it with a read-only root and no rights at all.
    pub(crate) fn start(&self) -> Container {
        self.start_with(&[])
    }

    pub(crate) fn start_with(&self, options: &[&str]) -> Container {
        let mut command = docker();
        command.args([
            "run",
            "--detach",
            "--publish=127.0.0.1::8080",
            "--publish=127.0.0.1::9090",
        ]);
        Container {
            id: run(command.args(HARDENED).args(options).arg(&self.tag)),
        }
    }

    /// Runs the service with arguments, such as a command's name, to its end; it has to succeed.
    pub(crate) fn run(&self, options: &[&str], arguments: &[&str]) {
        let mut command = docker();
        command.args(["run", "--rm"]).args(HARDENED).args(options);
        run(command.arg(&self.tag).args(arguments));
    }

    /// The output of a new container that runs `program` in place of the service.
    pub(crate) fn output(&self, program: &str, arguments: &[&str]) -> String {
        run(docker()
            .args(["run", "--rm", "--entrypoint", program])
            .args(HARDENED)
            .arg(&self.tag)
            .args(arguments))
    }

    /// The bytes of the service's binary.
    pub(crate) fn binary(&self) -> Vec<u8> {
        let container = Container {
            id: run(docker().args(["create", &self.tag])),
        };
        let file = env::temp_dir().join(&self.tag);
        run(docker()
            .arg("cp")
            .arg(format!("{}:/app/service", container.id))
            .arg(&file));
        let bytes = fs::read(&file).expect("docker copied it");
        _ = fs::remove_file(file);
        bytes
    }

    /// Everything in it, layers and settings, as `docker save` writes it.
    pub(crate) fn archive(&self) -> Vec<u8> {
        docker()
            .args(["save", &self.tag])
            .output()
            .expect("docker starts")
            .stdout
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        _ = docker().args(["rmi", "--force", &self.tag]).output();
    }
}

/// A container, removed at the end of the test.
pub(crate) struct Container {
    id: String,
}

impl Container {
    pub(crate) fn inspect(&self, template: &str) -> String {
        run(docker().args(["inspect", "--format", template, &self.id]))
    }

    /// The body of a 200 from the service's port, as soon as there is one.
    pub(crate) fn get(&self, path: &str) -> String {
        self.get_from(8080, path)
    }

    pub(crate) fn get_from(&self, port: u16, path: &str) -> String {
        let mapped = self.mapped(port);
        let request = format!("GET {path} HTTP/1.1\r\nhost: service\r\nconnection: close\r\n\r\n");
        wait_for(path, || {
            let answer = ask(&mapped, &request)?;
            let (head, body) = answer.split_once("\r\n\r\n")?;
            head.starts_with("HTTP/1.1 200 ").then(|| body.to_owned())
        })
    }

    /// The whole answer of the service's port to JSON.
    pub(crate) fn post(&self, path: &str, json: &str) -> String {
        let length = json.len();
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: service\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n{json}"
        );
        ask(&self.mapped(8080), &request).expect("an answer")
    }

    /// Where this machine has a port of the container.
    fn mapped(&self, port: u16) -> String {
        run(docker().args(["port", &self.id, &port.to_string()]))
    }

    /// Runs the service's binary once more beside the service; did it succeed?
    pub(crate) fn service(&self, arguments: &[&str]) -> bool {
        docker()
            .args(["exec", &self.id, "/app/service"])
            .args(arguments)
            .output()
            .is_ok_and(|output| output.status.success())
    }

    pub(crate) fn logs(&self) -> String {
        let output = docker()
            .args(["logs", &self.id])
            .output()
            .expect("docker starts");
        String::from_utf8_lossy(&output.stdout).into_owned()
            + &*String::from_utf8_lossy(&output.stderr)
    }

    /// Sends SIGTERM to the service, which is PID 1, and kills it after 30 s; its exit code.
    pub(crate) fn stop(&self) -> i32 {
        run(docker().args(["stop", "--time=30", &self.id]));
        self.inspect("{{.State.ExitCode}}")
            .parse()
            .expect("a number")
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        _ = docker().args(["rm", "--force", &self.id]).output();
    }
}

/// A network with Docker's name server, removed at the end of the test.
pub(crate) struct Network(pub(crate) String);

impl Network {
    pub(crate) fn new() -> Self {
        let name = unique();
        run(docker().args(["network", "create", &name]));
        Self(name)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        _ = docker().args(["network", "rm", &self.0]).output();
    }
}

fn ask(address: &str, request: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    // A connection that is cut off, as Docker's proxy does before the service listens, is not a response.
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}
