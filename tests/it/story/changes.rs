//! Very many changes of settings, as years or a script make them.

use coolops::domain::ids::EventId;
use coolops::domain::project_events::VariableSet;
use coolops::store::append::Append;
use uuid::Uuid;

use super::{Story, operator};

impl Story {
    /// An operator's script changes a variable again and again, so many times, a hundred at once.
    pub async fn changes_a_variable(&self, environment: &str, times: i32) {
        let project = self.app.project_of_log(self.project()).await.unwrap().unwrap().value;
        let environment = project.environments.iter().find(|there| there.name == environment).unwrap();
        for first in (0..times).step_by(100) {
            let mut append = Append::default();
            for n in first..times.min(first + 100) {
                let (project_id, environment_id) = (project.id, environment.id);
                let set =
                    VariableSet { project_id, environment_id, name: format!("V{}", n % 10), value: n.to_string() };
                append.event(EventId(Uuid::new_v4()), &set.into(), &operator(), environment.version + n);
            }
            self.app.store.append(append).await.unwrap();
        }
        // They were written without rows.
        self.app.rebuild().await.unwrap();
    }
}
