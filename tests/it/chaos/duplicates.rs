//! The same thing comes many times.

use super::{chaos, counted, counting};
use crate::story::read;
use crate::story::service::Service;

#[test]
fn f31_one_press_is_delivered_to_two_replicas_at_once_again_and_again() {
    chaos(&counting(3, 10, 0), Some(counted(3)), async |s| {
        let second = s.second_web().await;
        s.announces("master-1").await;
        s.injects("each press is delivered to both replicas in the same moment, three times");
        for n in 1..=5 {
            let press = s.press_of("ana", "master-1", "Staging");
            let (first, others): (Vec<_>, Vec<_>) = (0..6).map(|i| (i, press.clone())).partition(|(i, _)| i % 2 == 0);
            let here = first.into_iter().map(|(_, p)| s.standin.shared().deliver(p));
            let there = others.into_iter().map(|(_, p)| s.deliver_to(&second, p));
            let (here, there) = futures::join!(futures::future::join_all(here), futures::future::join_all(there));
            assert!(here.iter().chain(&there).all(|a| *a == Ok(200)), "{here:?} {there:?}");
            s.shows_times("*succeeded*", n).await;
        }
        assert_eq!(s.database.count("select count(*) from event where type = 'deployment_requested'").await, 5);
        assert_eq!(s.database.count("select count(*) from event where type = 'deployment_refused'").await, 0);
        s.saw("five presses, five deployments, nobody told anything twice");
    });
}

#[test]
fn f31_one_build_is_announced_to_two_replicas_at_once() {
    chaos(&counting(3, 10, 0), Some(counted(3)), async |s| {
        let second = s.second_web().await;
        s.injects("the same build is announced to both replicas in the same moment, 20 times");
        for n in 0..20 {
            let name = format!("master-{n}");
            let post = |url: String| {
                let (name, token) = (name.clone(), s.token.clone());
                tokio::task::spawn_blocking(move || {
                    let body = format!(r#"{{"name":"{name}","params":{{}}}}"#);
                    let answer = ureq::post(format!("{url}/builds"))
                        .header("authorization", format!("Token {token}"))
                        .send(body);
                    answer.map_or(0, |a| a.status().as_u16())
                })
            };
            let (a, b) = futures::join!(post(s.url.clone()), post(second.clone()));
            let mut answers = [a.unwrap(), b.unwrap()];
            answers.sort_unstable();
            assert_eq!(answers, [200, 201]);
        }
        assert_eq!(s.database.count("select count(*) from event where type = 'build_registered'").await, 20);
        s.shows_times("# Api: master-", 20).await;
        s.saw("20 builds, 20 messages");
    });
}

#[test]
fn f32_fifty_people_press_the_same_button_at_once() {
    chaos(&counting(100, 50, 0), Some(counted(100)), async |s| {
        let second = s.second_web().await;
        s.announces("master-1").await;
        s.injects("50 presses of one button, half of them at each replica");
        let presses: Vec<_> = (0..50).map(|n| (n, s.press_of("ana", "master-1", "Staging"))).collect();
        let answers = futures::future::join_all(presses.into_iter().map(|(n, press)| {
            let second = &second;
            let s = &*s;
            async move {
                if n % 2 == 0 { s.standin.shared().deliver(press).await } else { s.deliver_to(second, press).await }
            }
        }))
        .await;
        assert!(answers.iter().all(|a| *a == Ok(200)), "{answers:?}");
        s.shows("*succeeded*").await;
        assert_eq!(s.database.count("select count(*) from event where type = 'deployment_requested'").await, 1);
        // On a machine that is too slow for all of them within Slack's 3 s the others hear so, and none hears nothing.
        s.until("each of the others was refused, or told to press again", async || {
            let refused = s.database.count("select count(*) from event where type = 'deployment_refused'").await;
            refused + told_to_press_again(s) >= 49
        })
        .await;
        s.saw("one deployment, 49 who know that theirs is none");
    });
}

/// How many presses were answered with the wish to try again.
fn told_to_press_again(s: &Service) -> i64 {
    let workspace = s.standin.workspace();
    let answers = workspace.channels[0].messages.iter().filter(|m| m.only_for.is_some());
    i64::try_from(answers.filter(|m| read::message(m).contains("could not confirm your press")).count()).unwrap()
}

#[test]
fn f34_a_press_is_answered_while_everything_behind_it_is_slow() {
    chaos(&counting(3, 10, 0), Some(counted(3)), async |s| {
        s.announces("master-1").await;
        s.injects("Slack takes 5 s for every edit");
        s.standin.workspace().plan("chat.update", coolops_lab::standin::workspace::Fault::Late(5), 2);
        let pressed = std::time::Instant::now();
        assert_eq!(s.presses("ana", "master-1", "Staging").await, 200);
        assert!(pressed.elapsed() < std::time::Duration::from_secs(1), "it took {:?}", pressed.elapsed());
        s.shows("*succeeded*").await;
        s.saw("the press was answered at once");
    });
}
