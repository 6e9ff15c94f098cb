//! Who is asked, how often, and which results are taken.

use proptest::prelude::*;

use super::*;

const EVERY: u64 = 15 * 60_000;

fn target(node_id: i64, listening: &[i64]) -> Target {
    let addresses = vec![IpAddr::from([10, 0, 0, u8::try_from(node_id % 250).unwrap()])];
    Target { node_id, cluster: "c".to_owned(), pool: String::new(), addresses, listening: listening.iter().copied().collect() }
}

fn asker(node_id: i64) -> Asker {
    Asker { node_id, session: 1, cluster: "c".to_owned(), pool: String::new(), addresses: Vec::new(), control_plane: false }
}

/// A generator that repeats: `SplitMix64`.
fn draws(mut state: u64) -> impl FnMut() -> u64 {
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

fn schedule(targets: &[Target], askers: Vec<Asker>, vantages: usize) -> Schedule {
    let mut schedule = Schedule::new(Pace { every_ms: EVERY, vantages }, 7);
    for target in targets {
        schedule.set_target(target.clone(), 0);
    }
    schedule.set_askers(askers);
    schedule
}

fn answer(id: u64) -> v1::ProbeResult {
    v1::ProbeResult { request: id, outcome: "answered".to_owned(), status: 401, ..v1::ProbeResult::default() }
}

/// Every request of the time until `until_ms`, each answered at once.
fn all(schedule: &mut Schedule, until_ms: u64) -> Vec<(u64, Ask, Answer)> {
    let mut draw = draws(1);
    let mut all = Vec::new();
    for now in (0..until_ms).step_by(250) {
        for ask in schedule.tick(now, &mut draw) {
            let answer = schedule.answered(ask.vantage, ask.session, &answer(ask.request.request), now).expect("it was asked for");
            all.push((now, ask, answer));
        }
    }
    all
}

#[test]
fn every_port_is_asked_about_by_k_others_in_a_round_and_again_in_the_next() {
    let nodes: Vec<i64> = (1..=6).collect();
    let targets: Vec<Target> = nodes.iter().map(|id| target(*id, &[])).collect();
    let mut schedule = schedule(&targets, nodes.iter().map(|id| asker(*id)).collect(), 2);
    let asks = all(&mut schedule, 2 * EVERY);
    let mut vantages: BTreeMap<(i64, u16), BTreeSet<i64>> = BTreeMap::new();
    for (_, ask, answer) in &asks {
        assert_ne!(ask.vantage, answer.node_id, "nobody asks about itself");
        vantages.entry((answer.node_id, answer.question.port)).or_default().insert(ask.vantage);
    }
    assert_eq!(vantages.len(), 6 * QUESTIONS.len());
    assert!(vantages.values().all(|vantages| vantages.len() == 2), "the same two each time: {vantages:?}");
    let rounds = asks.len() / (6 * 2 * QUESTIONS.len());
    assert!((2..=3).contains(&rounds), "{rounds} rounds in half an hour");
}

#[test]
fn clusters_do_not_ask_about_each_other_and_nobody_is_nobody() {
    let other = Asker { cluster: "d".to_owned(), ..asker(2) };
    let mut schedule = schedule(&[target(1, &[])], vec![asker(1), other], 2);
    assert_eq!(all(&mut schedule, EVERY).len(), 0);
}

#[test]
fn etcd_and_kubelets_are_tried_from_workers_only() {
    let control_plane = Asker { control_plane: true, ..asker(2) };
    let mut one = schedule(&[target(1, &[])], vec![control_plane.clone()], 2);
    let ports: BTreeSet<u16> = all(&mut one, 2 * 60_000).into_iter().map(|(_, _, answer)| answer.question.port).collect();
    assert!(!ports.contains(&2379) && !ports.contains(&10250) && ports.contains(&10255), "{ports:?}");
    let mut two = schedule(&[target(1, &[])], vec![control_plane, asker(3)], 2);
    let asks = all(&mut two, 2 * 60_000);
    let of = |port: u16| {
        asks.iter().filter(|(_, _, answer)| answer.question.port == port).map(|(_, ask, _)| ask.vantage).collect::<BTreeSet<_>>()
    };
    assert_eq!((of(2379), of(10257)), ([3].into(), [2, 3].into()));
}

#[test]
fn other_pools_ask_first() {
    let pool = |node_id, pool: &str| Asker { pool: pool.to_owned(), ..asker(node_id) };
    let askers = vec![pool(2, "a"), pool(3, "a"), pool(4, "a"), pool(5, "b"), pool(6, "c")];
    let at = Target { pool: "a".to_owned(), ..target(1, &[]) };
    let mut schedule = schedule(&[at], askers, 2);
    let asked: BTreeSet<i64> = all(&mut schedule, 2 * 60_000).into_iter().map(|(_, ask, _)| ask.vantage).collect();
    assert_eq!(asked, [5, 6].into());
}

#[test]
fn pools_of_a_policy_keep_nodes_among_themselves_by_address() {
    let at = |node_id: i64, third: u8| Asker { addresses: vec![IpAddr::from([10, 0, third, 200])], ..asker(node_id) };
    let text = "peer_probe_pools:\n- {name: a, networks: [10.0.0.0/24]}\n- {name: b, networks: [10.0.1.0/24]}\n";
    let catalogue = holdfast_checks::catalogue::built_in().unwrap();
    let policies = Arc::new(Policies::parse(std::path::Path::new("policy.yaml"), text, &catalogue).unwrap());
    // 1 and 2 are in pool a, 3 in b, 4 in none, 5 is not listed; 6 is asked about at an address of each and one of none.
    let addresses = vec![IpAddr::from([10, 0, 0, 6]), IpAddr::from([10, 0, 1, 6]), IpAddr::from([10, 0, 9, 6])];
    let targets = [target(1, &[]), Target { addresses, ..target(6, &[]) }];
    let mut schedule = schedule(&targets, vec![at(1, 0), at(2, 0), at(3, 1), at(4, 9), asker(5)], 2);
    schedule.set_policies(Arc::clone(&policies));
    let mut asked: BTreeMap<(i64, String), BTreeSet<i64>> = BTreeMap::new();
    for (_, ask, answer) in all(&mut schedule, EVERY) {
        asked.entry((answer.node_id, answer.address.to_string())).or_default().insert(ask.vantage);
    }
    let expected = [((1, "10.0.0.1"), vec![2]), ((6, "10.0.0.6"), vec![1, 2]), ((6, "10.0.1.6"), vec![3])];
    let expected = expected.into_iter().map(|((node, address), by)| ((node, address.to_owned()), by.into_iter().collect()));
    assert_eq!(asked, expected.collect());
    // Without pools everybody is asked again.
    schedule.set_policies(Arc::default());
    let asked: BTreeSet<i64> = all(&mut schedule, 2 * EVERY).into_iter().map(|(_, ask, _)| ask.vantage).collect();
    assert!(asked.contains(&4) || asked.contains(&5), "{asked:?}");
}

#[test]
fn a_port_that_opens_is_asked_about_within_seconds_and_once() {
    let mut schedule = schedule(&[target(1, &[10250])], vec![asker(2)], 1);
    let mut draw = draws(3);
    let first = all(&mut schedule, 3 * 60_000);
    assert_eq!(first[0].2.question.port, 10250, "what listens is asked about first");
    let now = 4 * 60_000;
    for later in 0..5 {
        // It flaps: open, closed, open.
        schedule.set_target(target(1, if later % 2 == 0 { &[10250, 10255] } else { &[10250] }), now + later * 100);
    }
    let mut asked = Vec::new();
    for at in (now..now + 5_000).step_by(250) {
        asked.extend(schedule.tick(at, &mut draw).into_iter().map(|ask| (at - now, ask.request.port)));
    }
    assert_eq!(asked, [(1_000, 10255)]);
}

#[test]
fn a_result_is_taken_once_in_time_and_only_from_whom_it_was_asked() {
    let mut schedule = schedule(&[target(1, &[10250])], vec![asker(2), asker(3)], 1);
    let mut draw = draws(3);
    let ask = (0..8).find_map(|tick| schedule.tick(tick * 250, &mut draw).pop()).expect("somebody is asked");
    let (id, vantage) = (ask.request.request, ask.vantage);
    let other = if vantage == 2 { 3 } else { 2 };
    let mut take =
        |vantage, session, result: &v1::ProbeResult, now| schedule.answered(vantage, session, result, now).map(|answer| answer.met);
    assert_eq!(take(vantage, 1, &answer(id ^ 1), 3_000), Err(NotTaken::Unsolicited));
    assert_eq!(take(other, 1, &answer(id), 3_000), Err(NotTaken::Foreign), "another agent's request");
    assert_eq!(take(vantage, 2, &answer(id), 3_000), Err(NotTaken::Unsolicited), "another session's request");
    assert_eq!(take(vantage, 1, &answer(0), 3_000), Err(NotTaken::Unsolicited));
    assert_eq!(take(vantage, 1, &answer(id), 3_000), Ok(Met::Asked(ProbeOutcome::Answered, 401)));
    assert_eq!(take(vantage, 1, &answer(id), 3_000), Err(NotTaken::Duplicate));
    assert_eq!(take(other, 1, &answer(id), 3_000), Err(NotTaken::Unsolicited), "what was another's is not told");
    let late = (0..400).find_map(|tick| schedule.tick(5_000 + tick * 250, &mut draw).pop()).expect("somebody is asked");
    let until = 5_000 + 400 * 250 + PATIENCE_MS;
    assert_eq!(schedule.answered(late.vantage, 1, &answer(late.request.request), until), Err(NotTaken::Late));
    assert_eq!(schedule.answered(late.vantage, 1, &answer(late.request.request), until), Err(NotTaken::Late));
}

#[test]
fn what_an_ended_session_was_asked_is_over() {
    let mut schedule = schedule(&[target(1, &[10250])], vec![asker(2)], 1);
    let mut draw = draws(3);
    let ask = (0..8).find_map(|tick| schedule.tick(tick * 250, &mut draw).pop()).expect("it is asked");
    schedule.set_askers([Asker { session: 2, ..asker(2) }]);
    assert_eq!(schedule.answered(2, 1, &answer(ask.request.request), 3_000), Err(NotTaken::Late));
}

#[test]
fn hostile_results_are_malformed_and_never_more() {
    for (outcome, status) in [
        ("", 0),
        ("open", 0),
        ("ANSWERED", 200),
        ("answered", 0),
        ("answered", 99),
        ("answered", 600),
        ("answered", u32::MAX),
        ("refused", 200),
    ] {
        let mut schedule = schedule(&[target(1, &[10250])], vec![asker(2)], 1);
        let ask = (0..8).find_map(|tick| schedule.tick(tick * 250, &mut draws(3)).pop()).expect("it is asked");
        let result = v1::ProbeResult { request: ask.request.request, outcome: outcome.to_owned(), status, ..v1::ProbeResult::default() };
        assert_eq!(schedule.answered(2, 1, &result, 3_000), Err(NotTaken::Malformed), "{outcome} {status}");
    }
    let refused = |reason: &str| met(&v1::ProbeResult { refused_by_agent: true, reason: reason.to_owned(), ..v1::ProbeResult::default() });
    assert_eq!(refused("outside_networks"), Some(Met::Refused(Refusal::OutsideNetworks)));
    assert_eq!(refused(&"x".repeat(15_000)), Some(Met::Refused(Refusal::Other)));
    assert_eq!(refused("<script>"), Some(Met::Refused(Refusal::Other)));
}

#[test]
fn one_that_was_too_many_for_the_agent_is_tried_again_in_a_minute() {
    let mut schedule = schedule(&[target(1, &[10250])], vec![asker(2)], 1);
    let mut draw = draws(3);
    let ask = (0..8).find_map(|tick| schedule.tick(tick * 250, &mut draw).pop()).expect("it is asked");
    let busy = v1::ProbeResult {
        request: ask.request.request,
        refused_by_agent: true,
        reason: "too_many".to_owned(),
        ..v1::ProbeResult::default()
    };
    assert_eq!(schedule.answered(2, 1, &busy, 3_000).map(|answer| answer.met), Ok(Met::Refused(Refusal::TooMany)));
    let again = all(&mut schedule, 5 * 60_000).into_iter().find(|(_, _, answer)| answer.question.port == 10250).expect("again");
    assert!(again.0 >= 63_000, "{}", again.0);
}

proptest! {
    /// Agents that answer late, twice, or never, come and go; targets change all the time.
    #[test]
    fn no_agent_is_asked_too_much_whatever_happens(seed in any::<u64>(), nodes in 2_i64..20, vantages in 1_usize..5, events in prop::collection::vec((0_u8..5, 0_i64..20, 1_u64..5_000), 1..80)) {
        let targets: Vec<Target> = (1..=nodes).map(|id| target(id, &[10250])).collect();
        let mut schedule = schedule(&targets, (1..=nodes).map(asker).collect(), vantages);
        let mut draw = draws(seed);
        let mut sent: BTreeMap<i64, Vec<u64>> = BTreeMap::new();
        let mut open: Vec<(u64, Ask)> = Vec::new();
        let mut now = 0;
        for (event, node, wait) in events {
            now += wait;
            let node = 1 + node % nodes;
            match event {
                0 => schedule.set_target(target(node, if wait % 2 == 0 { &[10250] } else { &[10250, 10255, 2379] }), now),
                1 => schedule.set_askers((1..=nodes).filter(|id| *id != node).map(asker)),
                2 => schedule.set_askers((1..=nodes).map(asker)),
                3 => schedule.drop_target(node),
                _ => if let Some((_, ask)) = open.pop() {
                    // May be late or of a session that is gone: refused then, and never a panic.
                    drop(schedule.answered(ask.vantage, ask.session, &answer(ask.request.request), now));
                },
            }
            for ask in schedule.tick(now, &mut draw) {
                prop_assert!(ask.request.request != 0);
                sent.entry(ask.vantage).or_default().push(now);
                open.push((now, ask));
            }
            for times in sent.values() {
                let recent = times.iter().filter(|at| now - **at < MINUTE_MS).count();
                prop_assert!(recent <= MOST_PER_MINUTE, "{recent} in a minute");
            }
        }
        let names: BTreeSet<u64> = open.iter().map(|(_, ask)| ask.request.request).collect();
        prop_assert_eq!(names.len(), open.len(), "every request has its own name");
    }
}
