use super::*;

#[test]
fn the_figures_are_the_last_ones_told() {
    let text = "#2\tINITED cov: 10 ft: 11 corp: 1/1b exec/s: 0 rss: 40Mb\n\
                #900\tDONE   cov: 312 ft: 455 corp: 17/90b lim: 8 exec/s: 90 rss: 41Mb\n\
                stat::number_of_executed_units: 900\n\
                stat::average_exec_per_sec:     90\n";
    let expected = Figures { passed: true, runs: 900, per_second: 90, coverage: 312, features: 455, corpus: 17 };
    assert_eq!(Figures::parse(text, true), expected);
    assert_eq!(Figures::parse("", false), Figures::default());
}

#[test]
fn every_target_of_the_crate_is_named_here() {
    let manifest = fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let bins = manifest["bin"].as_array().unwrap();
    let mut built: Vec<&str> = bins.iter().map(|bin| bin["name"].as_str().unwrap()).collect();
    let values: Vec<_> = What::value_variants().iter().map(|what| what.to_possible_value().unwrap()).collect();
    let mut named: Vec<&str> = values.iter().map(|value| value.get_name()).collect();
    named.retain(|name| !matches!(*name, "all" | "differential"));
    built.sort_unstable();
    named.sort_unstable();
    assert_eq!(built, named);
}
