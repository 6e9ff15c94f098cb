//! What runtimes make of their documents.
