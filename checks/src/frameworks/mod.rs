//! Frameworks: every row of the guidance and the benchmark, mapped to checks.
