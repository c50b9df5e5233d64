//! What is counted, and who is stopped.

use cpis::{
    domain::watch::{Code, Mark, Span, Stop, Subject, Traits, Volume, Window},
    ports::{StopClearing, Stops, Tallied, Tally},
};

use super::at;

pub(crate) async fn contract(store: &(impl Tally + Stops + StopClearing)) {
    marks_count_once(store).await;
    windows_are_apart_and_bounded(store).await;
    stops_only_go_forward(store).await;
}

fn mark(at: u32, id: u64) -> Mark {
    let traits = Traits { hit: true, unscheduled: true, caseload: false, volume: Volume::Region };
    Mark { at, id, child: id * 3, traits }
}

fn window(subject: &str, at: u32) -> Window {
    Window { subject: Subject::person(subject), span: Span::hour_of(at) }
}

async fn marks_count_once(store: &impl Tally) {
    let own = window("1", 7_200);
    let [a, b, c] = [mark(7_200, 1), mark(7_201, 2), mark(7_300, 3)];
    assert_eq!(store.add(&own, &[]).await.expect("read"), Tallied::default());
    assert_eq!(store.add(&own, &[c, a]).await.expect("added").marks, [a, c], "in order of time");
    assert_eq!(store.add(&own, &[a, b, a]).await.expect("added").marks, [a, b, c]);
    for _ in 0..2 {
        store.tell(&own, Code::Misses).await.expect("told");
    }
    let held = store.add(&own, &[b]).await.expect("added");
    assert_eq!((held.marks, held.told), (vec![a, b, c], vec!["misses".to_owned()]));
    // Many at once, each twice, as when two processes have the same batch.
    let shared = window("2", 7_200);
    let adds: Vec<_> = (0..40).map(|n| vec![mark(7_200 + n / 2, u64::from(n / 2))]).collect();
    futures_util::future::join_all(adds.iter().map(|marks| store.add(&shared, marks))).await;
    assert_eq!(store.add(&shared, &[]).await.expect("read").marks.len(), 20);
}

async fn windows_are_apart_and_bounded(store: &impl Tally) {
    let (own, next, other) = (window("3", 7_199), window("3", 7_200), window("4", 7_200));
    store.add(&own, &[mark(7_199, 1)]).await.expect("added");
    store.add(&next, &[mark(7_200, 2)]).await.expect("added");
    let read = store.marks(&[next.clone(), other, own]).await.expect("read");
    assert_eq!(read, [vec![mark(7_200, 2)], vec![], vec![mark(7_199, 1)]]);
    let many: Vec<_> = (10..10 + next.span.capacity() as u64).map(|id| mark(7_200, id)).collect();
    for part in many.chunks(500) {
        store.add(&next, part).await.expect("added");
    }
    let full = store.add(&next, &[mark(7_300, 1)]).await.expect("a full window still answers");
    assert!((next.span.capacity()..next.span.capacity() + 500).contains(&full.marks.len()), "{}", full.marks.len());
    assert!(!full.marks.contains(&mark(7_300, 1)));
}

async fn stops_only_go_forward(store: &(impl Tally + Stops + StopClearing)) {
    let subject = Subject::device("200000000001", "Sam Sample");
    let other = Subject::organisation("ZX001");
    assert_eq!(store.stops_of(&[subject.clone(), other.clone()]).await.expect("read"), []);
    for (second, stands) in [(100, 100), (50, 100), (200, 200)] {
        store.stop(&subject, at(second)).await.expect("stopped");
        let expected = Stop { subject: subject.clone(), until: at(stands), cleared: None };
        assert_eq!(store.stops_of(&[other.clone(), subject.clone()]).await.expect("read"), [expected]);
    }
    for second in [150, 160] {
        store.clear(&subject, at(second)).await.expect("cleared");
        let expected = Stop { subject: subject.clone(), until: at(second), cleared: Some(at(second)) };
        assert_eq!(store.stops_of(std::slice::from_ref(&subject)).await.expect("read"), [expected]);
    }
    store.stop(&subject, at(300)).await.expect("stopped");
    let again = Stop { subject: subject.clone(), until: at(300), cleared: Some(at(160)) };
    assert_eq!(store.stops_of(&[subject]).await.expect("read"), [again], "it is known since when it counts anew");
    store.clear(&other, at(1)).await.expect("clearing what never was stopped is no error");
}
