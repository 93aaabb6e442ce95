//! The token buckets of a watch: how many ring-buffer records it may cause.

use crate::{BUDGET_BURST, BUDGET_REFILL_NS, Watch};

/// Adds the tokens that have grown since the last call, to each of the buckets.
///
/// Two processors may do so at once; then a bucket may gain a token twice, which the burst bounds.
#[inline(always)]
pub fn refill(watch: &mut Watch, now_ns: u64) {
    let elapsed = now_ns.saturating_sub(watch.refilled_ns);
    if elapsed < BUDGET_REFILL_NS {
        return;
    }
    let grown = elapsed / BUDGET_REFILL_NS;
    let tokens = if grown >= u64::from(BUDGET_BURST) {
        watch.refilled_ns = now_ns;
        BUDGET_BURST
    } else {
        watch.refilled_ns += grown * BUDGET_REFILL_NS;
        grown as u32
    };
    watch.foreign_tokens = capped(watch.foreign_tokens, tokens);
    watch.refused_tokens = capped(watch.refused_tokens, tokens);
    watch.local_tokens = capped(watch.local_tokens, tokens);
    watch.source_tokens = capped(watch.source_tokens, tokens);
}

#[inline(always)]
fn capped(have: u32, more: u32) -> u32 {
    let sum = have.saturating_add(more);
    if sum > BUDGET_BURST { BUDGET_BURST } else { sum }
}

/// Takes a token; false when there is none.
#[inline(always)]
pub fn take(tokens: &mut u32) -> bool {
    if *tokens == 0 {
        return false;
    }
    *tokens -= 1;
    true
}

#[cfg(test)]
mod tests;
