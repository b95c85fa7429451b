"""From user texts and a teacher to a student checkpoint that goes back into the harness."""
