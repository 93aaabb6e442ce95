//! What several targets share.

// What the differential test compares the classifier with.
#[path = "../../tests/src/differential/reference.rs"]
pub mod reference;

/// Cuts bytes into pieces at the places that `cuts` names, as a peer may send them.
pub fn pieces<'a>(bytes: &'a [u8], cuts: &[u16]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| usize::from(*cut) % (bytes.len() + 1)).collect();
    at.extend([0, bytes.len()]);
    at.sort_unstable();
    at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

/// Whether a text may be shown to a person: no control character but the ends of its own lines.
pub fn is_plain(text: &str) -> bool {
    text.chars().all(|c| !c.is_control() || c == '\n')
}
