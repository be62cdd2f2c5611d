//! Every problem there is, as a person gets to read it.

use std::path::Path;

use crate::Environment;
use crate::code;
use crate::load::tests::environment;

/// Stands above each case; the case itself begins in line 3.
const HEAD: &str = "[destination]\ncollector.address = 'collector'\n";

/// What is wrong with `text` below [`HEAD`]: codes, and what is shown.
fn problems(text: &str, environment: &Environment) -> (Vec<&'static str>, String) {
    let whole = format!("{HEAD}{text}");
    match crate::parse(&whole, Path::new("skiff.toml"), environment) {
        Ok(settings) => panic!("no problem with {text:?}: {settings:?}"),
        Err(problems) => (problems.iter().map(|problem| problem.code).collect(), problems.to_string()),
    }
}

/// A sound watch of `/w` in lines 3 to 6, with `more` from line 7.
fn watch(more: &str) -> String {
    format!("[[watch]]\nname = 'w'\npath = '/w'\nto = 'collector'\n{more}\n")
}

/// A sound watch called `name` of `path`.
fn watch_of(name: &str, path: &str, more: &str) -> String {
    format!("[[watch]]\nname = '{name}'\npath = '{path}'\nto = 'collector'\n{more}\n")
}

/// A sound watch, and a destination in lines 7 and 8 with `more` from line 9.
fn destination(more: &str) -> String {
    watch(&format!("[destination.second]\naddress = 'second'\n{more}\n"))
}

/// A sound watch, and a destination in line 7 with `address` in line 8.
fn address(address: &str) -> String {
    watch(&format!("[destination.second]\naddress = '{address}'\n"))
}

/// The code, what stands below [`HEAD`], and what is shown.
type Case = (&'static str, String, &'static str);

/// Where no variable is set and the machine has no name.
#[rustfmt::skip] // one case a line
fn cases_of_a_bare_machine() -> Vec<Case> {
    vec![
        (code::NO_CREDENTIALS, destination("identity = '${credential:key}'"), r#"skiff.toml:9: destination.second.identity: there is no credential "key", because CREDENTIALS_DIRECTORY is not set, add LoadCredential=key to the systemd unit"#),
        (code::NO_HOME, destination("identity = '~/.ssh/key'"), r#"skiff.toml:9: destination.second.identity: "~/.ssh/key" needs HOME, which is not set, write the path in full"#),
        (code::BAD_TEMPLATE, destination("path = '{env:SITE}'"), "skiff.toml:9: destination.second.path: {env:SITE} is not known on this machine, write the name itself"),
        (code::BAD_TEMPLATE, destination("path = '{machine_id}'"), "skiff.toml:9: destination.second.path: {machine_id} is not known on this machine, write the name itself"),
    ]
}

fn cases() -> Vec<Case> {
    [cases_of_one_setting(), cases_of_rules()].concat()
}

#[rustfmt::skip] // one case a line
fn cases_of_one_setting() -> Vec<Case> {
    vec![
        (code::SYNTAX, watch("settle = "), "skiff.toml:7: is not TOML: string values must be quoted, expected literal string"),
        (code::UNKNOWN_KEY, watch("settel = '1s'"), r#"skiff.toml:7: watch.w.settel: unknown key, did you mean "settle"?"#),
        (code::UNKNOWN_KEY, watch("colour = 'red'"), "skiff.toml:7: watch.w.colour: unknown key"),
        (code::UNKNOWN_KEY, format!("{}[watches]", watch("")), r#"skiff.toml:8: watches: unknown key, did you mean "watch"?"#),
        (code::UNKNOWN_KEY, watch("[defaults.watch]\ninclud = []"), r#"skiff.toml:8: defaults.watch.includ: unknown key, did you mean "include"?"#),
        (code::UNKNOWN_KEY, destination(r#""a\nb" = 1"#), r"skiff.toml:9: destination.second.a\nb: unknown key"),
        (code::MISSING_KEY, "[[watch]]\npath = '/w'\nto = 'collector'".to_owned(), r#"skiff.toml:3: watch.#1: "name" is missing, add a line such as name = "sensors""#),
        (code::MISSING_KEY, "[[watch]]\nname = 'w'\nto = 'collector'".to_owned(), r#"skiff.toml:3: watch.w: "path" is missing, add a line such as path = "/var/spool/sensors""#),
        (code::MISSING_KEY, "[[watch]]\nname = 'w'\npath = '/w'".to_owned(), r#"skiff.toml:3: watch.w: "to" is missing, name the destination that it delivers to"#),
        (code::MISSING_KEY, watch("[destination.second]"), r#"skiff.toml:7: destination.second: "address" is missing, add a line such as address = "user@host""#),
        (code::WRONG_TYPE, watch("exclude = [\n'*.a',\n5]"), "skiff.toml:9: watch.w.exclude: is a number, but has to be text"),
        (code::WRONG_TYPE, watch("on_conflict = true"), "skiff.toml:7: watch.w.on_conflict: is true or false, but has to be text"),
        (code::WRONG_TYPE, destination("in_flight = '4'"), "skiff.toml:9: destination.second.in_flight: is text, but has to be a whole number"),
        (code::WRONG_TYPE, watch("[log]\nlevel = ['info']"), "skiff.toml:8: log.level: is a list, but has to be text"),
        (code::WRONG_TYPE, "[watch]\nname = 'w'".to_owned(), "skiff.toml:3: watch: is a table, but has to be a list of tables, as in [[watch]]"),
        (code::WRONG_TYPE, "second = 'host'\n".to_owned() + &watch(""), "skiff.toml:3: destination.second: is text, but has to be a table, as in [destination.NAME]"),
        (code::DUPLICATE_WATCH, watch("") + &watch_of("w", "/v", ""), "skiff.toml:9: watch.w.name: is already the name of the watch at skiff.toml:4, rename one of them"),
        (code::UNSET_VARIABLE, watch("settle = '${SETTLE}'"), "skiff.toml:7: watch.w.settle: the variable SETTLE is not set, set it or write ${SETTLE:-fallback}"),
        (code::BAD_SUBSTITUTION, watch("settle = '${SETTLE'"), r#"skiff.toml:7: watch.w.settle: "${SETTLE" has a ${ without a }, write $${ for a plain ${"#),
        (code::BAD_SUBSTITUTION, watch("settle = '${}'"), "skiff.toml:7: watch.w.settle: ${} names no variable, write $${ for a plain ${"),
        (code::BAD_TEMPLATE, destination("path = '/srv/{host}'"), "skiff.toml:9: destination.second.path: {host} is not known here, write {hostname}, {machine_id}, {watch}, {year}, {month}, {day}, {hour} or {env:NAME}"),
        (code::BAD_TEMPLATE, destination("path = '/srv/}'"), r#"skiff.toml:9: destination.second.path: "/srv/}" has a brace on its own, write {{ or }} for a plain one"#),
        (code::BAD_DURATION, watch("settle = 5"), r#"skiff.toml:7: watch.w.settle: 5 has no unit, write "5s""#),
        (code::BAD_DURATION, watch("settle = '5'"), r#"skiff.toml:7: watch.w.settle: 5 has no unit, write "5s""#),
        (code::BAD_DURATION, watch("[defaults.watch]\nsettle = 'soon'"), r#"skiff.toml:8: defaults.watch.settle: "soon" is not a duration, write a number and a unit, as in "500ms", "1s", "10m", "2h" or "1d""#),
        (code::BAD_SIZE, watch("small_file = '1 M'"), r#"skiff.toml:7: watch.w.small_file: "1 M" is not a size, write a number and a unit, as in "64 KiB", "8 MiB" or "1 GB""#),
        (code::BAD_SIZE, watch("small_file = -1"), r#"skiff.toml:7: watch.w.small_file: "-1" is not a size, write a number and a unit, as in "64 KiB", "8 MiB" or "1 GB""#),
        (code::BAD_RATE, destination("bandwidth = '8 Mb/s'"), r#"skiff.toml:9: destination.second.bandwidth: "8 Mb/s" is not a rate, write "8 Mbit/s", "500 kbit/s", "1 MiB/s" or "unlimited""#),
        (code::BAD_RATE, destination("bandwidth = 8000"), r#"skiff.toml:9: destination.second.bandwidth: "8000" is not a rate, write "8 Mbit/s", "500 kbit/s", "1 MiB/s" or "unlimited""#),
        (code::BAD_ADDRESS, address(""), r#"skiff.toml:8: destination.second.address: has no host, write "[user@]host[:port]""#),
        (code::BAD_ADDRESS, address("-oProxyCommand=x"), r#"skiff.toml:8: destination.second.address: "-oProxyCommand=x" is not a host name, write "[user@]host[:port]""#),
        (code::BAD_ADDRESS, address("host:0"), r#"skiff.toml:8: destination.second.address: "0" is not a port, choose from 1 to 65535, or leave it out for 22"#),
        (code::BAD_ADDRESS, address("::1"), r#"skiff.toml:8: destination.second.address: "::1" does not tell the host from the port, write "[::1]" if it is an IPv6 host"#),
        (code::BAD_ADDRESS, address("@host"), r#"skiff.toml:8: destination.second.address: "" is not a user name, write "[user@]host[:port]""#),
        (code::BAD_LISTEN, watch("[control]\nlisten = 'localhost:9723'"), r#"skiff.toml:8: control.listen: "localhost:9723" is not an address and a port, write one such as "127.0.0.1:9723" or "[::1]:9723""#),
        (code::BAD_LISTEN, watch("[control]\nlisten = '127.0.0.1:0'"), r#"skiff.toml:8: control.listen: "127.0.0.1:0" is not an address and a port, write one such as "127.0.0.1:9723" or "[::1]:9723""#),
        (code::TOKEN_MISSING, watch("[control]\nlisten = '0.0.0.0:9723'"), "skiff.toml:8: control.listen: is open to the network, and nobody has to show a token, set token_file, or listen at 127.0.0.1"),
        (code::BAD_CHOICE, watch("on_conflict = 'overwrite'"), r#"skiff.toml:7: watch.w.on_conflict: "overwrite" is not known here, write "keep_both" or "replace" or "park""#),
        (code::BAD_CHOICE, watch("after_delivery = 'move'"), r#"skiff.toml:7: watch.w.after_delivery: "move" is not known here, write "keep", "delete" or { move = "/some/folder" }"#),
        (code::BAD_CHOICE, watch("after_delivery = { move = '/a', delete = true }"), r#"skiff.toml:7: watch.w.after_delivery: is not a single "move", write "keep", "delete" or { move = "/some/folder" }"#),
        (code::BAD_CHOICE, watch("symlinks = 'follow_inside'\nafter_delivery = 'delete'"), r#"skiff.toml:7: watch.w.symlinks: follows symlinks, and delivered files are to go, keep what is delivered, or symlinks = "skip""#),
        (code::BAD_CHOICE, watch("empty_folders = 'deliver'\ndestination_path = '{year}'"), r#"skiff.toml:7: watch.w.empty_folders: is "deliver", but the path at the destination has a date, and folders have none, write "skip""#),
        (code::BAD_CHOICE, watch("mode = 'append'\nafter_delivery = 'delete'"), r#"skiff.toml:8: watch.w.after_delivery: does not go with mode = "append": a log stays where it is and has one copy, leave after_delivery out"#),
        (code::BAD_CHOICE, watch("mode = 'append'\nmanifest = 'b3sum'"), r#"skiff.toml:8: watch.w.manifest: does not go with mode = "append": a log that grows is never finished, so none lists it, leave manifest out"#),
        (code::BAD_CHOICE, watch("mode = 'append'\nsymlinks = 'follow_inside'"), r#"skiff.toml:8: watch.w.symlinks: does not go with mode = "append": a log is followed by its file, not by links to it, leave symlinks out"#),
        (code::BAD_CHOICE, watch("mode = 'append'\n[defaults.watch]\nempty_folders = 'deliver'"), r#"skiff.toml:7: watch.w.mode: is "append", but the defaults set empty_folders: only logs are delivered, write empty_folders = "skip" here"#),
        (code::BAD_CHOICE, watch("mode = 'append'\norder = 'newest'"), r#"skiff.toml:8: watch.w.order: does not go with mode = "append": logs wait for no turn, leave order out"#),
        (code::BAD_CHOICE, watch("[defaults.watch]\nmode = 'append'\nfirst = '*.csv'"), r#"skiff.toml:9: defaults.watch.first: does not go with mode = "append": logs wait for no turn, leave first out"#),
        (code::BAD_CHOICE, watch("mode = 'append'\ndestination_path = '{year}'"), r#"skiff.toml:7: watch.w.mode: is "append", but destination_path has a date, which changes while a log grows, leave the date out of it"#),
        (code::BAD_CHOICE, watch("mode = 'append'").replace("'collector'", "'second'") + "[destination.second]\naddress = 'second'\npath = '/srv/{year}-{month}'", r#"skiff.toml:7: watch.w.mode: is "append", but destination.second.path has a date, which changes while a log grows, leave the date out of it"#),
        (code::BAD_CHOICE, watch("[defaults.watch]\nmode = 'append'\ndestination_path = '{hour}'"), r#"skiff.toml:3: watch.w: is "append", but destination_path has a date, which changes while a log grows, leave the date out of it"#),
        (code::BAD_CHOICE, "[[watch]]\nname = 'w'\npath = '/w'\nto = 'second'\nmode = 'append'\n[destination.second]\naddress = 'second'\ntransport = 'sftp'".to_owned(), r#"skiff.toml:7: watch.w.mode: is "append", but "second" is reached by SFTP alone, and logs that grow need a shell there, write "whole", or another transport for destination.second"#),
        (code::BAD_CHOICE, watch("mode = 'grow'"), r#"skiff.toml:7: watch.w.mode: "grow" is not known here, write "whole" or "append""#),
        (code::BAD_CHOICE, watch("retain = 'some'"), r#"skiff.toml:7: watch.w.retain: "some" is not known here, write "all" or { age = "30d", bytes = "10 GiB" }, or one of the two"#),
        (code::UNKNOWN_KEY, watch("retain = { count = 3 }"), r#"skiff.toml:7: watch.w.retain: "count" is not known here, write "all" or { age = "30d", bytes = "10 GiB" }, or one of the two"#),
        (code::BAD_SIZE, watch("high_water = '100%'"), r#"skiff.toml:7: watch.w.high_water: "100%" is not a share of a disk, write "90%", or "off""#),
        (code::BAD_SIZE, destination("keep_free = '0%'"), r#"skiff.toml:9: destination.second.keep_free: "0%" is not a share of a disk, write "90%", or "off""#),
        (code::BAD_SCHEDULE, destination("schedule = ['22:00-06:00 fast']"), r#"skiff.toml:9: destination.second.schedule: "22:00-06:00 fast" is not a time of the week with its bandwidth, write one such as "mon-fri 08:00-18:00 500 kbit/s", "22:00-06:00 unlimited" or "sun pause""#),
        (code::RELATIVE_PATH, destination("pause_when = ['metered']"), r#"skiff.toml:9: destination.second.pause_when: "metered" is not an absolute path, write one such as ["/usr/local/bin/told", "argument"]"#),
        (code::BAD_CHOICE, watch("failover = ['collector']"), r#"skiff.toml:7: watch.w.failover: stands beside "to", keep one of them: "to" delivers to all that it names, "failover" to the first that works, "spread" to one"#),
        (code::BAD_CHOICE, "[[watch]]\nname = 'w'\npath = '/w'\nto = ['collector', 'collector']".to_owned(), r#"skiff.toml:6: watch.w.to: names "collector" twice"#),
        (code::UNKNOWN_DESTINATION, "[[watch]]\nname = 'w'\npath = '/w'\nspread = ['collector', 'other']".to_owned(), r#"skiff.toml:6: watch.w.spread: there is no destination "other", declare [destination.other]"#),
        (code::BAD_CHOICE, destination("agent = 'yes'"), r#"skiff.toml:9: destination.second.agent: "yes" is not known here, write "auto", "always", "never" or the path of the agent's socket"#),
        (code::BAD_ADDRESS, destination("jump = ['gate', 'a:b:c']"), r#"skiff.toml:9: destination.second.jump: "a:b:c" does not tell the host from the port, write "[a:b:c]" if it is an IPv6 host"#),
        (code::RELATIVE_PATH, destination("password_file = 'hunter2'"), "skiff.toml:9: destination.second.password_file: is not an absolute path, name the file that holds the secret, never the secret itself"),
        (code::RELATIVE_PATH, destination("passphrase_file = 'hunter2'"), "skiff.toml:9: destination.second.passphrase_file: is not an absolute path, name the file that holds the secret, never the secret itself"),
        (code::UNKNOWN_KEY, destination("password = 'hunter2'"), r#"skiff.toml:9: destination.second.password: unknown key, name a file in "password_file": secrets never stand in the configuration"#),
        (code::BAD_NAME, watch("[destination.'a b']\naddress = 'a'"), r#"skiff.toml:7: destination.a b: "a b" cannot be a name, use up to 64 letters, digits, ".", "_" and "-", and begin with a letter or digit"#),
        (code::BAD_NAME, watch_of("a/b", "/w", ""), r#"skiff.toml:4: watch.#1.name: "a/b" cannot be a name, use up to 64 letters, digits, ".", "_" and "-", and begin with a letter or digit"#),
        (code::BAD_NAME, watch_of("", "/w", ""), r#"skiff.toml:4: watch.#1.name: "" cannot be a name, use up to 64 letters, digits, ".", "_" and "-", and begin with a letter or digit"#),
        (code::BAD_NAME, watch("settle_marker = 'a/b'"), r#"skiff.toml:7: watch.w.settle_marker: "a/b" is not the ending of a file name, write one such as ".done""#),
        (code::BAD_NAME, watch("ignore_file = 'a/b'"), r#"skiff.toml:7: watch.w.ignore_file: "a/b" is not the name of a file, write one such as ".skiffignore": it is looked for in each folder"#),
        (code::BAD_NAME, watch("ignore_file = '..'"), r#"skiff.toml:7: watch.w.ignore_file: ".." is not the name of a file, write one such as ".skiffignore": it is looked for in each folder"#),
        (code::BAD_PATH, watch_of("v", "", ""), "skiff.toml:5: watch.v.path: is empty, write an absolute path"),
        (code::BAD_PATH, watch_of("v", "/w/../v", ""), r#"skiff.toml:5: watch.v.path: "/w/../v" goes up with "..", write where it leads"#),
        (code::BAD_PATH, watch_of("v", "~root/v", ""), r#"skiff.toml:5: watch.v.path: "~root/v" names the home of another user, write the path in full"#),
        (code::BAD_PATH, watch(r#"after_delivery = { move = "/a\u0000b" }"#), r#"skiff.toml:7: watch.w.after_delivery: "/a\0b" holds a control character"#),
        (code::BAD_PATH, watch("destination_path = '../up'"), r#"skiff.toml:7: watch.w.destination_path: "../up" is not below the destination's path, write it relative, without "." and "..""#),
        (code::BAD_PATH, destination(r#"path = "/srv/a\nb""#), r#"skiff.toml:9: destination.second.path: "/srv/a\nb" holds a control character"#),
        (code::BAD_PATH, destination("path = '{year}/../in'"), r#"skiff.toml:9: destination.second.path: "{year}/../in" goes on strangely after its date, write folders without ".", ".." and backslashes there"#),
        (code::BAD_PATH, destination("path = '~other/in'"), r#"skiff.toml:9: destination.second.path: "~other/in" names the home of another user, write the path in full"#),
        (code::BAD_PATTERN, watch("exclude = [\n'*.ok',\n'a{b']"), r#"skiff.toml:9: watch.w.exclude: "a{b" is not a pattern: unclosed alternate group; missing '}' (maybe escape '{' with '[{]'?), write one such as "*.csv" or "2024/**/*.log""#),
        (code::BAD_PATTERN, watch("include = '!keep'"), r#"skiff.toml:7: watch.w.include: "!keep" is not a pattern: negation is not known here, write one such as "*.csv" or "2024/**/*.log""#),
        (code::RELATIVE_PATH, watch_of("v", "spool", ""), r#"skiff.toml:5: watch.v.path: "spool" is not an absolute path, begin it with a "/""#),
        (code::RELATIVE_PATH, watch("on_delivery = ['tell', 'me']"), r#"skiff.toml:7: watch.w.on_delivery: "tell" is not an absolute path, write one such as ["/usr/local/bin/told", "argument"]"#),
        (code::OUT_OF_RANGE, watch("settle = '2d'"), "skiff.toml:7: watch.w.settle: 2d is out of range, choose from 0s to 1d"),
        (code::OUT_OF_RANGE, watch("rescan = '0s'"), "skiff.toml:7: watch.w.rescan: 0s is out of range, choose from 1s to 1d"),
        (code::OUT_OF_RANGE, watch("batch_items = 0"), "skiff.toml:7: watch.w.batch_items: 0 is out of range, choose from 1 to 100000"),
        (code::OUT_OF_RANGE, destination("in_flight = 65"), "skiff.toml:9: destination.second.in_flight: 65 is out of range, choose from 1 to 64"),
        (code::OUT_OF_RANGE, destination("bandwidth = '1 bit/s'"), "skiff.toml:9: destination.second.bandwidth: 1 bit/s is out of range, choose from 8 kbit/s to 100 Gbit/s"),
        (code::EMPTY_LIST, watch("include = []"), r#"skiff.toml:7: watch.w.include: includes nothing, write ["**"] for every file"#),
    ]
}

/// What several settings have to keep together.
#[rustfmt::skip] // one case a line
fn cases_of_rules() -> Vec<Case> {
    vec![
        (code::UNKNOWN_DESTINATION, watch_of("v", "/v", "").replace("'collector'", "'colector'"), r#"skiff.toml:6: watch.v.to: there is no destination "colector", did you mean "collector"?"#),
        (code::UNKNOWN_DESTINATION, watch_of("v", "/v", "").replace("'collector'", "'attic'"), r#"skiff.toml:6: watch.v.to: there is no destination "attic", declare [destination.attic]"#),
        (code::BATCH_TOO_SMALL, watch("batch_bytes = '1 MiB'\nsmall_file = '2 MiB'"), "skiff.toml:7: watch.w.batch_bytes: batch_bytes (1 MiB) is less than small_file (2 MiB), set batch_bytes to 2 MiB or more"),
        (code::BATCH_TOO_SMALL, watch("[defaults.watch]\nsmall_file = '16 MiB'"), "skiff.toml:8: defaults.watch.small_file: batch_bytes (8 MiB) is less than small_file (16 MiB), set batch_bytes to 16 MiB or more"),
        (code::RETRY_ORDER, watch("retry_first = '10m'"), "skiff.toml:7: watch.w.retry_first: retry_max (5m) is less than retry_first (10m), set retry_max to 10m or more"),
        (code::TAKES_NOTHING, watch("min_size = '2 MiB'\nmax_size = '1 MiB'"), "skiff.toml:8: watch.w.max_size: max_size (1 MiB) is less than min_size (2 MiB), so no file is taken, set max_size to 2 MiB or more"),
        (code::TAKES_NOTHING, watch("min_size = '2 MiB'\n[defaults.watch]\nmax_size = '1 MiB'"), "skiff.toml:7: watch.w.min_size: max_size (1 MiB) is less than min_size (2 MiB), so no file is taken, set max_size to 2 MiB or more"),
        (code::TAKES_NOTHING, watch("[defaults.watch]\nmin_age = '2d'\nmax_age = '1h'"), "skiff.toml:9: defaults.watch.max_age: max_age (1h) is less than min_age (2d), so no file is taken, set max_age to 2d or more"),
        (code::NESTED_WATCHES, watch("") + &watch_of("v", "/w/v", "after_delivery = 'delete'"), r#"skiff.toml:10: watch.v.path: "w" and "v" watch the same files, and "v" removes them, add "/v/" to the exclude list of "w", or set after_delivery = "keep""#),
        (code::NESTED_WATCHES, watch("after_delivery = 'delete'") + &watch_of("v", "/", "exclude = ['/var/']"), r#"skiff.toml:10: watch.v.path: "w" and "v" watch the same files, and "w" removes them, add "/w/" to the exclude list of "v", or set after_delivery = "keep""#),
        (code::NESTED_WATCHES, watch("") + &watch_of("v", "/w", "after_delivery = { move = '/sent' }"), r#"skiff.toml:10: watch.v.path: "w" and "v" watch the same folder, and "v" removes them, exclude in one what the other includes, or set after_delivery = "keep""#),
        (code::MOVE_INSIDE_WATCH, watch("after_delivery = { move = '/w/sent' }"), r#"skiff.toml:7: watch.w.after_delivery: moves into the watched folder, where "/w/sent" is delivered again, add "/sent/" to the exclude list of "w""#),
        (code::NESTED_WATCHES, watch("max_depth = 1") + &watch_of("v", "/w/v", "after_delivery = 'delete'"), r#"skiff.toml:10: watch.v.path: "w" and "v" watch the same files, and "v" removes them, add "/v/" to the exclude list of "w", or set after_delivery = "keep""#),
        (code::MOVE_INSIDE_WATCH, watch("after_delivery = { move = '/w' }\nmax_depth = 0"), r#"skiff.toml:7: watch.w.after_delivery: moves into the watched folder, where "/w" is delivered again, choose another folder"#),
        (code::STATE_INSIDE_WATCH, watch_of("v", "/var", ""), r#"skiff.toml:5: watch.v.path: holds skiff's own state_dir "/var/lib/skiff", add "/lib/skiff/" to the exclude list of "v""#),
        (code::NOTHING_TO_WATCH, String::new(), "skiff.toml: watches nothing, add a [[watch]]"),
    ]
}

#[test]
fn every_problem_is_shown_with_its_line_and_what_to_do() {
    for (code, text, shown) in cases() {
        assert_eq!(problems(&text, &environment()), (vec![code], shown.to_owned()), "{text}");
    }
    for (code, text, shown) in cases_of_a_bare_machine() {
        assert_eq!(problems(&text, &Environment::default()), (vec![code], shown.to_owned()), "{text}");
    }
}

#[test]
fn no_code_is_left_out() {
    // Shown by the tests of `load`, since they take more than one file.
    let elsewhere = [
        code::FILE_MISSING,
        code::FILE_UNREADABLE,
        code::NOT_UTF8,
        code::SET_TWICE,
        code::DUPLICATE_DESTINATION,
    ];
    let cases = [cases(), cases_of_a_bare_machine()].concat();
    for code in code::ALL {
        let is_shown = cases.iter().any(|(shown, ..)| shown == code);
        assert!(is_shown || elsewhere.contains(code), "{code}");
    }
}

#[test]
fn all_problems_are_reported_together_in_the_order_of_their_lines() {
    let text = watch("settle = 5\nsmall_file = '1 parsec'\n[destination.bad]\n[log]\nlevl = 'info'");
    let (codes, shown) = problems(&text, &environment());
    let wanted = [code::BAD_DURATION, code::BAD_SIZE, code::MISSING_KEY, code::UNKNOWN_KEY];
    assert_eq!(codes, wanted, "{shown}");
    assert_eq!(shown.lines().count(), wanted.len());
}

#[test]
fn a_relative_path_is_suggested_beside_the_file_that_names_it() {
    let whole = format!("{HEAD}{}", destination("identity = 'id_ed25519'"));
    let problems =
        crate::parse(&whole, Path::new("/etc/skiff/skiff.toml"), &environment()).expect_err("is relative");
    assert_eq!(
        problems.to_string(),
        "/etc/skiff/skiff.toml:9: destination.second.identity: \"id_ed25519\" is not an absolute path, \
         did you mean \"/etc/skiff/id_ed25519\"?"
    );
}

#[test]
fn nothing_is_concluded_from_a_value_that_is_wrong() {
    let (codes, shown) =
        problems(&watch("small_file = '16 MiB'\nbatch_bytes = '99 parsecs'"), &environment());
    assert_eq!(codes, [code::BAD_SIZE], "{shown}");
}

/// Rules that look strict, but leave a way to do what is meant.
#[test]
fn what_is_kept_apart_is_no_problem() {
    let excluded = "after_delivery = { move = '/w/sent' }\nexclude = ['/sent/']";
    let keeps = watch_of("a", "/w", "") + &watch_of("b", "/w/b", "");
    let split = watch_of("a", "/w", "include = ['*.csv']\nafter_delivery = 'delete'")
        + &watch_of("b", "/w", "exclude = ['*.csv']\nafter_delivery = 'delete'");
    let state = format!(
        "{}[[watch]]\nname = 'v'\npath = '/var'\nto = 'collector'\nexclude = ['/lib/skiff/']",
        watch("")
    );
    let apart =
        watch_of("a", "/w", "exclude = ['b/**']\nafter_delivery = 'delete'") + &watch_of("b", "/w/b", "");
    let similar = watch_of("a", "/w", "after_delivery = 'delete'") + &watch_of("b", "/w-2", "");
    let shallow = watch_of("a", "/w", "max_depth = 0\nafter_delivery = { move = '/w/sent' }")
        + &watch_of("b", "/w/b", "after_delivery = 'delete'");
    let deeper = watch_of("a", "/w", "max_depth = 1") + &watch_of("b", "/w/x/b", "after_delivery = 'delete'");
    let hidden =
        watch_of("a", "/w", "hidden = 'skip'") + &watch_of("b", "/w/.x/b", "after_delivery = 'delete'");
    let one_size =
        watch_of("a", "/w", "min_size = '1 MiB'\nmax_size = '1 MiB'\nmin_age = '1h'\nmax_age = '0s'");
    let turns = "mode = 'append'\n[defaults.watch]\norder = 'newest'\nfirst = ['*.csv']";
    let all = "[[watch]]\nname = 'w'\npath = '/w'\nto = ['collector', 'second']\nmode = 'append'\n";
    let all = format!("{all}[destination.second]\naddress = 'second'\n");
    let fine = [shallow, deeper, hidden, one_size, watch(turns), all];
    for text in [watch(excluded), keeps, split, state, apart, similar].into_iter().chain(fine) {
        let whole = format!("{HEAD}{text}");
        let settings = crate::parse(&whole, Path::new("skiff.toml"), &environment());
        assert!(settings.is_ok(), "{text}: {}", settings.expect_err("just seen"));
    }
}
