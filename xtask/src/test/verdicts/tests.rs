use super::*;

const PLAYED: &str = r#"{"record":"scenario","scenario":"stopped","timed":true}
{"record":"claim","scenario":"stopped","reporter":"fifo","claim":"primary","truth":true,"verdict":"confirmed","took_ms":251.5}
{"record":"round","scenario":"stopped"}
{"record":"claim","scenario":"stopped","reporter":"socket","claim":"primary","truth":false,"verdict":"rejected","took_ms":252.0}
{"record":"round","scenario":"stopped"}
{"record":"attack","attack":"none","column":"orphan","rounds":2,"false":0,"late_ms":0.0}
"#;

fn found(text: &str) -> Found {
    let mut found = Found::default();
    found.take(text).unwrap();
    found
}

#[test]
fn right_verdicts_in_enough_rounds_are_right() {
    let found = found(PLAYED);
    assert_eq!(found.wrong(2, false), Vec::<String>::new());
    let row = &found.matrix()[1];
    assert_eq!(row[..6], ["stopped", "2", "1", "0", "1", "0"]);
    assert_eq!(row[6..], ["252 / 252", "252 / 252"]);
}

#[test]
fn every_kind_of_wrong_is_told() {
    assert_eq!(found("").wrong(2, false), ["no scenario was played in rounds", "no attack was played"]);
    assert_eq!(found("").wrong(2, true), Vec::<String>::new(), "left out on purpose");
    assert_eq!(found(PLAYED).wrong(3, false), ["stopped: 2 rounds of 3"]);
    let silent = r#"{"record":"scenario","scenario":"mute","timed":false}"#;
    assert_eq!(found(&format!("{PLAYED}{silent}")).wrong(2, false), ["mute: nothing was claimed"]);
    let confirmed = PLAYED.replace("rejected", "confirmed");
    assert_eq!(found(&confirmed).wrong(2, false), ["stopped: primary was false and confirmed (socket)"]);
    let rejected = PLAYED.replace("\"confirmed\"", "\"rejected\"");
    assert_eq!(found(&rejected).wrong(2, false), ["stopped: primary was true and rejected (fifo)"]);
}

#[test]
fn figures_are_repeated_in_their_order() {
    let figure = |line: &str| format!("{{\"record\":\"figure\",\"line\":\"{line}\"}}\n");
    let found = found(&[figure("400 at once: 0 lost"), PLAYED.to_owned(), figure("a flood: 252 ms")].concat());
    assert_eq!(found.figures(), ["400 at once: 0 lost", "a flood: 252 ms"]);
}

#[test]
fn an_attack_that_is_false_or_late_is_told_and_every_cell_has_its_place() {
    let cell = |attack: &str, column: &str, wrong: u32, late: f64| {
        let (attack, column) = (format!("\"attack\":\"{attack}\""), format!("\"column\":\"{column}\""));
        format!("{{\"record\":\"attack\",{attack},{column},\"rounds\":3,\"false\":{wrong},\"late_ms\":{late}}}\n")
    };
    let sound = [cell("hairpin", "orphan", 0, 3.4), cell("none", "split", 0, 0.0)];
    let sound = found(&[PLAYED, &sound.concat()].concat());
    assert_eq!(sound.wrong(2, false), Vec::<String>::new());
    let table = attacks::table(&sound.attacks);
    assert_eq!(table[0], ["attack", "orphan", "split"]);
    assert_eq!(table[1], ["none", "0 of 2 false", "0 of 3 false"]);
    assert_eq!(table[2], ["hairpin", "0 of 3 false, 3 ms", "–"]);
    let text = [PLAYED, &cell("hairpin", "orphan", 1, 0.0), &cell("hairpin", "split", 0, 101.0)].concat();
    let wrong = ["hairpin × orphan: 1 false", "hairpin × split: 101 ms later than without the attack"];
    assert_eq!(found(&text).wrong(2, false), wrong);
}
