"""What the teacher is asked."""
