//! Which digests are computed of what is sent, where others than the destination want some.

use skiff_common::Algorithm;

tokio::task_local! {
    static ALSO_SHA256: bool;
}

/// Has what `work` sends hashed by SHA-256 as well, if `wanted`, whatever the destination computes.
pub(crate) async fn also_sha256<T>(wanted: bool, work: impl Future<Output = T>) -> T {
    ALSO_SHA256.scope(wanted, work).await
}

/// What makes all digests that this task is to compute, for a destination that computes `theirs`, or nothing.
pub(crate) fn hashed_for(theirs: Option<Algorithm>) -> Algorithm {
    match ALSO_SHA256.try_with(|wanted| *wanted) {
        Ok(true) => Algorithm::Sha256,
        _ => theirs.unwrap_or(Algorithm::Blake3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_wanted_holds_for_the_work_alone() {
        let both = also_sha256(true, async { hashed_for(Some(Algorithm::Blake3)) }).await;
        assert_eq!(both, Algorithm::Sha256);
        assert_eq!(also_sha256(false, async { hashed_for(None) }).await, Algorithm::Blake3);
        assert_eq!(hashed_for(Some(Algorithm::Sha256)), Algorithm::Sha256);
    }
}
