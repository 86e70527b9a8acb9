namespace smpo::engine {}
