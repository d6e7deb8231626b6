"""What each page shows, as plain values that its template fills in."""
