"""Published weights and real photos of other projects; nothing of them is in this repository."""
