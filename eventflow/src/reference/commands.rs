//! Every command with its flags and environment variables, from the definitions that parse them.

use super::{code, page, table};
use clap::{Arg, ArgAction, Command};

#[test]
fn commands_page_has_every_flag_of_every_command() {
    let mut root = super::command_line();
    root.build();
    let mut text = String::from(
        "`eventflow <command> --help` says the same at more length. A flag wins over its environment variable. Exit codes and signals are \
         at the end of each role's `--help`.\n",
    );
    commands("eventflow", &root, &mut text);
    page(
        "commands.md",
        "Commands, flags and environment variables",
        &text,
    );
}

fn commands(name: &str, command: &Command, text: &mut String) {
    let subcommands: Vec<_> = command
        .get_subcommands()
        .filter(|command| !command.is_hide_set() && command.get_name() != "help")
        .collect();
    // A command that only groups others has nothing of its own to say.
    if subcommands.is_empty() || name == "eventflow recovery" {
        let about = command.get_about().map(ToString::to_string);
        *text += &format!("\n## {name}\n\n{}.\n", about.unwrap_or_default());
        let rows: Vec<_> = command
            .get_arguments()
            .filter(|argument| !argument.is_hide_set())
            .filter(|argument| !["help", "version"].contains(&argument.get_id().as_str()))
            .map(row)
            .collect();
        if !rows.is_empty() {
            *text += "\n";
            *text += &table(&["flag", "environment", "default", "meaning"], rows);
        }
    }
    for command in subcommands {
        commands(&format!("{name} {}", command.get_name()), command, text);
    }
}

fn row(argument: &Arg) -> Vec<String> {
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
