"""What is trained and how: torch in, torch out; nothing here knows a file of results."""
