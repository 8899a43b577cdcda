"""What every layer of the training room may use: protocols, and the process."""
