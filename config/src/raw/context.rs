//! What all readers of one configuration share: the environment, and the list that problems go to.

use std::cell::RefCell;
use std::path::Path;

use super::tree::Place;
use crate::Environment;
use crate::problem::{Complaint, Problem, Problems};

/// One reading of a configuration.
pub(crate) struct Context<'e> {
    pub(crate) environment: &'e Environment,
    main: &'e Path,
    problems: RefCell<Vec<Problem>>,
}

impl<'e> Context<'e> {
    /// A reading that starts at the file `main`.
    pub(crate) fn new(main: &'e Path, environment: &'e Environment) -> Self {
        Self { environment, main, problems: RefCell::default() }
    }

    /// Takes note of a problem and goes on.
    pub(crate) fn report(&self, place: &Place, key: &str, complaint: Complaint) {
        let Complaint { code, message, suggestion } = complaint;
        let file = place.file.to_path_buf();
        let problem = Problem { code, file, line: place.line, key: key.to_owned(), message, suggestion };
        self.problems.borrow_mut().push(problem);
    }

    /// How many problems there are so far.
    pub(crate) fn count(&self) -> usize {
        self.problems.borrow().len()
    }

    /// The problems in reading order: the main file, then the others by name, each from top to bottom.
    pub(crate) fn finish(self) -> Result<(), Problems> {
        let mut problems = self.problems.into_inner();
        problems
            .sort_by_cached_key(|problem| (problem.file != self.main, problem.file.clone(), problem.line));
        Problems::unless_none(problems)
    }
}
