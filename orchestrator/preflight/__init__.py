"""From files to a checked plan: everything is read and checked before any board is touched."""
