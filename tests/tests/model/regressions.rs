//! Histories that once went wrong, each by what was wrong.
