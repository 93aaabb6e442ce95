use super::*;

#[test]
fn nobody_spends_the_answers_of_another() {
    let answers = Answers::new();
    for (flood, by) in [(Refusal::PeerNotAllowed, 1), (Refusal::TooManyRequests, 2)] {
        let answered = (0..10_000).filter(|_| answers.allow(flood, by)).count();
        assert!(answered < 10_000, "{flood:?}");
    }
    // Whoever is refused now and then is told why, be it a stranger or a user who may report.
    for refusal in [Refusal::PeerNotAllowed, Refusal::TooManyConnections] {
        let answered = (0..OF_EACH.get()).filter(|_| answers.allow(refusal, 3)).count();
        assert_eq!(answered, 16, "{refusal:?}");
    }
}

#[test]
fn all_together_have_a_bound() {
    let answers = Answers::new();
    let answered = (0..5_000).filter(|uid| answers.allow(Refusal::PeerNotAllowed, *uid)).count();
    assert!(answered < 1_000, "{answered}");
}
