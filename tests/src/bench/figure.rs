//! A measured figure: its samples, its goal, and whether that is reached.

use serde_json::{Value, json};

/// A goal of DESIGN section 9.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Goal {
    /// The median is at most so much.
    AtMost(f64),
    /// The median is at least so much.
    AtLeast(f64),
    /// No sample is above it.
    Never(f64),
    /// It stands beside another figure to explain it.
    None,
}

/// One figure.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    /// A fixed name for programs.
    pub(crate) name: String,
    /// What it is, for people.
    pub(crate) what: String,
    /// Its unit.
    pub(crate) unit: &'static str,
    /// Its goal.
    pub(crate) goal: Goal,
    /// One value per run.
    pub(crate) samples: Vec<f64>,
}

impl Figure {
    /// One without samples so far.
    pub(crate) fn new(name: impl Into<String>, what: impl Into<String>, unit: &'static str, goal: Goal) -> Self {
        Self { name: name.into(), what: what.into(), unit, goal, samples: Vec::new() }
    }

    /// The middle of the samples.
    pub(crate) fn median(&self) -> f64 {
        median(&self.samples)
    }

    /// The smallest sample.
    pub(crate) fn least(&self) -> f64 {
        self.samples.iter().copied().fold(f64::NAN, f64::min)
    }

    /// The largest sample.
    pub(crate) fn most(&self) -> f64 {
        self.samples.iter().copied().fold(f64::NAN, f64::max)
    }

    /// Whether its goal is reached; none without a goal or a sample.
    pub(crate) fn reached(&self) -> Option<bool> {
        if self.samples.is_empty() {
            return None;
        }
        match self.goal {
            Goal::AtMost(limit) => Some(self.median() <= limit),
            Goal::AtLeast(limit) => Some(self.median() >= limit),
            Goal::Never(limit) => Some(self.most() <= limit),
            Goal::None => None,
        }
    }

    /// `reached`, `missed` or nothing.
    pub(crate) fn verdict(&self) -> &'static str {
        match self.reached() {
            Some(true) => "reached",
            Some(false) => "missed",
            None => "",
        }
    }

    /// The row of the table: what, median, spread, runs, goal, verdict.
    pub(crate) fn row(&self) -> Vec<String> {
        let goal = match self.goal {
            Goal::AtMost(limit) => format!("≤ {}", number(limit)),
            Goal::AtLeast(limit) => format!("≥ {}", number(limit)),
            Goal::Never(limit) => format!("never above {}", number(limit)),
            Goal::None => String::new(),
        };
        vec![
            self.what.clone(),
            format!("{} {}", number(self.median()), self.unit).trim().to_owned(),
            format!("{} … {}", number(self.least()), number(self.most())),
            self.samples.len().to_string(),
            goal,
            self.verdict().to_owned(),
        ]
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        let goal = match self.goal {
            Goal::AtMost(limit) => json!({"at_most": limit}),
            Goal::AtLeast(limit) => json!({"at_least": limit}),
            Goal::Never(limit) => json!({"never_above": limit}),
            Goal::None => Value::Null,
        };
        json!({
            "name": self.name, "what": self.what, "unit": self.unit,
            "median": self.median(), "min": self.least(), "max": self.most(),
            "samples": self.samples, "goal": goal, "reached": self.reached(),
        })
    }
}

/// The middle value; of an even number the mean of both in the middle. NaN of none.
pub(crate) fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => sorted[length / 2],
        length => f64::midpoint(sorted[length / 2 - 1], sorted[length / 2]),
    }
}

/// Three digits that mean something.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    if value.is_nan() {
        "–".to_owned()
    } else if value.fract() == 0.0 || size >= 100.0 {
        format!("{value:.0}")
    } else if size >= 10.0 {
        format!("{value:.1}")
    } else if size >= 1.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.3}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(goal: Goal, samples: &[f64]) -> Figure {
        Figure { samples: samples.to_vec(), ..Figure::new("a", "a figure", "ms", goal) }
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]).total_cmp(&2.0), std::cmp::Ordering::Equal);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]).total_cmp(&2.5), std::cmp::Ordering::Equal);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn a_goal_is_judged_by_the_median_or_the_worst() {
        assert_eq!(figure(Goal::AtMost(2.0), &[1.0, 2.0, 9.0]).reached(), Some(true));
        assert_eq!(figure(Goal::AtMost(2.0), &[1.0, 2.1, 9.0]).reached(), Some(false));
        assert_eq!(figure(Goal::AtLeast(2.0), &[1.0, 1.0, 9.0]).reached(), Some(false));
        assert_eq!(figure(Goal::Never(0.0), &[0.0, 0.0, 1.0]).reached(), Some(false));
        assert_eq!(figure(Goal::Never(0.0), &[0.0]).reached(), Some(true));
        assert_eq!(figure(Goal::AtMost(2.0), &[]).reached(), None);
    }
}
