//! The same thing comes many times.

use coolops::domain::ids::DeploymentId;

use super::{chaos, counted, counting};

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
        let presses: Vec<_> = (0..50).map(|_| s.press_of("ana", "master-1", "Staging")).collect();
        let answers = futures::future::join_all(presses.iter().cloned().enumerate().map(|(n, press)| {
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
        // Where they can't all be decided within Slack's 3 s, the others are told to press again: nobody hears nothing.
        s.until("each press is recorded, or was answered", async || {
            let recorded =
                "select string_agg(coalesce(payload->>'deployment_id', payload->'of'->>'deployment_id'), ' ')
                              from event where type in ('deployment_requested', 'deployment_refused')";
            let recorded = s.database.text(recorded).await;
            presses.iter().all(|press| {
                let id = DeploymentId::of_press(&press.signature, &press.timestamp).to_string();
                recorded.contains(&id) || s.standin.workspace().was_answered(press)
            })
        })
        .await;
        let refused = s.database.count("select count(*) from event where type = 'deployment_refused'").await;
        assert!(refused <= 49, "{refused}");
        s.saw(&format!("one deployment, {refused} refusals, {} who were told to press again", 49 - refused));
    });
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
