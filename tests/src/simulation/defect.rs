//! Known-bad ways of wiring the decisions to the world; the simulation has to catch each.

/// One thing done wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    /// Effects are acted upon before their records are stored.
    ActsBeforeRecording,
    /// The journal says that it has stored what is only written.
    TakesUnsyncedForSynced,
    /// What the destination read back is not compared.
    PublishesUnverified,
    /// A file whose stamp moved while it was read is taken for unchanged.
    IgnoresChangeWhileRead,
    /// A shell whose user has gone works on in the staging of its successor.
    SharesStaging,
    /// What is read back is not on the disk there yet.
    VerifiesUnsynced,
    /// What is about to be published is not claimed before.
    PublishesUnclaimed,
    /// Files get their final names before their bytes are on the disk there.
    PublishesUnsynced,
    /// Publishing is over before the names are on the disk there.
    ForgetsFinalSync,
    /// What a survey finds is believed without syncing it.
    SurveysUnsynced,
    /// A file that stands under the final name is overwritten.
    OverwritesForeign,
    /// A retry takes another name.
    NamesTheAttempt,
    /// The source goes before it has a receipt.
    DisposesBeforeReceipt,
    /// The source goes as soon as it is staged.
    DisposesWithoutPublishing,
    /// The source goes whatever it looks like by now.
    DisposesWhateverIsThere,
    /// What leaves a shipment is not looked at again.
    ForgetsReleased,
    /// What has failed is never tried again.
    ForgetsHeld,
    /// What was under way before a restart counts as being so still.
    ForgetsPending,
    /// Only events make it look; what they miss stays.
    TrustsEvents,
    /// Timers run by the wall clock.
    ReadsWallClock,
}

impl Defect {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::ActsBeforeRecording,
        Self::TakesUnsyncedForSynced,
        Self::PublishesUnverified,
        Self::IgnoresChangeWhileRead,
        Self::SharesStaging,
        Self::VerifiesUnsynced,
        Self::PublishesUnclaimed,
        Self::PublishesUnsynced,
        Self::ForgetsFinalSync,
        Self::SurveysUnsynced,
        Self::OverwritesForeign,
        Self::NamesTheAttempt,
        Self::DisposesBeforeReceipt,
        Self::DisposesWithoutPublishing,
        Self::DisposesWhateverIsThere,
        Self::ForgetsReleased,
        Self::ForgetsHeld,
        Self::ForgetsPending,
        Self::TrustsEvents,
        Self::ReadsWallClock,
    ];
}
