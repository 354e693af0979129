"""What is known of workers: who is up, what each does and can do."""
