"""Which of the samples are trained on, by their difficulty."""
