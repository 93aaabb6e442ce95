//! What is kept of root.
//!
//! The L3 agent passes `--user` and `--group`, but neither Neutron's daemon nor its script ever took
//! them on, and here they could not: the admin socket is root's, so that whoever may register is not
//! whoever may report. So we stay uid 0, without every capability but the one by which the pid file
//! can be removed and the log file be made again in folders of the L3 agent's user.

use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs};

/// Gives up the rest. Not being root is no error: there is nothing to give up then.
pub(crate) fn drop_most() {
    let _ = set_no_new_privs(true);
    let kept = CapabilitySet::DAC_OVERRIDE;
    let inheritable = CapabilitySet::empty();
    let _ = set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable });
}
