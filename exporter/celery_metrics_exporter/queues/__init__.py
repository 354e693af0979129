"""What is known of queues: their names, lengths, oldest messages and flow."""
