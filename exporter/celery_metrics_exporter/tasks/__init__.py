"""What is known of tasks: attempts, how events are joined to them, and where they are counted."""
