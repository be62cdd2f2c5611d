//! `skiff items`: what is pending, held or delivered, file by file.

use std::process::ExitCode;

use serde_json::Value;
use skiff_common::ItemId;
use skiff_config::Environment;

use super::args::{AgentOf, Items, State};
use super::ask::{Asked, ask, escaped, state_dir};
use super::paint::{Paint, table};
use super::{exit, size};
use crate::control::{delivered_items, item_of};
use crate::follow::log_item;
use crate::journal::Peek;
use crate::machine::machine;
use crate::route;
use crate::status::snapshot::{Item, ItemState};

/// Lists items.
pub(super) fn items(args: &Items) -> ExitCode {
    let path = format!(
        "/v1/items?state={}&match={}&limit={}",
        state_name(args.state),
        escaped(&args.wanted),
        args.limit
    );
    let list = match ask(&args.agent, "GET", &path, None) {
        Ok(Asked::Answer(answer)) => serde_json::from_value(answer).unwrap_or_default(),
        Ok(Asked::Nobody(peek)) => {
            eprintln!("skiff: no agent is running; this is what its journal says");
            match from_journal(args, peek.unwrap_or_default()) {
                Ok(list) => list,
                Err(code) => return code,
            }
        }
        Err(code) => return code,
    };
    if args.json {
        println!("{}", serde_json::to_value(&list).unwrap_or(Value::Null));
    } else {
        show(args, &list);
    }
    ExitCode::SUCCESS
}

fn state_name(state: State) -> &'static str {
    match state {
        State::Open => "all",
        State::Pending => "pending",
        State::Held => "held",
        State::Waiting => "waiting",
        State::Quarantined => "quarantined",
        State::Growing => "growing",
        State::Delivered => "delivered",
    }
}

fn from_journal(args: &Items, peek: Peek) -> Result<Vec<Item>, ExitCode> {
    let wants = |item: &Item| {
        let state = match args.state {
            State::Open => true,
            State::Pending => item.state == ItemState::Pending,
            State::Held => item.state == ItemState::Waiting || item.state == ItemState::Quarantined,
            State::Waiting => item.state == ItemState::Waiting,
            State::Quarantined => item.state == ItemState::Quarantined,
            State::Growing => item.state == ItemState::Growing,
            State::Delivered => item.state == ItemState::Delivered,
        };
        state && item.path.contains(&args.wanted)
    };
    if args.state == State::Delivered {
        let state_dir = state_dir(&args.agent)?;
        return delivered_items(&state_dir, &args.wanted, args.limit)
            .map_err(|error| exit::fail(exit::FAILED, &format!("cannot read the receipts: {error}"), ""));
    }
    let held = peek.held.into_iter().map(item_of);
    let pending = peek.pending.iter().flat_map(|shipment| {
        shipment
            .items
            .iter()
            .map(|item| Item::at(&shipment.watch, &item.path, item.stamp.size, ItemState::Pending))
    });
    let names = watches(&args.agent);
    let mut logs = peek.logs;
    logs.sort_by(|(_, a), (_, b)| a.path.cmp(&b.path));
    let logs = logs.iter().filter(|(_, log)| !log.ended).map(|(watch, log)| {
        let watch = names.iter().find(|name| ItemId::of_folder(name, None) == *watch);
        log_item(watch.map_or("", String::as_str), log)
    });
    Ok(held.chain(pending).chain(logs).filter(wants).take(args.limit).collect())
}

/// The names of all watches, where the configuration can be read: the journal knows a log's watch by its id alone.
fn watches(agent: &AgentOf) -> Vec<String> {
    let environment = Environment::from_process().with_credentials_of_service();
    let settings = skiff_config::load(&agent.config, &environment).ok();
    let watches = settings.iter().flat_map(|settings| route::legs(settings, &machine()).watches);
    watches.map(|watch| watch.name).collect()
}

fn show(args: &Items, list: &[Item]) {
    if list.is_empty() {
        println!("nothing");
        return;
    }
    let paint = Paint::stdout();
    let head = ["STATE", "WATCH", "SIZE", "PATH"].map(str::to_owned).to_vec();
    let row = |item: &Item| {
        let state = match item.state {
            ItemState::OnItsWay => "on its way",
            ItemState::Pending => "pending",
            ItemState::Waiting => "waiting",
            ItemState::Quarantined => "quarantined",
            ItemState::Growing => "growing",
            ItemState::Settling => "settling",
            ItemState::Delivered => item.delivered.as_deref().unwrap_or("delivered"),
        };
        let all = item.bytes.map_or_else(|| "-".to_owned(), size::bytes);
        let size = item.delivered_bytes.map(|part| format!("{} of {all}", size::bytes(part))).unwrap_or(all);
        let path = match &item.reason {
            Some(reason) if item.state == ItemState::Settling => format!("{}\n    {reason}", item.path),
            Some(reason) => format!(
                "{}\n    {} ({})",
                item.path,
                reason,
                size::count(u64::from(item.attempts), "attempt")
            ),
            None => item.path.clone(),
        };
        vec![state.to_owned(), item.watch.clone(), size, path]
    };
    let rows: Vec<_> = std::iter::once(head).chain(list.iter().map(row)).collect();
    table(paint, &rows);
    if list.len() == args.limit {
        eprintln!("skiff: there may be more; --limit N shows more, --match TEXT fewer");
    }
    if list.iter().any(|item| item.state == ItemState::Quarantined) {
        eprintln!("skiff: what is quarantined waits for: skiff retry PATH, or skiff retry --all");
    }
}
