//! Every command with its flags and environment variables, from the definitions that parse them.

use super::{code, page, table};
use clap::{Arg, ArgAction, Command};

/// Flags that several commands share. They are printed once, and linked from each command that has all of them.
struct Shared {
    title: &'static str,
    /// The command whose flags they are read from
    command: &'static str,
    headings: &'static [&'static str],
    /// Ids of flags without a heading
    ids: &'static [&'static str],
}

const SHARED: [Shared; 4] = [
    Shared {
        title: "Process of a role",
        command: "producer",
        headings: &[],
        ids: &["log_json", "check", "ops_listen"],
    },
    Shared {
        title: "Connection to Kafka",
        command: "producer",
        headings: &["Kafka"],
        ids: &[],
    },
    Shared {
        title: "Which dead letters",
        command: "dlq ls",
        headings: &["Which dead letters"],
        ids: &[],
    },
    Shared {
        title: "Connection of on-call's commands",
        command: "dlq ls",
        headings: &[
            "Connection to recovery",
            "Settings of --database, for work without a running role",
        ],
        ids: &["json"],
    },
];

impl Shared {
    fn has(&self, argument: &Arg) -> bool {
        let heading = argument.get_help_heading().unwrap_or_default();
        self.headings.contains(&heading) || self.ids.contains(&argument.get_id().as_str())
    }

    fn section(&self, root: &Command) -> Section {
        let command = self.command.split(' ').fold(root, |command, name| {
            command
                .find_subcommand(name)
                .unwrap_or_else(|| panic!("{name} is a command"))
        });
        let rows = rows(command, |argument| self.has(argument));
        assert!(!rows.is_empty(), "{} has flags", self.title);
        Section {
            title: self.title,
            rows,
        }
    }
}

/// Shared flags as they are printed.
struct Section {
    title: &'static str,
    rows: Vec<Row>,
}

/// A flag, its environment variable, its default and its meaning.
type Row = Vec<String>;

#[test]
fn commands_page_has_every_flag_of_every_command() {
    let mut root = super::command_line();
    root.build();
    let mut text = String::from(
        "`eventflow <command> --help` says the same at more length. A flag wins over its environment variable. Exit codes and signals are \
         at the end of each role's `--help`. Flags that several commands share come first.\n",
    );
    let sections = SHARED.map(|shared| shared.section(&root));
    for section in &sections {
        text += &format!("\n## {}\n\n", section.title);
        text += &flags(section.rows.clone());
    }
    commands("eventflow", &root, None, &sections, &mut text);
    page(
        "commands.md",
        "Commands, flags and environment variables",
        &text,
    );
}

/// Prints a command and those below it; `above` is the command above with its flags, where that is printed too.
fn commands(
    name: &str,
    command: &Command,
    above: Option<(&str, &[Row])>,
    sections: &[Section],
    text: &mut String,
) {
    let subcommands: Vec<_> = command
        .get_subcommands()
        .filter(|command| !command.is_hide_set() && command.get_name() != "help")
        .collect();
    let all = rows(command, |_| true);
    // A command that only groups others has nothing of its own to say.
    let is_printed =
        subcommands.is_empty() || ["eventflow recovery", "eventflow simulator"].contains(&name);
    if is_printed {
        let about = command.get_about().map(ToString::to_string);
        *text += &format!("\n## {name}\n\n{}.\n", about.unwrap_or_default());
        match above {
            Some((above, rows)) if rows == all.as_slice() => {
                *text += &format!("\nFlags: those of {}.\n", link(above));
            }
            _ => *text += &flags_of_command(&all, sections),
        }
    }
    for command in subcommands {
        let above = is_printed.then_some((name, all.as_slice()));
        let name = format!("{name} {}", command.get_name());
        commands(&name, command, above, sections, text);
    }
}

/// The flags that only this command has, and links to those it shares.
fn flags_of_command(all: &[Row], sections: &[Section]) -> String {
    let shared: Vec<_> = sections
        .iter()
        .filter(|section| section.rows.iter().all(|row| all.contains(row)))
        .collect();
    let own: Vec<_> = all
        .iter()
        .filter(|row| !shared.iter().any(|section| section.rows.contains(row)))
        .cloned()
        .collect();
    let mut text = String::new();
    if !own.is_empty() {
        text += "\n";
        text += &flags(own);
    }
    if !shared.is_empty() {
        let links: Vec<_> = shared.iter().map(|section| link(section.title)).collect();
        text += &format!("\nShared flags: {}.\n", links.join(", "));
    }
    text
}

fn flags(rows: Vec<Row>) -> String {
    table(&["flag", "environment", "default", "meaning"], rows)
}

/// A link to a heading of this page.
fn link(heading: &str) -> String {
    format!("[{heading}](#{})", super::documents::anchor(heading))
}

/// The visible flags of a command that are wanted.
fn rows(command: &Command, is_wanted: impl Fn(&Arg) -> bool) -> Vec<Row> {
    command
        .get_arguments()
        .filter(|argument| !argument.is_hide_set())
        .filter(|argument| !["help", "version"].contains(&argument.get_id().as_str()))
        .filter(|argument| is_wanted(argument))
        .map(row)
        .collect()
}

fn row(argument: &Arg) -> Row {
    let takes_value = matches!(argument.get_action(), ArgAction::Set | ArgAction::Append);
    let values = argument
        .get_value_names()
        .unwrap_or_default()
        .iter()
        .map(|name| name.as_str())
        .collect::<Vec<_>>()
        .join(" ");
    let flag = match argument.get_long() {
        Some(long) if takes_value => format!("--{long} {values}"),
        Some(long) => format!("--{long}"),
        None => values,
    };
    let defaults = argument.get_default_values();
    let default = if takes_value && !argument.is_hide_default_value_set() {
        defaults
            .iter()
            .map(|value| code(&value.to_string_lossy()))
            .collect::<Vec<_>>()
            .join(" ")
    } else {
        String::new()
    };
    let help = argument
        .get_help()
        .map(ToString::to_string)
        .unwrap_or_default();
    let environment = argument.get_env().map(|name| code(&name.to_string_lossy()));
    vec![code(&flag), environment.unwrap_or_default(), default, help]
}
