"""What runtimes are made of: vendors' C libraries, RKNNLite, nodes of a profile."""
