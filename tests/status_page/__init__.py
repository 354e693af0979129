"""What the status page gathers, finds and draws."""
