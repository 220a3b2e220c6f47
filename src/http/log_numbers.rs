//! The numbers of lines, as people see them: counted over all that was printed.
//!
//! While a deployment runs, lines are counted as they are printed. Of an output that is longer than what is kept, the
//! journal counts the note that stands for its middle as one line. **Invariant:** a line that was shown with a number
//! while it was printed is shown with the same one for ever.

use super::Parts;
use crate::domain::deployment::Deployment;

/// How the journal's numbers become those that are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Numbers {
    /// The journal's line that stands for what was left out; none where nothing was.
    note: Option<i64>,
    /// Lines that were left out there.
    left_out: i64,
}

impl Numbers {
    /// Those of a deployment.
    pub async fn of(web: &Parts, deployment: &Deployment) -> Result<Self, sqlx::Error> {
        match deployment.stand.log().map(|log| log.left_out.lines) {
            None | Some(0) => Ok(Self::default()),
            Some(left_out) => {
                let note = web.app.readers().journals().left_out_at(deployment.of.deployment_id).await?;
                Ok(Self { note, left_out })
            }
        }
    }

    /// The number that is shown of a line of the journal.
    pub fn shown(self, line: i64) -> i64 {
        match self.note {
            Some(note) if line > note => line.saturating_add(self.left_out - 1),
            _ => line,
        }
    }

    /// The journal's line that a number is shown of.
    pub fn stored(self, line: i64) -> i64 {
        match self.note {
            Some(note) if line >= note + self.left_out => line - self.left_out + 1,
            Some(note) if line > note => note,
            _ => line,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_keep_the_numbers_that_they_were_printed_with() {
        // 10 lines of 100 were kept at the beginning and 5 at the end.
        let numbers = Numbers { note: Some(11), left_out: 85 };
        assert_eq!([1, 10, 11, 12, 16].map(|line| numbers.shown(line)), [1, 10, 11, 96, 100]);
        assert_eq!([1, 10, 11, 50, 95, 96, 100].map(|line| numbers.stored(line)), [1, 10, 11, 11, 11, 12, 16]);
        assert_eq!((Numbers::default().shown(7), Numbers::default().stored(7)), (7, 7));
    }
}
