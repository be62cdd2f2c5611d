//! A follower by itself, with no destination that answers.

use std::collections::HashMap;
use std::fs;

use skiff_common::Algorithm;
use skiff_common::digest::Hasher;
use skiff_config::Environment;

use super::*;
use crate::context::context;
use crate::crew::receipts;
use crate::reach::reach;
use crate::remote::Limiter;
use crate::route::Muster;

const LOG: &[u8] = b"what is looked at again\n";

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_to_end_reads_no_log_to_its_end() {
    let home = tempfile::tempdir().expect("a folder");
    let at = home.path().display();
    fs::create_dir_all(home.path().join("in")).expect("there is room");
    fs::create_dir_all(home.path().join("state")).expect("there is room");
    fs::write(home.path().join("in/app.log"), LOG).expect("there is room");
    let text = format!(
        "state_dir = '{at}/state'\n[destination.d]\naddress = 'u@127.0.0.1:1'\n\
         [[watch]]\nname = 'logs'\npath = '{at}/in'\nto = 'd'\nmode = 'append'\n"
    );
    let config = home.path().join("skiff.toml");
    fs::write(&config, text).expect("there is room");
    let settings = skiff_config::load(&config, &Environment::from_process()).expect("it is right");
    let status = Arc::new(Status::default());
    let limits = (None, Arc::new(Limiter::new(None)));
    let remotes = HashMap::from([("d".to_owned(), reach(&settings.destinations[0], &status, limits))]);
    let of = (&remotes, &Arc::new(Muster::default()));
    let context = context(&settings, &settings.watches[0], of, (0, 0), (None, false)).expect("it is right");
    let home = (receipts(&settings).expect("there is room"), &*settings.state_dir);
    let mut follower = Follower::new(Arc::clone(&context), (None, false), home, status).expect("no journal");
    let root = Root::open(&settings.watches[0].path).expect("it is there");
    let seen = follower.folder.look(&root, &context, &follower.ledger).expect("it can be looked at");
    let mut hasher = Hasher::for_destination(Algorithm::Blake3);
    hasher.update(LOG);
    let mut look = || follower.begins_with(&root, seen[0].file, LOG.len() as u64, &hasher.digests().blake3);

    assert!(matches!(look(), Ok(Outcome::Same(true))));
    context.waker.stop();
    assert!(matches!(look(), Err(Stop::Stopped)));
}
