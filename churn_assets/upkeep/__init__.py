"""What keeps a deployment in order: one that cleans, one that copies, one that brings back, one that forgets."""
