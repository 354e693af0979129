"""What users set: one frozen Config, with each rule checked once."""
