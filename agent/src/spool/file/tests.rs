//! Tests of the tables on storages that a test holds.
