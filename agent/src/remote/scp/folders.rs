//! Folders that are made for themselves, with nothing in them.

use skiff_common::escape::escaped_up_to;
use skiff_common::{RelPath, RemotePath};

use super::{RemoteError, ScpRemote};
use crate::remote::shell;

impl ScpRemote {
    /// Makes these, and those above them; of each that can't be made, the reason. A symlink is never followed.
    pub(in crate::remote) async fn make_folders(
        &self,
        root: &RemotePath,
        folders: &[RelPath],
    ) -> Result<Vec<String>, RemoteError> {
        const ATTEMPT: &str = "making folders";
        let mut lines = "folders\n".to_owned();
        for folder in folders {
            lines.push_str(&shell::word(folder.as_bytes()));
            lines.push('\n');
        }
        let mut hand = self.take_hand(root).await?;
        hand.say(&[&(lines + "/")]).await?;
        let answer = hand.answer(self.patience(0), ATTEMPT).await?.expected(ATTEMPT)?;
        self.give_back(root, hand);
        let refused = answer.lines.iter().filter_map(|line| line.strip_prefix(b"folder "));
        Ok(refused.map(|why| escaped_up_to(why, 300)).collect())
    }
}
