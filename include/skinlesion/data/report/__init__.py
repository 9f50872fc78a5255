"""What a catalog holds, what was refused and what changed, as a page for people and as JSON."""
