"""Workers: who is up, what each does and can do."""
