"""What every layer of the training room may know: protocols, and the process."""
