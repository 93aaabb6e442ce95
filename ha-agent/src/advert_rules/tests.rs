use super::*;

#[test]
fn a_release_is_three_numbers() {
    assert_eq!("2.2.7".parse(), Ok(Release::default()));
    assert_eq!("2.3.3".parse::<Release>().map(|release| release.to_string()), Ok("2.3.3".to_owned()));
    for text in
        ["", "2", "2.3", "2.3.", ".2.3", "2.3.3.1", "2.3.3a", "v2.3.3", "2.3.+3", "2.3.256", "2.3.0007", "2.3.3 "]
    {
        assert_eq!(text.parse::<Release>(), Err(NoRelease), "{text:?}");
    }
}

#[test]
fn a_release_can_what_it_brought() {
    let can = |text: &str| {
        let release: Release = text.parse().expect("a release");
        (release.has_plain_v3(), release.bears_padding(), release.takes_any_addresses())
    };
    assert_eq!(can("2.2.7"), (false, false, false));
    assert_eq!(can("2.2.8"), (true, false, false));
    assert_eq!(can("2.3.1"), (true, false, false));
    assert_eq!(can("2.3.2"), (true, true, false));
    assert_eq!(can("2.3.3"), (true, true, true));
    assert_eq!(can("2.10.0"), (true, true, true));
    assert_eq!(can("1.99.99"), (false, false, false));
}

#[test]
fn what_is_not_known_is_no_reason() {
    let rules = AdvertRules::default();
    assert_eq!(rules, AdvertRules::unknown(Release::new(2, 2, 7)));
    assert_eq!((rules.password(), rules.is_unicast(), rules.takes_none), (None, false, false));
    assert!(rules.check_addresses, "a list that our own adverts tell is compared");
}

#[test]
fn only_a_password_in_clear_is_one() {
    let word = Password::new("secret");
    let rules = |authentication| AdvertRules { authentication: Some(authentication), ..AdvertRules::default() };
    assert_eq!(rules(Authentication::Pass(word)).password(), Some(word));
    assert_eq!(rules(Authentication::Ah(word)).password(), None);
    assert_eq!(rules(Authentication::PassUnknown).password(), None);
}
