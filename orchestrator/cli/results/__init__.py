"""What reads kept runs: report, runs, watch, compare, gate, export, score."""
