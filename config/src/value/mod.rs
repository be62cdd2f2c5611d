//! The values that settings take, each parsed at the border and written back the same.

mod address;
mod choice;
mod command;
mod duration;
mod listen;
mod login;
mod name;
mod path;
mod quantity;
mod rate;
mod remote;
mod retain;
mod size;
mod window;

pub(crate) use address::{SSH_PORT, address, show_address};
pub(crate) use choice::{Choice, choice};
pub(crate) use command::{absolute_command, check_command, word};
pub(crate) use duration::{duration, show_duration};
pub(crate) use listen::{listen, show_listen};
pub(crate) use login::{agent, jump, secret_path, ssh_config};
pub(crate) use name::{check_name, name};
pub(crate) use path::{local_path, optional_path};
pub(crate) use quantity::{count, count_up_to};
pub(crate) use rate::{rate, show_rate};
pub(crate) use remote::{remote_path, remote_sub_folder};
pub(crate) use retain::{keep_free, mark, retain, show_keep_free, show_mark, show_retain};
pub(crate) use size::{show_size, size};
pub(crate) use window::{show_window, window};
