"""Where a publisher's events, rows, indexes and answers are kept: one contract, two backends."""
