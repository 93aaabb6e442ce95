//! Short advert intervals on a busy machine.

