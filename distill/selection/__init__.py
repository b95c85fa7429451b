"""Which of the samples are worth a training."""
