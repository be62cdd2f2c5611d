//! Folders that are made for themselves, with nothing in them.

use skiff_common::escape::escaped_up_to;
use skiff_common::{RelPath, RemotePath};

use super::answer::encode;
use super::{RemoteError, ScpRemote};

impl ScpRemote {
    /// Makes these, and those above them; of each that can't be made, the reason. A symlink is never followed.
    pub(in crate::remote) async fn make_folders(
        &self,
        root: &RemotePath,
        folders: &[RelPath],
    ) -> Result<Vec<String>, RemoteError> {
        const ATTEMPT: &str = "making folders";
        let mut lines = b"folders\n".to_vec();
        for folder in folders {
            lines.extend(encode(folder.as_bytes()));
            lines.push(b'\n');
        }
        let lines = String::from_utf8(lines).expect("escapes are ASCII");
        let mut hand = self.take_hand(root).await?;
        hand.say(&[&(lines + "/")]).await?;
        let answer = hand.answer(self.patience(0), ATTEMPT).await?.expected(ATTEMPT)?;
        self.give_back(root, hand);
        let refused = answer.lines.iter().filter_map(|line| line.strip_prefix(b"folder "));
        Ok(refused.map(|why| escaped_up_to(why, 300)).collect())
    }
}
