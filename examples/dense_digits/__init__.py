"""Dense digits: a detector that finds one positive in 8,000, and what each loss makes of it."""
