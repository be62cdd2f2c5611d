//! The harness itself: a server that lets everybody in, or a comparison that sees nothing, would prove nothing.

mod fault_proxy;
mod judge;
mod servers;
