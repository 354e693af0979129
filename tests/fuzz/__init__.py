"""Messages as nobody should send them, made of real ones, through the whole way from envelope to scrape."""
