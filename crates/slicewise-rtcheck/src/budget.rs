//! A bound on work, so that hostile numbers lead to "not decided" and never to a hang.

/// How many elementary steps an analysis may still make. A step looks at one task once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budget {
    left: u64,
}

impl Budget {
    /// That many steps.
    pub fn new(steps: u64) -> Self {
        Self { left: steps }
    }

    /// Takes steps; false, now and from then on, when there are not enough.
    #[inline]
    pub fn spend(&mut self, steps: usize) -> bool {
        match self.left.checked_sub(steps as u64) {
            Some(left) => self.left = left,
            None => self.left = 0,
        }
        self.left > 0
    }

    /// Steps that are left.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// A part of it for one question, so that a hard one leaves something for the others. What the
    /// part does not use goes back with [`give_back`](Self::give_back).
    pub(crate) fn part(&mut self, steps: u64) -> Budget {
        let part = Budget { left: self.left.min(steps) };
        self.left -= part.left;
        part
    }

    pub(crate) fn give_back(&mut self, part: Budget) {
        self.left += part.left;
    }
}
