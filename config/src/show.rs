//! Settings written back as a configuration: everything is spelled out, nothing depends on defaults or the machine.

use std::fmt::Write as _;
use std::path::Path;

use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, Value, value};

use crate::raw::escape;
use crate::settings::{
    AfterDelivery, Agent, Destination, Jump, PauseWhen, Retain, Route, Settings, SshConfig, Watch,
};
use crate::value::{
    Choice, show_address, show_duration, show_keep_free, show_listen, show_mark, show_rate, show_retain,
    show_size, show_window,
};

impl Settings {
    /// All settings in force, as a configuration that loads as the same settings on any machine. Holds no secrets.
    pub fn to_toml(&self) -> String {
        whole(self)
    }
}

fn whole(settings: &Settings) -> String {
    let mut document = DocumentMut::new();
    document["state_dir"] = path(&settings.state_dir);
    document["bandwidth"] = text(&show_rate(settings.bandwidth));
    let log = [("format", text(settings.log.format.name())), ("level", text(settings.log.level.name()))];
    document["log"] = Item::Table(Table::from_iter(log));
    let token_file = settings.control.token_file.as_deref().unwrap_or(Path::new(""));
    let control = [("listen", text(&show_listen(settings.control.listen))), ("token_file", path(token_file))];
    document["control"] = Item::Table(Table::from_iter(control));
    let receipts = [
        ("rotate", text(&show_size(settings.receipts.rotate_bytes))),
        ("keep", number(settings.receipts.keep.get())),
    ];
    document["receipts"] = Item::Table(Table::from_iter(receipts));
    let mut destinations: Table =
        settings.destinations.iter().map(|one| (one.name.as_str(), Item::Table(destination(one)))).collect();
    destinations.set_implicit(true);
    document["destination"] = Item::Table(destinations);
    document["watch"] = Item::ArrayOfTables(settings.watches.iter().map(watch).collect::<ArrayOfTables>());
    document.to_string()
}

fn destination(destination: &Destination) -> Table {
    let port = destination.says_port.then_some(destination.port);
    let address = show_address(destination.user.as_deref(), &destination.host, port);
    Table::from_iter([
        ("address", text(&address)),
        ("path", text(&destination.path.to_string())),
        ("time_zone", text(destination.time_zone.name())),
        ("ssh_config", ssh_config(&destination.ssh_config)),
        ("identity", list(destination.identity.iter().map(|one| one.to_string_lossy()))),
        ("agent", agent(&destination.agent)),
        ("certificate", list(destination.certificate.iter().map(|one| one.to_string_lossy()))),
        ("passphrase_file", path(destination.passphrase_file.as_deref().unwrap_or(Path::new("")))),
        ("password_file", path(destination.password_file.as_deref().unwrap_or(Path::new("")))),
        ("jump", list(destination.jump.iter().map(jump))),
        ("known_hosts", list(destination.known_hosts.iter().map(|one| one.to_string_lossy()))),
        ("bandwidth", text(&show_rate(destination.bandwidth))),
        ("schedule", list(destination.schedule.iter().map(show_window))),
        ("pause_when", pause_when(&destination.pause_when)),
        ("pause_check", text(&show_duration(destination.pause_check))),
        ("transport", text(destination.transport.name())),
        ("compression", text(destination.compression.name())),
        ("duplicates", text(destination.duplicates.name())),
        ("owner", text(destination.owner.name())),
        ("keep_free", text(&show_keep_free(destination.keep_free))),
        ("in_flight", number(destination.in_flight.get())),
        ("connect_timeout", text(&show_duration(destination.connect_timeout))),
        ("stall_timeout", text(&show_duration(destination.stall_timeout))),
        ("keepalive", text(&show_duration(destination.keepalive))),
    ])
}

fn ssh_config(which: &SshConfig) -> Item {
    match which {
        SshConfig::Auto => text("auto"),
        SshConfig::Never => text("none"),
        SshConfig::At(file) => path(file),
    }
}

fn watch(watch: &Watch) -> Table {
    Table::from_iter([
        ("name", text(&watch.name)),
        ("path", path(&watch.path)),
        route(watch),
        ("include", list(&watch.include)),
        ("exclude", list(&watch.exclude)),
        ("hidden", text(watch.taken.hidden.name())),
        ("max_depth", value(watch.taken.max_depth.map_or(-1, i64::from))),
        ("min_size", text(&show_size(watch.taken.min_size))),
        ("max_size", text(&show_size(watch.taken.max_size.unwrap_or(0)))),
        ("min_age", text(&show_duration(watch.taken.min_age))),
        ("max_age", text(&show_duration(watch.taken.max_age.unwrap_or_default()))),
        ("ignore_file", text(watch.taken.ignore_file.as_deref().unwrap_or_default())),
        ("empty_folders", text(watch.empty_folders.name())),
        ("symlinks", text(watch.symlinks.name())),
        ("mode", text(watch.mode.name())),
        ("flush_interval", text(&show_duration(watch.flush_interval))),
        ("settle", text(&show_duration(watch.settle))),
        ("settle_marker", text(watch.settle_marker.as_deref().unwrap_or_default())),
        ("after_delivery", after_delivery(&watch.after_delivery)),
        ("retain", retain(watch.retain)),
        ("high_water", text(&show_mark(watch.high_water))),
        ("when_full", text(watch.when_full.name())),
        ("order", text(watch.order.name())),
        ("first", list(&watch.first)),
        ("small_file", text(&show_size(watch.small_file))),
        ("batch_bytes", text(&show_size(watch.batch_bytes))),
        ("batch_items", number(watch.batch_items.get())),
        ("batch_wait", text(&show_duration(watch.batch_wait))),
        ("rescan", text(&show_duration(watch.rescan))),
        ("on_conflict", text(watch.on_conflict.name())),
        ("retry_first", text(&show_duration(watch.retry_first))),
        ("retry_max", text(&show_duration(watch.retry_max))),
        ("retry_attempts", value(i64::from(watch.retry_attempts.unwrap_or(0)))),
        ("on_delivery", list(&watch.on_delivery)),
        ("on_quarantine", list(&watch.on_quarantine)),
        ("hook_timeout", text(&show_duration(watch.hook_timeout))),
        ("manifest", text(watch.manifest.name())),
        ("destination_path", text(&watch.destination_path.to_string())),
    ])
}

fn pause_when(when: &PauseWhen) -> Item {
    match when {
        PauseWhen::Never => text(""),
        PauseWhen::File(file) => path(file),
        PauseWhen::Command(words) => list(words),
    }
}

fn route(watch: &Watch) -> (&'static str, Item) {
    match &watch.route {
        Route::One => ("to", text(&watch.to)),
        Route::All(names) => ("to", list(names)),
        Route::Failover(names) => ("failover", list(names)),
        Route::Spread(names) => ("spread", list(names)),
    }
}

fn agent(agent: &Agent) -> Item {
    match agent {
        Agent::Auto => text("auto"),
        Agent::Always => text("always"),
        Agent::Never => text("never"),
        Agent::At(socket) => path(socket),
    }
}

fn jump(jump: &Jump) -> String {
    show_address(jump.user.as_deref(), &jump.host, Some(jump.port))
}

fn after_delivery(after: &AfterDelivery) -> Item {
    match after {
        AfterDelivery::Keep => text("keep"),
        AfterDelivery::Delete => text("delete"),
        AfterDelivery::Move(target) => {
            let target = Value::from(escape(&target.to_string_lossy()));
            value(InlineTable::from_iter([("move", target)]))
        }
    }
}

fn retain(retain: Retain) -> Item {
    if !retain.is_limited() {
        return text("all");
    }
    let given = show_retain(retain).into_iter().filter_map(|(key, given)| Some((key, Value::from(given?))));
    value(given.collect::<InlineTable>())
}

/// Text as it stands in a configuration, so that it is read as just this.
pub fn quoted(text: &str) -> String {
    let mut quoted = "\"".to_owned();
    for c in escape(text).chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => drop(write!(quoted, "\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn text(text: &str) -> Item {
    value(escape(text))
}

fn path(path: &Path) -> Item {
    text(&path.to_string_lossy())
}

fn list(members: impl IntoIterator<Item = impl AsRef<str>>) -> Item {
    value(members.into_iter().map(|member| escape(member.as_ref())).collect::<Array>())
}

fn number(number: usize) -> Item {
    value(i64::try_from(number).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_texts_stand_for_themselves() {
        let odd = "a\"b\\c\n${x}";
        assert_eq!(quoted(odd), r#""a\"b\\c\u000A$${x}""#);
        let table: DocumentMut = format!("x = {}", quoted(odd)).parse().expect("it is TOML");
        assert_eq!(table["x"].as_str(), Some("a\"b\\c\n$${x}"));
    }
}
