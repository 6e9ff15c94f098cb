//! `holdfast-agent scan`: judges this node once, without a collector.
