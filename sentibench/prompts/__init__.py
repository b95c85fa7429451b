"""What a model is shown: instructions, demonstrations, few-shot prompts."""
