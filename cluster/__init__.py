"""What touches Ray or disk and knows no client."""
