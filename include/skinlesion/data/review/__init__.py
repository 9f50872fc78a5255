"""What people should look at: labels that are likely wrong."""
