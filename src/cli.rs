//! Command-line flags of every service.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::time::Duration;

use axum_chassis_server::Limits;
use lexopt::prelude::{Long, Short, Value, ValueExt};

use crate::chassis_settings::{ChassisSettings, LoadedSettings};
use crate::error::{Chain, Error};
use crate::settings::{self, SettingsSchema, Sources};
use crate::shared::Build;
use crate::threads;

const HELP: &str = "\
Options:
      --check-config        Validate the settings and exit: 0, or 78 with all errors
      --print-config        Print the effective settings as TOML, redacted, with their origins
      --config-schema       Print the JSON Schema of the settings
      --health-check [URL]  Check the readiness of a running service: exit 0 or 1
      --set KEY=VALUE       Set a key, such as server.port=8081; may be repeated
      --version             Print name, version, commit, build time and compiler
  -h, --help                Print this

Settings come from config/default.toml, config/{RUN_ENV}.toml, /var/secrets, PORT, RUST_LOG,
LOG_FORMAT, DATABASE_URL, REDIS_URL, APP__SECTION__KEY variables and --set: later ones win.
APP_CONFIG_DIR and APP_SECRETS_DIR name other directories.
";

/// The timeout of each step of a health check: connecting, writing, and each read.
const HEALTH_CHECK_TIMEOUT: Duration = Duration::from_secs(3);

/// A command of the service, as `--help` lists it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CommandInfo {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
}

/// The operation that the command line selects.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Run,
    Command(&'static str),
    CheckConfig,
    PrintConfig,
    ConfigSchema,
    HealthCheck(Option<String>),
    Version,
    Help,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub(crate) operation: Operation,
    sets: Vec<String>,
}

/// Parses the words of a command line, without the program's name.
pub(crate) fn parse(
    words: impl IntoIterator<Item = OsString>,
    commands: &[CommandInfo],
) -> Result<Arguments, lexopt::Error> {
    let mut parser = lexopt::Parser::from_args(words);
    let mut arguments = Arguments {
        operation: Operation::Run,
        sets: Vec::new(),
    };
    while let Some(argument) = parser.next()? {
        let operation = match argument {
            Long("check-config") => Operation::CheckConfig,
            Long("print-config") => Operation::PrintConfig,
            Long("config-schema") => Operation::ConfigSchema,
            Long("health-check") => {
                let given = parser.optional_value();
                let url = match given {
                    Some(url) => Some(url),
                    // The URL may also be the next argument: `--health-check http://...`
                    None => parser.try_raw_args().and_then(|mut rest| {
                        rest.next_if(|word| !word.to_string_lossy().starts_with('-'))
                    }),
                };
                Operation::HealthCheck(url.map(|url| url.string()).transpose()?)
            }
            Long("set") => {
                arguments.sets.push(parser.value()?.string()?);
                continue;
            }
            Long("version") | Short('V') => Operation::Version,
            Long("help") | Short('h') => Operation::Help,
            Value(word) if !commands.is_empty() => {
                let Some(command) = commands.iter().find(|command| word == command.name) else {
                    let names: Vec<_> = commands.iter().map(|command| command.name).collect();
                    return Err(format!(
                        "unknown command {word:?}, expected one of: {}",
                        names.join(", ")
                    )
                    .into());
                };
                Operation::Command(command.name)
            }
            Value(_) | Long(_) | Short(_) => return Err(argument.unexpected()),
        };
        if arguments.operation != Operation::Run && arguments.operation != operation {
            return Err(
                "conflicting arguments, expected one command or one option (besides --set)".into(),
            );
        }
        arguments.operation = operation;
    }
    Ok(arguments)
}

/// The sources of the settings, including `--set`.
pub(crate) fn sources(arguments: &Arguments) -> Sources {
    arguments
        .sets
        .iter()
        .fold(Sources::from_env(), |sources, set| sources.with_set(set))
}

/// Runs the operation that a flag selects, and returns its exit code. The service itself and its commands are not run
/// here: for these, the result is `None`. `check` loads the settings and the configuration of the exporters.
pub(crate) fn answer<B: SettingsSchema>(
    arguments: &Arguments,
    sources: &Sources,
    build: &Build,
    commands: &[CommandInfo],
    check: impl FnOnce() -> Result<LoadedSettings<B>, Error>,
) -> Option<ExitCode> {
    let load = || settings::load::<ChassisSettings, B>(sources);
    match &arguments.operation {
        Operation::Run | Operation::Command(_) => None,
        Operation::CheckConfig => Some(match check() {
            Ok(loaded) => {
                for warning in loaded.effective.warnings() {
                    complain(&format!("warning: {warning}\n"));
                }
                print("the settings are valid\n")
            }
            Err(error) => fatal(&error),
        }),
        Operation::PrintConfig => Some(match load() {
            Ok(loaded) => print(&(loaded.effective.to_toml() + &derived(&loaded.framework))),
            Err(invalid) => fatal(&Error::Settings(invalid.into())),
        }),
        Operation::ConfigSchema => Some(print(&format!(
            "{:#}\n",
            settings::schema::<ChassisSettings, B>()
        ))),
        Operation::HealthCheck(Some(url)) => Some(health_check(url)),
        Operation::HealthCheck(None) => Some(match load() {
            Ok(loaded) => {
                let port = loaded.framework.admin.port;
                health_check(&format!("http://127.0.0.1:{port}/health/readiness"))
            }
            Err(invalid) => fatal(&Error::Settings(invalid.into())),
        }),
        Operation::Version => {
            let Build {
                name,
                version,
                revision,
                created,
                rustc,
            } = build;
            Some(print(&format!(
                "{name} {version} (commit {revision}, built {created}, rustc {rustc})\n"
            )))
        }
        Operation::Help => {
            let Build { name, version, .. } = build;
            let usage = if commands.is_empty() {
                "[OPTIONS]"
            } else {
                "[COMMAND] [OPTIONS]"
            };
            let help = help(commands);
            Some(print(&format!(
                "{name} {version}\n\nUsage: {name} {usage}\n\n{help}"
            )))
        }
    }
}

/// The values that result on this machine from settings that depend on its memory limit and CPUs, as TOML comments.
fn derived(sections: &ChassisSettings) -> String {
    let limits = Limits::new(&sections.limits, sections.server.max_connections).to_string();
    let mut text = String::from("\n# In force here:\n");
    for line in limits.lines() {
        let _ = writeln!(text, "# {line}");
    }
    let threads = threads::describe(sections.service.threads);
    let _ = writeln!(text, "# service.threads = {threads}");
    text
}

/// The part of `--help` that lists commands and options.
fn help(commands: &[CommandInfo]) -> String {
    if commands.is_empty() {
        return HELP.to_owned();
    }
    let width = commands.iter().map(|command| command.name.len()).max();
    let width = width.unwrap_or_default().max(20);
    let mut help =
        String::from("Commands (none opens a port; without a command, the service runs):\n");
    for CommandInfo { name, about } in commands {
        let _ = writeln!(help, "  {name:width$}  {about}");
    }
    help + "\n" + HELP
}

/// Reports an invalid command line; the exit code is 64, `EX_USAGE`.
pub(crate) fn usage_error(error: &lexopt::Error, commands: &[CommandInfo]) -> ExitCode {
    complain(&format!("error: {error}\n\n{}", help(commands)));
    ExitCode::from(64)
}

/// Prints an error that occurs before the log exists, and returns its exit code.
pub(crate) fn fatal(error: &Error) -> ExitCode {
    complain(&match error {
        // Each error has a line of its own.
        Error::Settings(faults) => {
            let faults = faults.to_string().replace('\n', "\n  ");
            format!("error: {error}\n  {faults}\n")
        }
        _ => format!("error: {}\n", Chain(error)),
    });
    error.exit_code()
}

fn print(text: &str) -> ExitCode {
    // A closed pipe (`| head`) is not a failure.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn complain(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

fn health_check(url: &str) -> ExitCode {
    match ask(url) {
        Ok(status) if (200..300).contains(&status) => ExitCode::SUCCESS,
        Ok(status) => {
            complain(&format!("{url}: status {status}, expected 200\n"));
            ExitCode::FAILURE
        }
        Err(error) => {
            complain(&format!("{url}: {error}\n"));
            ExitCode::FAILURE
        }
    }
}

/// Returns the status of a GET request. The server is also a chassis, so this minimal HTTP client of 35 lines is
/// enough. With `minreq` instead, each service would have to compile one more crate, and its binary would be 80 kB
/// larger.
fn ask(url: &str) -> std::io::Result<u16> {
    let wrong =
        |problem: &str| std::io::Error::new(std::io::ErrorKind::InvalidInput, problem.to_owned());
    let uri: http::Uri = url
        .parse()
        .map_err(|_| wrong("invalid URL, expected http://HOST:PORT/PATH"))?;
    let (Some("http"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(wrong("invalid URL, expected http://HOST:PORT/PATH"));
    };
    let address = (
        authority.host().trim_matches(['[', ']']),
        authority.port_u16().unwrap_or(80),
    )
        .to_socket_addrs()?
        .next()
        .ok_or_else(|| wrong("the host has no address"))?;
    let mut stream = TcpStream::connect_timeout(&address, HEALTH_CHECK_TIMEOUT)?;
    stream.set_read_timeout(Some(HEALTH_CHECK_TIMEOUT))?;
    stream.set_write_timeout(Some(HEALTH_CHECK_TIMEOUT))?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = String::new();
    let _ = write!(
        request,
        "GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let mut head = Vec::new();
    stream.take(64).read_to_end(&mut head)?;
    std::str::from_utf8(&head)
        .ok()
        .and_then(|head| head.strip_prefix("HTTP/1.1 "))
        .and_then(|rest| rest.get(..3)?.parse().ok())
        .ok_or_else(|| wrong("the response is not HTTP/1.1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Arguments, String> {
        let commands = [CommandInfo {
            name: "migrate",
            about: "Applies the migrations",
        }];
        let words = line.split_whitespace().map(OsString::from);
        parse(words, &commands).map_err(|error| error.to_string())
    }

    #[test]
    fn flags_select_the_action() {
        let cases = [
            ("", Operation::Run),
            ("--check-config", Operation::CheckConfig),
            ("--health-check", Operation::HealthCheck(None)),
            (
                "--health-check http://x:1/y",
                Operation::HealthCheck(Some("http://x:1/y".to_owned())),
            ),
            (
                "--health-check=http://x:1/y",
                Operation::HealthCheck(Some("http://x:1/y".to_owned())),
            ),
            ("--health-check --set a=b", Operation::HealthCheck(None)),
            ("-h", Operation::Help),
            ("migrate --set a=b", Operation::Command("migrate")),
            ("--set a=b migrate", Operation::Command("migrate")),
        ];
        for (line, operation) in cases {
            assert_eq!(parsed(line).expect(line).operation, operation, "{line}");
        }
        let sets = parsed("--set a=b --set=c=d").expect("two keys").sets;
        assert_eq!(sets, ["a=b", "c=d"]);
    }

    #[test]
    fn a_flag_that_does_not_exist_is_named() {
        for (line, said) in [
            ("--verbose", "--verbose"),
            ("run", "run"),
            ("--set", "--set"),
        ] {
            let error = parsed(line).expect_err(line);
            assert!(error.contains(said), "{line}: {error}");
        }
        for line in ["--version --check-config", "migrate --version", "migrat"] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }
}
