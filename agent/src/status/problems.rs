//! What went wrong last: bounded, and each file or destination once, so that one that fails again and again pushes out no other.

use std::collections::VecDeque;

use super::snapshot::Problem;

/// More than people read.
pub(crate) const MOST_PROBLEMS: usize = 20;

/// The latest first.
#[derive(Debug, Default)]
pub(crate) struct Problems(VecDeque<Problem>);

impl Problems {
    pub(crate) fn add(&mut self, problem: Problem) {
        self.0.retain(|known| (&known.watch, &known.what) != (&problem.watch, &problem.what));
        self.0.push_front(problem);
        self.0.truncate(MOST_PROBLEMS);
    }

    pub(crate) fn all(&self) -> Vec<Problem> {
        self.0.iter().cloned().collect()
    }
}

/// The latest of several lists.
pub(crate) fn latest(lists: impl IntoIterator<Item = Vec<Problem>>) -> Vec<Problem> {
    let mut all: Vec<Problem> = lists.into_iter().flatten().collect();
    all.sort_by_key(|problem| std::cmp::Reverse(problem.at_ms));
    all.truncate(MOST_PROBLEMS);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(at_ms: u64, what: &str) -> Problem {
        let (watch, reason) = ("w".to_owned(), at_ms.to_string());
        Problem { at_ms, watch, what: what.to_owned(), reason, quarantined: false }
    }

    #[test]
    fn the_latest_are_kept_each_once() {
        let (mut one, mut other) = (Problems::default(), Problems::default());
        for at_ms in 0..100 {
            one.add(problem(at_ms, &format!("{}.log", at_ms % 30)));
            other.add(problem(at_ms, "again and again"));
        }
        assert_eq!(one.all().len(), MOST_PROBLEMS);
        assert_eq!(other.all(), [problem(99, "again and again")]);
        let both = latest([one.all(), other.all()]);
        assert_eq!(both.len(), MOST_PROBLEMS);
        assert!(both.is_sorted_by(|one, next| one.at_ms >= next.at_ms));
        assert!(both[..2].iter().any(|problem| problem.what == "again and again"), "{both:#?}");
    }
}
