"""Ray: the own head or a joined cluster, its nodes, and what runs on them."""
