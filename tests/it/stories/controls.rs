//! Stories of a team that shares environments.

use coolops::domain::project::EnvironmentChange;

use crate::story::{Story, build, operator, read, story};

async fn protects(s: &Story, environment: &str, protected: bool) {
    s.app
        .change_environment(s.project(), environment, EnvironmentChange::Protect(protected), &operator())
        .await
        .unwrap();
}

/// What is asked back before the n-th button of the newest message counts.
fn asked_back(s: &Story, n: usize) -> Option<String> {
    read::asked_back(s.standin.workspace().channels[0].messages.last().unwrap(), n)
}

#[test]
fn a_protected_environment_has_a_red_button_that_asks_back() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        protects(s, "Production", true).await;
        s.ci_announces(build("mas<!channel>*ter-2")).await;
        assert!(
            s.channel().ends_with("[Deploy to Production!] [Deploy to Staging]\n(All about this build)"),
            "{}",
            s.channel()
        );
        assert_eq!(s.channel().matches("!]").count(), 1, "an older message keeps its buttons");
        assert_eq!(
            asked_back(s, 0).unwrap(),
            "Deploy to Production? *mas<!channel>∗ter-2* goes to *Production*, which is protected. [Deploy] [Don't]"
        );
        assert_eq!(asked_back(s, 1), None, "Staging is not");
        s.presses("ana", "ter-2", "Production").await;
        assert!(s.channel().contains("*Production*: :white_check_mark: *succeeded*"), "{}", s.channel());
        protects(s, "production", false).await;
        s.ci_announces(build("master-3")).await;
        assert_eq!(asked_back(s, 0), None, "it is not any more");
    });
}

#[test]
fn a_menu_asks_back_when_one_of_its_environments_is_protected() {
    story(async |s| {
        for n in 0..28 {
            s.app.create_environment(s.project(), &format!("Customer {n}"), None, &operator()).await.unwrap();
        }
        s.ci_announces(build("master-1")).await;
        assert_eq!(asked_back(s, 0), None);
        for n in 0..28 {
            protects(s, &format!("Customer {n}"), true).await;
        }
        s.ci_announces(build(&"&".repeat(100))).await;
        s.presses("ana", "&&&&", "Customer 7").await;
        assert!(s.channel().contains("*Customer 7*: :white_check_mark: *succeeded*"), "{}", s.channel());
        let asked = asked_back(s, 0).unwrap();
        assert!(
            asked.contains("goes to the environment that you chose. Protected are: Customer 0, Customer 1"),
            "{asked}"
        );
        assert!(asked.ends_with("… [Deploy] [Don't]"), "{asked}");
    });
}
